"""Routes that FastAPI documents and that are answered without its machinery.

FastAPI's routing and parameter handling cost 40 to 60 µs a request, more than reading a row; linear route
matching grows with the number of tables. Here a path is found in a dictionary and its handler called with
a `Request` (`docs/decisions/direct-routes.md`).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any, NamedTuple

from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from src.api.entrance.access import Policies, Rule
from src.api.http import PATCH_TYPES, QUERY_TYPES, Answer, Request, StreamedAnswer
from src.core.errors import MethodNotAllowed

Handler = Callable[[Request], Awaitable[Answer | StreamedAnswer]]


class Documented(NamedTuple):
    """A parameter as OpenAPI shows it: its annotation and its default."""

    annotation: Any
    default: Any = Parameter.empty


def documented(
    handler: Handler, name: str, parameters: Mapping[str, Documented], doc: str, rule: Rule
) -> Callable[..., Any]:
    """Make the endpoint that FastAPI reads for the OpenAPI document; the handler is what answers, whom the rule says.

    One whose rule is a table's policy asks nothing but the request's database, and may be a part of a batch.
    """

    async def endpoint(**_: Any) -> None:
        raise NotImplementedError("a direct route answers by its handler")

    endpoint.__name__ = name
    endpoint.__doc__ = doc
    endpoint.handler = handler  # type: ignore[attr-defined]
    endpoint.rule = rule  # type: ignore[attr-defined]
    endpoint.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=parameter.annotation, default=parameter.default)
            for name, parameter in parameters.items()
        ]
    )
    return endpoint


class DirectRoute(APIRoute):
    """A route whose endpoint was made by `documented`; `RouteIndex` refuses one with dependencies."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse to answer: callers are asked who they are by the envelope, which has answered by now."""
        raise TypeError(f"{self.path} is answered by the envelope; make the application with create_app")


class Resource(NamedTuple):
    """What one path template offers."""

    template: str
    handlers: dict[str, Handler]
    allow: str
    rule: Rule


NOTHING: tuple[Resource | None, str] = (None, "")


class RouteIndex:
    """The direct routes of an application, by path, and the policies that they bring along.

    Raises:
        TypeError: a route was included with dependencies, which would not run; or two routers disagree on a policy.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._tables: dict[str, Resource | None] = {}
        self._rows: dict[str, Resource] = {}
        self._below_rows: dict[tuple[str, str], Resource] = {}
        rules = [rule for route in iter_route_contexts(list(routes)) if (rule := self._add(route))]
        for index in (self._rows, self._tables, self._below_rows):
            found: dict[Any, Any] = index
            found.update({path: _completed(resource) for path, resource in found.items() if resource})
        self.policies = Policies(rule.policy for rule in rules if rule.policy)

    def find(self, scope: Scope) -> tuple[Resource | None, str]:
        """The resource at a request's path and the key in it; nothing where FastAPI is to answer."""
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root:
            path = path.removeprefix(root)
        if path in self._tables:
            return self._tables[path], ""
        prefix, _, key = path.rpartition("/")
        resource = self._rows.get(prefix)
        if resource is None and self._below_rows:
            prefix, _, above = prefix.rpartition("/")
            resource, key = self._below_rows.get((prefix, key)), above
        return (resource, key) if resource and key else NOTHING

    def _add(self, route: RouteContext) -> Rule | None:
        """Index a route; the first one of a path and method wins, as it does in FastAPI."""
        path, endpoint = route.path or "", route.endpoint
        handler = getattr(endpoint, "handler", None)
        if handler is None:
            if "{" not in path:
                self._tables.setdefault(path, None)
            return None
        if route.dependencies:
            raise TypeError(f"{path}: dependencies are not run on a direct route; check in its handler instead")
        rule: Rule = endpoint.rule  # type: ignore[union-attr]
        index, place = self._place_of(path)
        resource = index.setdefault(place, Resource(path, {}, "", rule))
        if resource is not None:
            for method in route.methods or ():
                resource.handlers.setdefault(method, handler)
        return rule

    def _place_of(self, path: str) -> tuple[dict[Any, Any], Any]:
        prefix, _, last = path.rpartition("/")
        if last.startswith("{"):
            return self._rows, prefix
        above, _, key = prefix.rpartition("/")
        return (self._below_rows, (above, last)) if key.startswith("{") else (self._tables, path)


def index_of(app: Any) -> RouteIndex:
    """The direct routes of an application, which are collected once."""
    index: RouteIndex | None = getattr(app.state, "route_index", None)
    if index is None:
        index = app.state.route_index = RouteIndex(app.routes)
    return index


def _completed(resource: Resource) -> Resource:
    """Complete a resource as RFC 9110 says: HEAD beside GET, OPTIONS, and what `Allow` lists."""
    handlers = dict(resource.handlers)
    if "GET" in handlers:
        handlers["HEAD"] = handlers["GET"]
    allow = ", ".join(sorted({*handlers, "OPTIONS"}))

    headers = [(b"allow", allow.encode())]
    if "QUERY" in handlers:
        # RFC 10008: which bodies a query may have.
        headers.append((b"accept-query", b", ".join(b'"%s"' % media_type for media_type in QUERY_TYPES)))
    if "PATCH" in handlers:
        # RFC 5789: which patches are understood.
        headers.append((b"accept-patch", b", ".join(PATCH_TYPES)))

    async def options(_: Request) -> Answer:
        return Answer(204, headers=tuple(headers))

    return resource._replace(handlers={**handlers, "OPTIONS": options}, allow=allow)


def find_handler(resource: Resource, method: str) -> Handler:
    """The handler of a method.

    Raises:
        MethodNotAllowed: the resource has no such method.
    """
    handler = resource.handlers.get(method)
    if handler is None:
        raise MethodNotAllowed(f"{resource.template} allows {resource.allow}", resource.allow)
    return handler
