"""What a JSON Schema cannot say of this API, so that generated requests respect it."""

from typing import Any
from urllib.parse import unquote

import schemathesis

MAX_INTEGER = 2**63 - 1
MAX_PAGE = 10**16


@schemathesis.hook
def filter_body(_: Any, body: Any) -> bool:
    """Keep NUL out of documents of any shape: their schema says nothing of texts deep inside."""
    return not _has_nul(body)


@schemathesis.hook
def before_call(_: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Send no text with a grammar of its own, no page of an export, and the key of the path in a PUT's body."""
    is_positive = case.meta is None or case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    if not is_positive:
        return
    if isinstance(case.query, dict):
        _keep_what_schemas_say(case.query, case.path)
    _keep_headers_that_mean_nothing_yet(case)
    _keep_what_writes_say(case)
    case.body = _whole(case.body)
    if isinstance(case.body, dict) and case.path.endswith("/-/query"):
        _keep_what_schemas_say(case.body, case.path)
        properties = case.operation.body[0].definition["schema"]["properties"]
        for name in [name for name in case.body if name not in properties]:
            # Any filter is a member, so the schema lets others through.
            del case.body[name]
    if case.method.upper() in ("PUT", "PATCH") and isinstance(case.body, dict):
        for name, value in (case.path_parameters or {}).items():
            if name in case.body:
                # The path's parameters are percent-encoded by now.
                case.body[name] = unquote(str(value))


def _whole(value: Any) -> Any:
    """Write whole numbers without a point, and none past 64 bits: generated ones are as wide as doubles can tell."""
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_INTEGER:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and MAX_INTEGER + 2 < abs(value) < 2 * MAX_INTEGER:
        return MAX_INTEGER if value > 0 else -MAX_INTEGER
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return list(map(_whole, value)) if isinstance(value, list) else value


def _keep_headers_that_mean_nothing_yet(case: Any) -> None:
    """Drop tags, which only an answer has that is valid, and preferences, which have a standard's grammar."""
    for name in list(case.headers or ()):
        if name.lower() in ("if-match", "if-none-match", "prefer"):
            del case.headers[name]


def _keep_what_writes_say(case: Any) -> None:
    """A schema cannot say that many rows need a filter and a limit, that a key stands once, or what a batch asks."""
    if case.path.startswith("/v1/") and isinstance(case.body, dict):
        # Under an id that is known, other content is refused.
        case.body.pop("messageId", None)
    if case.path == "/batch":
        case.body = {"requests": [{"method": "GET", "url": "/users?size=1"}]}
    if case.method.upper() in ("PATCH", "DELETE") and "{" not in case.path:
        case.query = (case.query or {}) | {{"/events": "event_id"}.get(case.path, case.path[1:-1] + "_id"): [FREE_KEY]}
    if isinstance(case.body, list) and case.path.count("/") == 1:
        key = {"/events": "event_id"}.get(case.path, case.path[1:-1] + "_id")
        by_key = {str(row.get(key, number)).lower(): row for number, row in enumerate(case.body)}
        case.body = list(by_key.values())


FREE_KEY = "01994d5e-6f1c-7c3a-9d5b-000000000000"


def _keep_what_schemas_say(parameters: dict[str, Any], path: str) -> None:
    """Drop what is not for JSON Schema to say; each has tests of its own.

    A cursor is opaque, and only an answer has one that is valid. A tree of conditions and related rows have a grammar,
    time zones are a list of hundreds, an aggregate is sorted by the names in its own request. An export has no pages.
    A row of chosen fields has only these, where its schema says what a whole row has.
    """
    for name in ("cursor", "or", "tz", "expand", "fields"):
        parameters.pop(name, None)
    if isinstance(parameters.get("page"), int) and parameters["page"] > MAX_PAGE:
        # As a double, the largest page is one past it.
        parameters["page"] = MAX_PAGE
    if path.endswith("/-/aggregate"):
        parameters.pop("sort", None)
    if parameters.get("format", "json") != "json":
        for name in ("page", "size"):
            parameters.pop(name, None)


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(item) for pair in value.items() for item in pair)
    return isinstance(value, list) and any(map(_has_nul, value))
