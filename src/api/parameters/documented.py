"""What the OpenAPI document says of a table's parameters: the contract's filters as such, the rest once."""

from collections.abc import Iterable, Iterator
from keyword import iskeyword
from typing import Annotated, Any

from fastapi import Body, Header, Path, Query
from pydantic import BaseModel, Field, WithJsonSchema, create_model

from src.api.deliveries.given_events import MAX_EVENTS
from src.api.dependencies import relations_of
from src.api.direct import Documented
from src.api.formats import FORMATS
from src.api.given_rows import MAX_ROWS
from src.api.idempotency import MAX_KEY_LENGTH, NAME
from src.api.parameters.order import MAX_SORT_TERMS
from src.api.query import COUNTS, DEFAULT_SIZE, LAST_EVENT_ID, LAST_ID, MAX_PAGE, MAX_SIZE
from src.core import values
from src.core.models import TableModels
from src.core.tables import Kind
from src.core.types import Timestamp, WriteModel
from src.db.queries.measures import BUCKETS, FUNCTIONS

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


def body_parameter(model: Any) -> dict[str, Documented]:
    """The body."""
    return {"body": Documented(model)}


def rows_parameter(model: type[BaseModel]) -> dict[str, Documented]:
    """A body of one row, or of many."""
    many = Annotated[list[model], Field(max_length=MAX_ROWS)]  # type: ignore[valid-type]  # chosen at run time
    return {"body": Documented(Annotated[model | many, Body()])}


def delivered_parameter(model: type[BaseModel]) -> dict[str, Documented]:
    """A body of rows that a device delivers, or of an object around them."""
    most = Field(description=f"At most {MAX_EVENTS} (413).")
    # What is no such row has its result, and harms no other.
    rows = Annotated[list[model | Any], most]  # type: ignore[valid-type]  # chosen at run time
    sent_at: Any = (Timestamp | None, Field(default=None, description="When the device sent them, by its clock."))
    wrapped: Any = create_model(
        f"{model.__name__}Delivery",
        __base__=WriteModel,
        __doc__="Rows that a device delivers.",
        batch=(rows, ...),
        sentAt=sent_at,
    )
    return {"body": Documented(Annotated[rows | wrapped, Body()])}


# What `Prefer` may say of each kind of request.
_TX = "tx=rollback"
_RETURN = "return=minimal"


def prefer_parameter(*preferences: str) -> dict[str, Documented]:
    """The `Prefer` header of a request that writes."""
    named = (*preferences, _RETURN, _TX)
    description = f"{', '.join(f'`{each}`' for each in named)} (RFC 7240); several stand with commas between them."
    return {"prefer": _header("Prefer", description)}


def condition_parameters(*, may_create: bool = False) -> dict[str, Documented]:
    """The headers that make a request depend on what the row is."""
    headers = {"if_match": _header("If-Match", "The `ETag` of the row that was read: 412 if it is another now.")}
    if may_create:
        headers["if_none_match"] = _header("If-None-Match", "`*`: create the row, and only create it.")
    return headers


def idempotency_parameter() -> dict[str, Documented]:
    """The header of a request that is to be carried out once."""
    description = (
        "A new UUID for each request, the same one when it is sent again: it is carried out once, and answered again "
        "with `Idempotency-Replayed: true`. Kept for 24 hours."
    )
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"}
    header = Header(alias=NAME, description=description)
    return {"idempotency_key": Documented(Annotated[str | None, WithJsonSchema(schema), header], None)}


def unchanged_parameter() -> dict[str, Documented]:
    """The header of a reader who has the row already."""
    return {"if_none_match": _header("If-None-Match", "The `ETag` of the row that is known: 304 if it still is.")}


def _header(name: str, description: str) -> Documented:
    return Documented(Annotated[str | None, Header(alias=name, description=description)], None)


def cascade_parameter() -> dict[str, Documented]:
    """Whether everything that carries the key goes too."""
    description = "Erase every row of every table that carries this key, in one transaction; answers how many."
    return {"cascade": _parameter({"type": "boolean"}, description, default=False)}


def _string(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


def _names(models: TableModels, kinds: tuple[Kind, ...]) -> list[str]:
    """The columns of these kinds whose names can stand in a pattern as they are."""
    return [column.name for column in models.info.columns if column.kind in kinds and column.name.isidentifier()]


def _list_of(item: str, most: int) -> str:
    return rf"^{item}(,{item}){{0,{most - 1}}}$"


ALL_BUT_JSON = tuple(kind for kind in Kind if kind is not Kind.JSON)
# A path inside a document; the last form is for members with dots and other signs.
PATH = r'(\.([A-Za-z_][A-Za-z0-9_]{0,60}|"[^"\\\x00]{1,60}")){1,4}'


NOTHING = "()"


def _target(models: TableModels, kinds: Iterable[Kind] = ALL_BUT_JSON) -> str:
    """A pattern of columns of these kinds, and of values inside documents."""
    columns = "|".join(_names(models, tuple(kinds)))
    documents = "|".join(_names(models, (Kind.JSON,)))
    inside = f"({documents}){PATH}" if documents else ""
    return f"({'|'.join(filter(None, (columns, inside)))})"


def _parameter(schema: dict[str, Any], description: str, default: Any = None, **more: Any) -> Documented:
    """A parameter of the URL with this schema."""
    return Documented(
        Annotated[Annotated[Any, WithJsonSchema(schema)], Query(description=description, **more)], default
    )


def _choice(names: Iterable[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def row_parameters(models: TableModels) -> dict[str, Documented]:
    """Which members a row has."""
    parameters = {
        "fields": _parameter(
            _string(_list_of(_target(models, Kind), 20)),
            "Members to answer, also inside documents: `fields=a,b.c`. Without it, all columns.",
            examples=[models.key],
        )
    }
    relations = relations_of(models.info)
    if relations:
        names = "|".join(name for name in relations if name.isidentifier())
        described = ", ".join(f"`{name}`" for name in relations)
        parameters["expand"] = _parameter(
            _string(rf"^({names})(\(.*\))?(\..+)?(,.+)?$"),
            f"Related rows inside each row: {described}; with options, "
            "`name(limit:5,sort:-x,fields:a,b)`, and one level deeper, `name.other`.",
            examples=[next(iter(relations))],
        )
    return parameters


def _filter_parameters(models: TableModels) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Yield of each filter its name, its description, its schema, and whether it may be repeated."""
    for column in models.info.columns:
        if column.kind is Kind.JSON:
            continue
        schema = FILTER_SCHEMAS[column.kind]
        yield column.name, f"Rows whose `{column.name}` is this, or one of these if repeated.", schema, True
        if column.kind in ORDERED_KINDS:
            for suffix, words in (("gte", "this or after"), ("lte", "this or before")):
                yield f"{column.name}_{suffix}", f"Rows whose `{column.name}` is {words}.", schema, False


def filter_parameters(models: TableModels) -> dict[str, Documented]:
    """The filters of a request about many rows. Signatures need Python names; the real ones are aliases."""
    parameters: dict[str, Documented] = {}
    for name, description, schema, is_list in _filter_parameters(models):
        shown = {"type": "array", "items": schema} if is_list else schema
        parameters[f"filter_{len(parameters)}"] = _parameter(shown, description, alias=name)
    tree = _parameter(
        _string(r"^\(.+\)$"),
        "Conditions of which one must hold: `(a.eq.x,and(b.gte.1,not.c.isnull.true))`; "
        "so are `and`, `not.or` and `not.and`.",
        alias="or",
    )
    return parameters | {"tree": tree}


def stream_parameters(models: TableModels) -> dict[str, Documented]:
    """Filters of a stream, and the place where it goes on."""
    last_id = {"type": "string", "pattern": LAST_ID}
    described = "The `id` of the last event that is known: the stream goes on after it."
    return filter_parameters(models) | {
        LAST_EVENT_ID: _parameter(last_id, f"{described} For clients that cannot send the header."),
        "last_event_id_header": _header("Last-Event-ID", f"{described} Without it, from now on."),
    }


def _pages() -> dict[str, Documented]:
    page = Query(ge=1, le=MAX_PAGE, description="Page number, from 1.")
    size = Query(ge=1, le=MAX_SIZE, description="Rows per page.")
    return {
        "page": Documented(Annotated[int, page], 1),
        "size": Documented(Annotated[int, size], DEFAULT_SIZE),
    }


def _format() -> dict[str, Documented]:
    description = "All but `json` are exports: all rows, streamed. `Accept` says it too."
    return {"format_": _parameter(_choice(FORMATS), description, "json", alias="format")}


def _sort_pattern(models: TableModels) -> str:
    term = rf"-?({'|'.join(_names(models, ALL_BUT_JSON))})(\.nullsfirst|\.nullslast)?"
    return _list_of(term, MAX_SORT_TERMS)


def list_parameters(models: TableModels) -> dict[str, Documented]:
    """Filters, order, members and place of a list."""
    default = models.sort or models.key
    return (
        filter_parameters(models)
        | {
            "sort": _parameter(
                _string(_sort_pattern(models)),
                f"Columns, `-` descends; the key decides last. Default: `{default}`.",
                examples=[default],
            )
        }
        | row_parameters(models)
        | _pages()
        | {
            "cursor": _parameter(
                {"type": "string"}, "The place from a `Link` of an earlier answer, instead of `page`."
            ),
            "count": _parameter(
                _choice(COUNTS),
                "Put the number of all rows that pass the filters into `X-Total-Count`; `Prefer` says it too.",
            ),
        }
        | _format()
    )


def aggregate_parameters(models: TableModels) -> dict[str, Documented]:
    """Groups, measures, filters, order and place of an aggregate."""
    times = "|".join(_names(models, (Kind.TIMESTAMP,)))
    group_term = rf"({_target(models)}|({times})\.({'|'.join(BUCKETS)}))" if times else _target(models)
    measure = "|".join(_measures(models))
    return (
        {
            "group": _parameter(
                _string(_list_of(group_term, 4)),
                "What groups have in common: columns, values inside documents, "
                f"pieces of time (`ts.day`; {', '.join(BUCKETS)}).",
            ),
            "select": _parameter(
                _string(_list_of(f"({measure})", 4)),
                f"What is measured: {', '.join(FUNCTIONS)}, such as `count,avg(a.b)`.",
                "count",
            ),
            "tz": _parameter(
                {"type": "string"},
                "The time zone in which days and other pieces of time begin.",
                "UTC",
                examples=["Europe/Zurich"],
            ),
        }
        | filter_parameters(models)
        | {
            "sort": _parameter(
                {"type": "string"}, "Groups and measures of this request, `-` descends. Default: by the groups."
            )
        }
        | _pages()
        | _format()
    )


def _measures(models: TableModels) -> Iterator[str]:
    """Yield a pattern of each kind of measure that a table has."""
    yield "count"
    yield rf"count\({_target(models)}\)"
    for names, function in (("min|max", "min"), ("sum|avg", "sum")):
        target = _target(models, FUNCTIONS[function].kinds)
        if target != NOTHING:
            yield rf"({names})\({target}\)"


def _in_body(schema: dict[str, Any]) -> dict[str, Any]:
    """A filter's value in a body: for a text, a number stands for its digits."""
    return {"anyOf": [schema, {"type": ["number", "boolean"]}]} if schema == FILTER_SCHEMAS[Kind.TEXT] else schema


def long_query_parameter(models: TableModels) -> dict[str, Documented]:
    """The parameters of a list as the members of a JSON object."""
    properties: dict[str, Any] = {}
    for name, description, schema, is_list in _filter_parameters(models):
        value = _in_body(schema)
        shown = {"anyOf": [value, {"type": "array", "items": value, "minItems": 1}]} if is_list else value
        properties[name] = {"description": description} | shown
    properties |= {
        "sort": _string(_sort_pattern(models)),
        "fields": _string(_list_of(_target(models, Kind), 20)),
        "size": {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": DEFAULT_SIZE},
        "page": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
        "count": _choice(COUNTS),
        "format": _choice(FORMATS),
    }
    schema = {
        "type": "object",
        "description": "Every parameter that the list takes, by its name; a repeated one, or a list, may be an array.",
        "properties": properties,
        "additionalProperties": True,
        "examples": [{"size": 100, "count": "exact"}],
    }
    return {"body": Documented(Annotated[dict[str, Any], Body(), WithJsonSchema(schema)])}
