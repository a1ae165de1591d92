"""What the OpenAPI document says of a table's parameters: the contract's filters as such, the rest once."""

from collections.abc import Iterator
from keyword import iskeyword
from typing import Annotated, Any

from fastapi import Body, Path, Query
from pydantic import BaseModel, WithJsonSchema

from src.api.dependencies import relations_of
from src.api.direct import Documented
from src.api.formats import FORMATS
from src.api.parameters.order import MAX_SORT_TERMS
from src.api.query import COUNTS, DEFAULT_SIZE, MAX_PAGE, MAX_SIZE
from src.core import values
from src.core.models import TableModels
from src.core.tables import Kind
from src.db.queries.aggregates import BUCKETS, FUNCTIONS

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


def body_parameter(model: type[BaseModel]) -> dict[str, Documented]:
    """The body."""
    return {"body": Documented(model)}


def _string(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


def _names(models: TableModels, kinds: Iterator[Kind] | tuple[Kind, ...]) -> list[str]:
    """The columns of these kinds whose names can stand in a pattern as they are."""
    kinds = tuple(kinds)
    return [column.name for column in models.info.columns if column.kind in kinds and column.name.isidentifier()]


def _list_of(item: str, most: int) -> str:
    return rf"^{item}(,{item}){{0,{most - 1}}}$"


ALL_BUT_JSON = tuple(kind for kind in Kind if kind is not Kind.JSON)
# A path inside a document; the last form is for members with dots and other signs.
PATH = r'(\.([A-Za-z_][A-Za-z0-9_]{0,60}|"[^"\\\x00]{1,60}")){1,4}'


def _target(models: TableModels) -> str:
    """A pattern of columns, and of values inside documents."""
    columns = "|".join(_names(models, ALL_BUT_JSON))
    documents = "|".join(_names(models, (Kind.JSON,)))
    return rf"({columns}|({documents}){PATH})" if documents else f"({columns})"


def _field(models: TableModels) -> str:
    documents = "|".join(_names(models, (Kind.JSON,)))
    return rf"({'|'.join(_names(models, tuple(Kind)))}|({documents}){PATH})" if documents else _target(models)


def row_parameters(models: TableModels) -> dict[str, Documented]:
    """Which members a row has."""
    parameters = {
        "fields": Documented(
            Annotated[
                Annotated[Any, WithJsonSchema(_string(_list_of(_field(models), 20)))],
                Query(
                    description="Members to answer, also inside documents: `fields=a,b.c`. Without it, all columns.",
                    examples=[models.key],
                ),
            ],
            None,
        )
    }
    relations = relations_of(models.info)
    if relations:
        names = "|".join(name for name in relations if name.isidentifier())
        described = ", ".join(f"`{name}`" for name in relations)
        parameters["expand"] = Documented(
            Annotated[
                Annotated[Any, WithJsonSchema(_string(rf"^({names})(\(.*\))?(\..+)?(,.+)?$"))],
                Query(
                    description=f"Related rows inside each row: {described}; with options, "
                    "`name(limit:5,sort:-x,fields:a,b)`, and one level deeper, `name.other`.",
                    examples=[next(iter(relations))],
                ),
            ],
            None,
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


def _filters(models: TableModels) -> dict[str, Documented]:
    """Signatures need Python names; the real ones are aliases."""
    parameters: dict[str, Documented] = {}
    for name, description, schema, is_list in _filter_parameters(models):
        shown = {"type": "array", "items": schema} if is_list else schema
        annotation = Annotated[Annotated[Any, WithJsonSchema(shown)], Query(alias=name, description=description)]
        parameters[f"filter_{len(parameters)}"] = Documented(annotation, None)
    tree = Query(
        alias="or",
        description="Conditions of which one must hold: `(a.eq.x,and(b.gte.1,not.c.isnull.true))`; "
        "so are `and`, `not.or` and `not.and`.",
    )
    tree_schema = WithJsonSchema(_string(r"^\(.+\)$"))
    return parameters | {"tree": Documented(Annotated[Annotated[Any, tree_schema], tree], None)}


def _pages() -> dict[str, Documented]:
    page = Query(ge=1, le=MAX_PAGE, description="Page number, from 1.")
    size = Query(ge=1, le=MAX_SIZE, description="Rows per page.")
    return {
        "page": Documented(Annotated[int, page], 1),
        "size": Documented(Annotated[int, size], DEFAULT_SIZE),
    }


def _format() -> dict[str, Documented]:
    names = {"type": "string", "enum": list(FORMATS)}
    described = Query(
        description="All but `json` are exports: all rows, streamed. `Accept` says it too.", alias="format"
    )
    return {"format_": Documented(Annotated[Annotated[Any, WithJsonSchema(names)], described], "json")}


def list_parameters(models: TableModels) -> dict[str, Documented]:
    """Filters, order, members and place of a list."""
    sort_term = rf"-?({'|'.join(_names(models, ALL_BUT_JSON))})(\.nullsfirst|\.nullslast)?"
    default = models.sort or models.key
    sort = Query(
        description=f"Columns, `-` descends; the key decides last. Default: `{default}`.",
        pattern=_list_of(sort_term, MAX_SORT_TERMS),
        examples=[default],
    )
    cursor = Query(description="The place from a `Link` of an earlier answer, instead of `page`.")
    count = Query(
        description="Put the number of all rows that pass the filters into `X-Total-Count`; `Prefer` says it too."
    )
    counts = WithJsonSchema({"type": "string", "enum": list(COUNTS)})
    return (
        _filters(models)
        | {"sort": Documented(Annotated[str | None, sort], None)}
        | row_parameters(models)
        | _pages()
        | {
            "cursor": Documented(Annotated[str | None, cursor], None),
            "count": Documented(Annotated[Annotated[Any, counts], count], None),
        }
        | _format()
    )


def aggregate_parameters(models: TableModels) -> dict[str, Documented]:
    """Groups, measures, filters, order and place of an aggregate."""
    times = "|".join(_names(models, (Kind.TIMESTAMP,)))
    group_term = rf"({_target(models)}|({times})\.({'|'.join(BUCKETS)}))" if times else _target(models)
    numbers = "|".join(_names(models, tuple(FUNCTIONS["sum"].kinds)))
    ordered = "|".join(_names(models, tuple(FUNCTIONS["min"].kinds)))
    measure = rf"(count|count\({_target(models)}\)|(min|max)\(({ordered})\)"
    measure += rf"|(sum|avg)\(({numbers})\))" if numbers else ")"
    group = Query(
        description="What groups have in common: columns, values inside documents, "
        f"pieces of time (`ts.day`; {', '.join(BUCKETS)}).",
        pattern=_list_of(group_term, 4),
    )
    select = Query(
        description=f"What is measured: {', '.join(FUNCTIONS)}, such as `count,avg(a.b)`.", pattern=_list_of(measure, 4)
    )
    zone = Query(description="The time zone in which days and other pieces of time begin.", examples=["Europe/Zurich"])
    sort = Query(description="Names of groups and measures of this request; `-` descends. Default: by the groups.")
    return (
        {
            "group": Documented(Annotated[str | None, group], None),
            "select": Documented(Annotated[str, select], "count"),
            "tz": Documented(Annotated[str, zone], "UTC"),
        }
        | _filters(models)
        | {"sort": Documented(Annotated[str | None, sort], None)}
        | _pages()
        | _format()
    )


def long_query_parameter(models: TableModels) -> dict[str, Documented]:
    """The parameters of a list as the members of a JSON object."""
    properties: dict[str, Any] = {}
    for name, description, schema, is_list in _filter_parameters(models):
        shown = {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]} if is_list else schema
        properties[name] = {"description": description} | shown
    properties |= {
        "sort": _string(_list_of(rf"-?({'|'.join(_names(models, ALL_BUT_JSON))})", MAX_SORT_TERMS)),
        "fields": _string(_list_of(_field(models), 20)),
        "size": {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": DEFAULT_SIZE},
        "page": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
        "count": {"type": "string", "enum": list(COUNTS)},
        "format": {"type": "string", "enum": list(FORMATS)},
    }
    schema = {
        "type": "object",
        "description": "Every parameter that the list takes, by its name; a repeated one, or a list, may be an array.",
        "properties": properties,
        "additionalProperties": True,
        "examples": [{"size": 100, "count": "exact"}],
    }
    return {"body": Documented(Annotated[dict[str, Any], Body(), WithJsonSchema(schema)])}
