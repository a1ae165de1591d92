"""What the OpenAPI document says of a table's routes: parameters, answers, headers, examples."""

from keyword import iskeyword
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field, WithJsonSchema

from src.api.direct import Documented
from src.api.query import DEFAULT_SIZE, MAX_PAGE, MAX_SIZE, MAX_SORT_TERMS
from src.core import values
from src.core.models import TableModels
from src.core.tables import ColumnInfo, Kind

ORDERED_KINDS = (Kind.TIMESTAMP, Kind.LOCAL_TIMESTAMP, Kind.DATE, Kind.INTEGER, Kind.DOUBLE, Kind.NUMERIC)

# A filter is read from a URL, so it takes texts that a JSON body does not.
_INTEGER = {"type": "integer", "minimum": values.MIN_INTEGER, "maximum": values.MAX_INTEGER}
FILTER_SCHEMAS: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: {"type": "string", "pattern": values.NO_NUL},
    Kind.UUID: {"type": "string", "format": "uuid", "pattern": values.UUID_TEXT},
    Kind.TIMESTAMP: {"type": "string", "pattern": values.TIMESTAMP_FILTER},
    Kind.LOCAL_TIMESTAMP: {"type": "string", "pattern": values.LOCAL_TIMESTAMP},
    Kind.DATE: {"type": "string", "format": "date", "pattern": values.DATE},
    Kind.INTEGER: _INTEGER,
    Kind.DOUBLE: {"type": "number"},
    Kind.NUMERIC: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
}


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


REQUEST_ID_HEADER = {
    "X-Request-ID": {
        "description": "The request's id: the client's if it sent one of `[A-Za-z0-9._-]{1,64}`, else a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    }
}
RETRY_AFTER_HEADER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
LOCATION_HEADER = {"Location": {"description": "The address of the row.", "schema": {"type": "string"}}}
LINK_HEADER = {
    "Link": {
        "description": "`first`, `prev` and `next` page (RFC 8288); follow `next` to read everything once.",
        "schema": {"type": "string"},
    }
}

DESCRIPTIONS = {
    400: "The request cannot be right: the detail says what is wrong and what would have been right.",
    404: "No row has this key.",
    405: "The path does not allow this method; `Allow` says which it does.",
    409: "Another row stands in the way: the key exists, a referred row is missing, or rows refer to this one.",
    413: "The body is larger than its limit.",
    415: "The body is not JSON in UTF-8.",
    500: "A defect of the service; it has been logged.",
    503: "The database is away or busy; the request may be sent again after `Retry-After` seconds.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of an operation, for `responses=`."""
    answers: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 400, 500, 503}):
        headers = REQUEST_ID_HEADER | (RETRY_AFTER_HEADER if status == 503 else {})
        answers[status] = {
            "description": DESCRIPTIONS[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
            "headers": headers,
        }
    return answers


def success(status: int, description: str, headers: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """The good answer of an operation, for `responses=`."""
    return {status: {"description": description, "headers": REQUEST_ID_HEADER | (headers or {})}}


def key_parameter(models: TableModels) -> dict[str, Documented]:
    """The key in the path, under its column's name."""
    schema = FILTER_SCHEMAS[models.info.key_kind]
    if models.info.key_kind is Kind.TEXT:
        schema = {"type": "string", "minLength": 1, "pattern": values.KEY}
    return {path_name(models): Documented(Annotated[Any, WithJsonSchema(schema), Path(description="The row's key.")])}


def path_name(models: TableModels) -> str:
    """The key column's name as a path parameter can have it."""
    name = models.info.key
    return name if name.isidentifier() and not iskeyword(name) else "key"


def body_parameter(model: type[BaseModel]) -> dict[str, Documented]:
    """The body."""
    return {"body": Documented(model)}


def list_parameters(models: TableModels) -> dict[str, Documented]:
    """Filters, order and place of a list. Signatures need Python names; the real ones are aliases."""
    parameters: dict[str, Documented] = {}
    for column in models.info.columns:
        if column.kind is Kind.JSON:
            continue
        for annotation in _filters(column):
            parameters[f"filter_{len(parameters)}"] = Documented(annotation, None)
    names = "|".join(
        column.name for column in models.info.columns if column.kind is not Kind.JSON and column.name.isidentifier()
    )
    sort_pattern = rf"^-?({names})(,-?({names})){{0,{MAX_SORT_TERMS - 1}}}$"
    default = models.sort or models.key
    sort = Query(
        alias="sort",
        description=f"Columns, `-` descends; the key decides last. Default: `{default}`.",
        pattern=sort_pattern,
        examples=[default],
    )
    page = Query(ge=1, le=MAX_PAGE, description="Page number, from 1.")
    size = Query(ge=1, le=MAX_SIZE, description="Rows per page.")
    cursor = Query(description="The place from a `Link` of an earlier answer, instead of `page`.")
    return parameters | {
        "sort": Documented(Annotated[str | None, sort], None),
        "page": Documented(Annotated[int, page], 1),
        "size": Documented(Annotated[int, size], DEFAULT_SIZE),
        "cursor": Documented(Annotated[str | None, cursor], None),
    }


def _filters(column: ColumnInfo) -> list[Any]:
    schema = FILTER_SCHEMAS[column.kind]
    values_of = Annotated[Any, WithJsonSchema({"type": "array", "items": schema})]
    value_of = Annotated[Any, WithJsonSchema(schema)]
    described = f"Rows whose `{column.name}` is this, or one of these if repeated."
    filters: list[Any] = [Annotated[values_of, Query(alias=column.name, description=described)]]
    if column.kind in ORDERED_KINDS:
        for suffix, words in (("gte", "this or after"), ("lte", "this or before")):
            text = f"Rows whose `{column.name}` is {words}."
            filters.append(Annotated[value_of, Query(alias=f"{column.name}_{suffix}", description=text)])
    return filters


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
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**problem.pop("$defs"), "ProblemDocument": problem}
        app.openapi_schema = document
    return app.openapi_schema
