"""Routes that FastAPI documents and that are answered without its machinery.

FastAPI's routing and parameter handling cost 40 to 60 µs a request, more than reading a row; linear route
matching grows with the number of tables. Here a path is found in a dictionary and its handler called with
a `Request` (`docs/decisions/routing.md`).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any, NamedTuple

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from src.api.http import Answer, Request, send_answer
from src.core.errors import MethodNotAllowed

Handler = Callable[[Request], Awaitable[Answer]]


class Documented(NamedTuple):
    """A parameter as OpenAPI shows it: its annotation and its default."""

    annotation: Any
    default: Any = Parameter.empty


def documented(handler: Handler, name: str, parameters: Mapping[str, Documented], doc: str) -> Callable[..., Any]:
    """Make the endpoint that FastAPI reads for the OpenAPI document; the handler is what answers."""

    async def endpoint(**_: Any) -> None:
        raise NotImplementedError("a direct route answers by its handler")

    endpoint.__name__ = name
    endpoint.__doc__ = doc
    endpoint.handler = handler  # type: ignore[attr-defined]
    endpoint.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=parameter.annotation, default=parameter.default)
            for name, parameter in parameters.items()
        ]
    )
    return endpoint


class DirectRoute(APIRoute):
    """A route whose endpoint was made by `documented`."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if options.get("dependencies"):
            raise TypeError(f"{path}: dependencies are not run on a direct route; check in its handler instead")
        super().__init__(path, endpoint, **options)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the handler, for an application without the index below."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        key = next(iter(scope.get("path_params", {}).values()), "")
        await send_answer(await self.endpoint.handler(Request(scope, receive, key)), scope, send)  # type: ignore[attr-defined]


class Resource(NamedTuple):
    """What one path template offers."""

    template: str
    handlers: dict[str, Handler]
    allow: str


class RouteIndex:
    """Pure ASGI middleware: answers direct routes from a dictionary, hands on everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tables: dict[str, Resource | None] = {}
        self._rows: dict[str, Resource] = {}
        self._indexed: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("root_path"):
            await self._app(scope, receive, send)
            return
        if self._indexed is not scope["app"]:
            self._index(scope["app"].routes)
            self._indexed = scope["app"]
        path = scope["path"]
        key = ""
        resource = self._tables.get(path)
        if resource is None and path not in self._tables:
            prefix, _, key = path.rpartition("/")
            resource = self._rows.get(prefix) if key else None
        if resource is None:
            await self._app(scope, receive, send)
            return
        await send_answer(await _answer(resource, Request(scope, receive, key)), scope, send)

    def _index(self, routes: Iterable[BaseRoute]) -> None:
        """Index every direct route; the first route of a path and method wins, as it does in FastAPI."""
        for route in iter_route_contexts(list(routes)):
            path, handler = route.path or "", getattr(route.endpoint, "handler", None)
            if handler is None:
                if "{" not in path:
                    self._tables.setdefault(path, None)
                continue
            prefix, _, last = path.rpartition("/")
            index: dict[str, Any] = self._rows if last.startswith("{") else self._tables
            resource = index.setdefault(prefix if last.startswith("{") else path, Resource(path, {}, ""))
            if resource is not None:
                for method in route.methods or ():
                    resource.handlers.setdefault(method, handler)
        for index in (self._rows, self._tables):
            index.update({key: _with_allow(resource) for key, resource in index.items() if resource})


def _with_allow(resource: Resource) -> Resource:
    """Complete a resource as RFC 9110 says: HEAD beside GET, OPTIONS, and what `Allow` lists."""
    handlers = dict(resource.handlers)
    if "GET" in handlers:
        handlers["HEAD"] = handlers["GET"]
    allow = ", ".join(sorted({*handlers, "OPTIONS"}))

    async def options(_: Request) -> Answer:
        return Answer(204, headers=((b"allow", allow.encode()),))

    return Resource(resource.template, {**handlers, "OPTIONS": options}, allow)


async def _answer(resource: Resource, request: Request) -> Answer:
    request.scope["route_template"] = resource.template
    handler = resource.handlers.get(request.scope["method"])
    if handler is None:
        raise MethodNotAllowed(f"{resource.template} allows {resource.allow}", resource.allow)
    return await handler(request)
