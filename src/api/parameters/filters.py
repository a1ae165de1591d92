"""Filters: `column=value`, `column_gte=value`, `document.path.to.it=value`, lists and patterns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from src.api.hints import nearest
from src.api.http import shortened
from src.api.parameters.targets import NoTarget, find_target
from src.api.parameters.values import (
    PARSERS,
    invalid,
    kind_of_json,
    parse_document_value,
    parse_flag,
    parse_value,
)
from src.core.errors import InvalidRequest, Problem, UnknownName
from src.core.tables import ColumnInfo, Kind, TableInfo
from src.core.values import check_text
from src.db.queries.filters import IS_NULL, OPERATORS, is_null
from src.db.queries.query import Condition, Filter, Junction, Target
from src.db.queries.statement import Form

SUFFIXES = (*OPERATORS, IS_NULL)
MAX_PATTERN_LENGTH = 1000
MAX_LIST_LENGTH = 10_000
# What the value of a text operator is made of: the texts between the wildcards of a pattern.
PATTERNS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "like": lambda text: tuple(text.split("*")),
    "ilike": lambda text: tuple(text.split("*")),
    "contains": lambda text: ("", text, ""),
    "startswith": lambda text: (text, ""),
}


@lru_cache(4096)
def find_filter(table: TableInfo, name: str) -> tuple[Target, str] | None:
    """The target and the operator that a parameter's name means; an exact column wins, then the longest one.

    Raises:
        InvalidRequest: it begins with a column, and what follows cannot be right.
    """
    if name in table.by_name:
        return Target(name), "eq"
    try:
        for separator in ("__", "_"):
            column, found, operator = name.rpartition(separator)
            if found and operator in SUFFIXES and (target := find_target(table, column)):
                return target, operator
        target = find_target(table, name)
    except NoTarget as error:
        raise InvalidRequest(f"{shortened(name)}: {error}", (Problem("query", shortened(name), str(error)),)) from None
    return target and (target, "eq")


def unknown_parameter(table: TableInfo, name: str, others: Iterable[str]) -> UnknownName:
    """The error of a parameter whose name means nothing."""
    suffixed = [f"{column}_{suffix}" for column in table.by_name for suffix in SUFFIXES]
    hint = nearest(name, [*table.by_name, *others, *suffixed]) if len(name) <= 100 else ""
    known = "" if hint.startswith("; known") else hint
    text = f"{shortened(name)} is no parameter of this list{known}"
    return UnknownName(text, (Problem("query", shortened(name), f"is unknown{known}"),))


def parse_filters(table: TableInfo, target: Target, operator: str, name: str, given: list[str]) -> Iterator[Condition]:
    """Read the values of one parameter: a repeated `=` is a list of which one must match, others must all hold."""
    if operator == "eq" and len(given) > 1:
        yield parse_list_filter(table, target, "in", name, given)
        return
    for text in given:
        yield parse_filter(table, target, operator, name, text)


def parse_filter(table: TableInfo, target: Target, operator: str, name: str, text: str) -> Condition:
    """Read one filter.

    Raises:
        InvalidRequest: its target takes no such value, or no such operator.
    """
    column = table.by_name[target.column]
    if operator == IS_NULL:
        return is_null(target, answer=parse_flag(name, text))
    if operator in PATTERNS:
        return _pattern_filter(column, target, operator, name, text)
    if OPERATORS[operator].form is Form.LIST:
        return parse_list_filter(table, target, operator, name, _split_list(name, text))
    if not target.path:
        return Filter(target, operator, column.kind, parse_value(column, name, text))
    try:
        kind, value = parse_document_value(text)
    except ValueError as error:
        raise invalid(name, text, str(error)) from None
    if kind is Kind.JSON and operator != "eq":
        raise invalid(name, text, "null is only equal to null; to have a value is asked with _isnull=false")
    return Filter(target, operator, kind, value)


def _split_list(name: str, text: str) -> Sequence["str | Json"]:
    """Read the values of a list: separated by commas, or a JSON array."""
    if text.count(",") >= MAX_LIST_LENGTH:
        raise invalid(name, text, f"a list has at most {MAX_LIST_LENGTH} values")
    if not text.startswith("["):
        return text.split(",")
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise invalid(
            name, text, 'takes values with commas between them, or a JSON array such as ["a,b","c"]'
        ) from None
    assert isinstance(given, list)
    return [Json(item) for item in given]


class Json:
    """An item of a list that was JSON, decoded."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __str__(self) -> str:
        return msgspec.json.encode(self.value).decode()


def parse_list_filter(
    table: TableInfo, target: Target, operator: str, name: str, given: Sequence["str | Json"]
) -> Condition:
    """Read a filter whose value is a list.

    Raises:
        InvalidRequest: its target takes no such value.
    """
    try:
        if target.path:
            return _document_list(target, operator, given)
        column = table.by_name[target.column]
        return Filter(target, operator, column.kind, tuple(_item(column, item) for item in given))
    except ValueError as error:
        text = ",".join(str(item) for item in given[:20])
        raise invalid(name, text, str(error)) from None


def _item(column: ColumnInfo, item: "str | Json") -> object:
    if not isinstance(item, Json):
        return PARSERS[column.kind](item)
    match item.value:
        case str() as text:
            return PARSERS[column.kind](text)
        case bool() | int() | float() if column.kind not in (Kind.TEXT, Kind.UUID):
            return PARSERS[column.kind](str(item))
    raise ValueError(f"an item of the array is no {column.kind}")


def _document_list(target: Target, operator: str, given: Sequence["str | Json"]) -> Condition:
    """Values of each type among values of their own type: one condition for each type."""
    by_kind: dict[Kind, list[object]] = {}
    for item in given:
        kind, value = kind_of_json(item.value) if isinstance(item, Json) else parse_document_value(item)
        by_kind.setdefault(kind, []).append(value)
    if not by_kind:
        raise ValueError("takes at least one value")
    if Kind.JSON in by_kind and operator != "in":
        raise ValueError("null is only equal to null; to have a value is asked with _isnull=false")
    parts: tuple[Condition, ...] = tuple(
        Filter(target, "eq", kind, found[0]) if kind is Kind.JSON else Filter(target, operator, kind, tuple(found))
        for kind, found in by_kind.items()
    )
    return parts[0] if len(parts) == 1 else Junction(is_any=True, is_negated=False, conditions=parts)


def _pattern_filter(column: ColumnInfo, target: Target, operator: str, name: str, text: str) -> Filter:
    if not target.path and column.kind is not Kind.TEXT:
        advice = "; name a text inside of it after a dot" if column.kind is Kind.JSON else ""
        raise invalid(name, text, f"{operator} compares text, and {column.name} holds {column.kind}{advice}")
    if len(text) > MAX_PATTERN_LENGTH:
        raise invalid(name, text, f"a pattern has at most {MAX_PATTERN_LENGTH} characters")
    try:
        return Filter(target, operator, Kind.TEXT, PATTERNS[operator](check_text(text)))
    except ValueError as error:
        raise invalid(name, text, str(error)) from None
