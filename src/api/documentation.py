"""What the OpenAPI document says of a table's answers: bodies, headers, errors."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field

from src.api.formats import FORMATS

INTRODUCTION = """
Users, sessions, recordings, algorithms and the event log of a recording study.

**Filters.** Every column of a list is a parameter; so is a value inside a JSON document, after a dot.
A suffix says how to compare:

| suffix | means | example |
|---|---|---|
| none | equal; one of these if repeated | `user_id=ada` |
| `_ne` | another value | `user_id_ne=ada` |
| `_gte` `_gt` `_lte` `_lt` | at least, more, at most, less | `event_data.step.count_gte=3` |
| `_in` `_nin` | one of, none of: commas, or a JSON array | `event_type_in=tap,open` |
| `_like` `_ilike` | `*` stands for any text; A-Z equal to a-z | `event_type_like=t*` |
| `_contains` `_startswith` | a text inside, a text at the beginning | `event_data.screen_contains=ome` |
| `_isnull` | `true`: no value | `user_id_isnull=true` |

All filters hold together; `or`, `and`, `not.or` and `not.and` take trees of them:
`or=(user_id.eq.ada,and(ts.gte.2026-01-01,log_level.eq.error))`.

**Writing.** PATCH takes a JSON merge patch. `ETag` and `If-Match` keep two writers from overwriting each other. POST
takes an array, lines of JSON or a CSV too, all rows or none; PATCH and DELETE with filters change many; `POST /batch`
carries out many requests in one transaction.

**Pages** have up to 100 rows; follow the `Link` of an answer to the next. All formats but JSON have all rows at once.

**Errors** are one JSON object whose `detail` says what was wrong and what would have been right (RFC 9457).
"""


class ProblemItem(BaseModel):
    """One thing that is wrong with a request."""

    in_: str = Field(alias="in", description="`body`, `query`, `path` or `header`.", examples=["body"])
    pointer: str = Field(description="JSON pointer into the body, or the parameter's name.", examples=["/user_id"])
    detail: str = Field(examples=["is required"])


class ProblemDocument(BaseModel):
    """Every error, as RFC 9457 says; `detail` is one sentence."""

    detail: str = Field(examples=["no row of users has the user_id 'nobody'"])
    status: int = Field(examples=[404])
    title: str = Field(examples=["Not Found"])
    type: str = Field(examples=["about:blank"])
    instance: str = Field(description="The path of the request.", examples=["/users/nobody"])
    request_id: str = Field(description="Stands on every log line of the request.")
    errors: list[ProblemItem] | None = Field(default=None, description="One item per thing that is wrong.")


class Count(BaseModel):
    """How many rows a request has written."""

    count: int = Field(ge=0, examples=[12])


class BatchPart(BaseModel):
    """One request of a batch."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(examples=["POST"])
    url: str = Field(description="A path of this service, with its parameters.", examples=["/users"])
    headers: dict[str, str] = Field(
        default={}, description="`Accept`, `Content-Type`, `If-Match`, `If-None-Match`, `Prefer`.", examples=[{}]
    )
    body: Any = Field(default=None, examples=[{"user_id": "ada"}])


class Batch(BaseModel):
    """Requests that are carried out together."""

    model_config = ConfigDict(extra="forbid")

    requests: list[BatchPart] = Field(max_length=100)


class PartAnswer(BaseModel):
    """What one request of a batch answers."""

    status: int = Field(examples=[201])
    headers: dict[str, str] = Field(examples=[{"Location": "/users/ada"}])
    body: Any = Field(examples=[{"user_id": "ada"}])


class DeliveryResult(BaseModel):
    """What became of a row that a device delivered."""

    result: Literal["ok", "duplicate", "drop", "retry"] = Field(examples=["drop"])
    detail: str | None = Field(default=None, description="Why.", examples=["event_type: is required"])


class DeliveryReceipt(BaseModel):
    """Which of a device's numbered rows are stored."""

    contiguous_through: int = Field(description="All rows with numbers up to this one are stored.", examples=[1016])
    received_through: int = Field(description="The largest number that was seen.", examples=[1041])
    missing: list[Annotated[list[int], Field(min_length=2, max_length=2)]] = Field(
        description="The ranges of numbers that are missing, at most 10,000 of them.", examples=[[[1017, 1019]]]
    )


class DeviceReceipt(DeliveryReceipt):
    """What has arrived from a device."""

    device_id: str = Field(examples=["pixel-1"])


class DeliveryAnswer(BaseModel):
    """What became of rows that a device delivered."""

    accepted: int = Field(ge=0, description="How many rows are stored, now or before.", examples=[998])
    results: dict[str, DeliveryResult] = Field(
        description="By the row's key, or by its index where it has none; those that are `ok` are left out."
    )
    receipts: dict[str, DeliveryReceipt] = Field(description="By device, of the rows that have a number.")


class SegmentMessage(BaseModel):
    """A message of Segment's API, with any other members; what is not as it should be is kept as it is."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(default="track", min_length=1, max_length=255, examples=["track"])
    event: Any = Field(default=None, description="What happened, in a `track`: a text.", examples=["tap"])
    messageId: Any = Field(  # noqa: N815
        default=None, description="A text, the same one when it is sent again.", examples=["msg-1"]
    )
    userId: Any = Field(default=None, description="A text or a number.", examples=["ada"])  # noqa: N815
    timestamp: Any = Field(
        default=None,
        description="When it happened; kept as it is where it is no time.",
        examples=["2026-01-31T09:30:00.125Z"],
    )


class SegmentBatch(BaseModel):
    """Messages of Segment's API."""

    model_config = ConfigDict(extra="allow")

    batch: list[SegmentMessage | Any] = Field(description="At most 10,000 (413).")
    sentAt: Any = Field(default=None, examples=["2026-01-31T09:31:00Z"])  # noqa: N815


class SegmentAnswer(BaseModel):
    """What became of messages: those that `results` does not name are stored."""

    success: Literal[True]
    results: dict[str, DeliveryResult] | None = Field(
        default=None, description="By the id of the event, or by the place in the batch.", examples=[None]
    )


class Group(BaseModel):
    """One group of rows: its members are named as `group` and `select` name them."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"event_type": "tap", "ts.day": "2026-01-31T00:00:00+00:00", "count": 12}]},
    )


REQUEST_ID_HEADER = {
    "X-Request-ID": {
        "description": "The request's id: the client's if it sent one of `[A-Za-z0-9._-]{1,64}`, else a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    }
}
RETRY_AFTER_HEADER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
LOCATION_HEADER = {"Location": {"description": "The address of the row.", "schema": {"type": "string"}}}
ETAG_HEADER = {
    "ETag": {
        "description": "Another one for every other byte of the row; send it back in `If-Match` or `If-None-Match`.",
        "schema": {"type": "string"},
    }
}
REPLAYED_HEADER = {
    "Idempotency-Replayed": {
        "description": "Says that this is the answer to an earlier request with the same `Idempotency-Key`.",
        "schema": {"type": "string", "const": "true"},
    }
}
LINK_HEADER = {
    "Link": {
        "description": "`first`, `prev` and `next` page (RFC 8288); follow `next` to read everything once.",
        "schema": {"type": "string"},
    }
}

LIST_HEADERS = LINK_HEADER | {
    "X-Total-Count": {
        "description": "The number of rows that pass every filter, where `count` asks for it.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Preference-Applied": {
        "description": "`count=exact` or `count=estimated`: how they were counted.",
        "schema": {"type": "string"},
    },
}
# An export has no schema that JSON Schema could say.
EXPORTS = {
    each.media_type.partition(b";")[0].decode(): {"schema": {"type": "string"}}
    for each in FORMATS.values()
    if each.encode
}

EVENT_STREAM = {
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'id: 42\nevent: insert\ndata: {"event_id": "01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"}\n\n',
    }
}

DESCRIPTIONS = {
    400: "The request cannot be right: the detail says what is wrong and what would have been right.",
    401: "No credentials, or none that count; the text is the same for all causes.",
    403: "The caller is known and may not do this.",
    404: "No row has this key, or none that the caller may see.",
    405: "The path does not allow this method; `Allow` says which it does.",
    409: "Another row stands in the way: the key exists, a referred row is missing, or rows refer to this one.",
    410: "The row is about a person who was erased; it is not stored, now or later.",
    412: "The row is not, or not any more, the one that `If-Match` or `If-None-Match` says.",
    413: "The body is larger than its limit.",
    415: "The body is of a media type that is not read here, or not in UTF-8.",
    429: "Too many requests, or too many failed ones; `Retry-After` says when to come again.",
    500: "A defect of the service; it has been logged.",
    503: "The database is away or busy; the request may be sent again after `Retry-After` seconds.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of an operation, for `responses=`."""
    answers: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 400, 500, 503}):
        headers = REQUEST_ID_HEADER | (RETRY_AFTER_HEADER if status in (429, 503) else {})
        answers[status] = {
            "description": DESCRIPTIONS[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
            "headers": headers,
        }
    return answers


def success(
    status: int, description: str, headers: dict[str, Any] | None = None, content: dict[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The good answer of an operation, for `responses=`; `content` are media types beside JSON."""
    answer: dict[str, Any] = {"description": description, "headers": REQUEST_ID_HEADER | (headers or {})}
    return {status: answer | ({"content": content} if content else {})}


NOT_MODIFIED = success(304, "The row is still the one that is known.", ETAG_HEADER)
NO_CONTENT = success(204, "Done; `Prefer: return=minimal` wants no body.")


def describe(app: FastAPI) -> dict[str, Any]:
    """Make the OpenAPI document: FastAPI's own, without the 422 that this API never answers."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        _add_security(app, document)
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**problem.pop("$defs"), "ProblemDocument": problem}
        app.openapi_schema = document
    return app.openapi_schema


SECURITY_SCHEMES = {
    "firebase": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A Firebase ID token of the study's project, as the app has it from `getIdToken()`.",
    },
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The key of a service, made by `python -m scripts.api_keys create`.",
    },
}


def _add_security(app: FastAPI, document: dict[str, Any]) -> None:
    """Say of every operation that is not public what callers must bring along, and what they are answered without."""
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    schemes: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]
    if not app.state.settings.is_authenticated:
        schemes.insert(0, {})
    for route in iter_route_contexts(app.routes):
        rule = getattr(route.endpoint, "rule", None)
        if rule is None or rule.is_public:
            continue
        for method in route.methods or ():
            operation = document["paths"].get(route.path, {}).get(method.lower())
            if operation:
                operation["security"] = schemes
                for status, answer in problems(401, 403, 429).items():
                    operation["responses"].setdefault(str(status), answer)
                operation["responses"] = dict(sorted(operation["responses"].items()))
