"""The URL after `?` -> plain data, or a message that names the parameter, the value and what would have been right."""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from src.api.bodies import nearest
from src.api.cursors import make_digest, read_cursor
from src.api.http import shortened
from src.core import values
from src.core.errors import InvalidRequest, Problem, UnknownName
from src.core.tables import ColumnInfo, Kind, SortTerm, TableInfo
from src.db.queries.filters import OPERATORS
from src.db.queries.query import Filter, Query

DEFAULT_SIZE, MAX_SIZE = 10, 100
# The offset of the last page fits 64 bits, whatever the size.
MAX_PAGE = (2**63 - 1) // MAX_SIZE
MAX_PARAMETERS = 200
MAX_SORT_TERMS = 8
PAGE_PARAMETERS = ("page", "size", "sort", "cursor")
SUFFIXES = tuple(OPERATORS)

_match_integer = re.compile(r"-?(0|[1-9]\d{0,18})\Z", re.ASCII).match
_match_number = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z", re.ASCII).match
_match_count = re.compile(r"\d{1,20}\Z", re.ASCII).match


class ListRequest(NamedTuple):
    """What a URL asks for, and what a `Link` to another page of it needs."""

    query: Query
    has_page: bool
    """Whether the URL said `page`, so that the next page is a page too and not a cursor."""
    kept: str
    """The parameters other than `page` and `cursor`, as they were encoded."""
    digest: str
    """Differs when a filter or the order differs: a cursor fits only the request that it was made for."""


def parse_list_request(table: TableInfo, query_string: str) -> ListRequest:
    """Read the query of a list.

    Raises:
        UnknownName: a parameter, an operator or a column that the table does not have.
        InvalidRequest: a value that its parameter does not take.
    """
    named: dict[str, str] = {}
    filters: dict[tuple[str, str], list[object]] = {}
    described: list[str] = []
    kept: list[str] = []
    for name, text, encoded in _split(query_string):
        if name in PAGE_PARAMETERS:
            if name in named:
                raise invalid(name, text, "is given twice")
            named[name] = text
            if name in ("page", "cursor"):
                continue
        else:
            target = _filter_target(table, name)
            if target is None:
                raise _unknown_parameter(table, name)
            filters.setdefault(target, []).append(parse_value(table.by_name[target[0]], name, text))
            described.append(f"{name}={text}")
        kept.append(encoded)
    sort = parse_sort(table, named["sort"]) if "sort" in named else default_sort(table)
    query = Query(tuple(_combine(filters)), sort, _parse_size(named.get("size")))
    digest = make_digest(table, sort, described)
    return ListRequest(_at_page(table, query, named, digest), "page" in named, "&".join(kept), digest)


def _at_page(table: TableInfo, query: Query, named: dict[str, str], digest: str) -> Query:
    if "cursor" in named:
        if "page" in named:
            raise invalid("cursor", named["cursor"], "stands beside page; send one of them")
        return query._replace(cursor=read_cursor(table, query.sort, named["cursor"], digest))
    if "page" in named:
        return query._replace(offset=_parse_offset(named["page"], query.size))
    return query


def _split(query_string: str) -> list[tuple[str, str, str]]:
    """Per parameter its name, its value, and both as they were encoded."""
    if not query_string:
        return []
    pairs = [pair for pair in query_string.split("&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise InvalidRequest(f"{len(pairs)} parameters are too many; {MAX_PARAMETERS} are the most")
    # Most requests need no decoding at all.
    if "%" not in query_string and "+" not in query_string and query_string.isascii():
        return [(*_halves(pair), pair) for pair in pairs]
    return [(_decode(name), _decode(value), pair) for pair in pairs for name, value in [_halves(pair)]]


def _halves(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value


def _decode(text: str) -> str:
    try:
        # The server hands on bytes past ASCII that were not percent-encoded; they are UTF-8 or nothing.
        return unquote_plus(text.encode("latin-1").decode("utf-8"), errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("the query is not UTF-8", (Problem("query", "", "is not UTF-8"),)) from None


@lru_cache(4096)
def _filter_target(table: TableInfo, name: str) -> tuple[str, str] | None:
    """The column and operator that a parameter's name means; an exact column wins, then the longest one."""
    if name in table.by_name:
        return name, "eq"
    column, separator, operator = name.rpartition("__")
    if separator and operator in SUFFIXES and column in table.by_name:
        return column, operator
    column, separator, operator = name.rpartition("_")
    if separator and operator in SUFFIXES and column in table.by_name:
        return column, operator
    return None


def _unknown_parameter(table: TableInfo, name: str) -> UnknownName:
    suffixed = [f"{column}_{suffix}" for column in table.by_name for suffix in ("gte", "lte")]
    hint = nearest(name, [*table.by_name, *PAGE_PARAMETERS, *suffixed]) if len(name) <= 100 else ""
    known = "" if hint.startswith("; known") else hint
    text = f"{shortened(name)} is no parameter of this list{known}"
    return UnknownName(text, (Problem("query", shortened(name), f"is unknown{known}"),))


def _combine(filters: dict[tuple[str, str], list[object]]) -> Iterator[Filter]:
    """A repeated value of a column is a list of which one must match; other filters must all hold."""
    for (column, operator), given in filters.items():
        if operator == "eq" and len(given) > 1:
            yield Filter(column, "in", tuple(given))
        else:
            yield from (Filter(column, operator, value) for value in given)


@lru_cache(1024)
def parse_sort(table: TableInfo, text: str) -> tuple[SortTerm, ...]:
    """Read `-ts,event_id` into a total order: the key comes last, in the direction of the column before it."""
    parts = text.split(",")
    if len(parts) > MAX_SORT_TERMS:
        raise invalid("sort", text, f"{MAX_SORT_TERMS} columns are the most")
    terms: dict[str, SortTerm] = {}
    for part in parts:
        term = SortTerm(part.removeprefix("-"), is_descending=part.startswith("-"))
        _check_sortable(table, term.column, text)
        # A column that stands there again decides nothing.
        terms.setdefault(term.column, term)
    return total(table, tuple(terms.values()))


def _check_sortable(table: TableInfo, name: str, text: str) -> None:
    column = table.by_name.get(name)
    if column is None:
        sortable = [name for name, column in table.by_name.items() if column.kind is not Kind.JSON]
        hint = nearest(name, sortable)
        raise UnknownName(
            f"sort={shortened(text)}: {shortened(name) or 'nothing'} is no column{hint}",
            (Problem("query", "sort", f"{shortened(name) or 'nothing'} is no column{hint}"),),
        )
    if column.kind is Kind.JSON:
        raise invalid("sort", text, f"{name} is a JSON document and has no order")


@lru_cache(1024)
def default_sort(table: TableInfo) -> tuple[SortTerm, ...]:
    """The order of a list without `sort`."""
    return total(table, table.default_sort)


def total(table: TableInfo, terms: tuple[SortTerm, ...]) -> tuple[SortTerm, ...]:
    """Make an order total by the key; what follows a key changes nothing and is cut."""
    for position, term in enumerate(terms):
        if term.column == table.key:
            return terms[: position + 1]
    return (*terms, SortTerm(table.key, is_descending=bool(terms) and terms[-1].is_descending))


def _parse_size(text: str | None) -> int:
    if text is None:
        return DEFAULT_SIZE
    size = int(text) if _match_count(text) else 0
    if size > MAX_SIZE:
        raise InvalidRequest(
            f"size={shortened(text)} is more than the largest page, {MAX_SIZE}",
            (Problem("query", "size", f"takes 1 to {MAX_SIZE}"),),
        )
    if size < 1:
        raise invalid("size", text, f"takes an integer from 1 to {MAX_SIZE}")
    return size


def _parse_offset(text: str, size: int) -> int:
    """Rows to skip before a page; pages count from 1."""
    page = int(text) if _match_count(text) else 0
    if not 1 <= page <= MAX_PAGE:
        raise invalid("page", text, f"takes an integer from 1 to {MAX_PAGE}")
    return (page - 1) * size


def parse_value(column: ColumnInfo, name: str, text: str) -> object:
    """Read a filter's value as its column's type.

    Raises:
        InvalidRequest: the column takes no such value.
    """
    try:
        return PARSERS[column.kind](text)
    except ValueError as error:
        raise invalid(name, text, str(error)) from None


def invalid(name: str, text: str, reason: str) -> InvalidRequest:
    """The error of a parameter whose value it does not take."""
    return InvalidRequest(
        f"{shortened(name)}={shortened(text)}: {reason}", (Problem("query", shortened(name), reason),)
    )


def _parse_integer(text: str) -> int:
    if not _match_integer(text):
        raise ValueError("takes an integer of 64 bits")
    return values.parse_integer(int(text))


def _parse_number(text: str) -> float:
    if not _match_number(text):
        raise ValueError("takes a number")
    return values.parse_double(float(text))


def _parse_decimal(text: str) -> Any:
    if not _match_number(text):
        raise ValueError("takes a number")
    return values.parse_numeric(Decimal(text))


def _parse_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("takes true or false")
    return text == "true"


def _parse_instant(text: str) -> Any:
    """Read a time; in a filter a bare date or a missing offset means UTC."""
    if len(text) == 10:
        text += "T00:00:00Z"
    elif not text.endswith(("Z", "z")):
        # An offset's plus sign that was not percent-encoded arrives as a space.
        text = re.sub(r" (?=\d\d:\d\d\Z)", "+", text)
        if not re.search(r"[+-]\d\d:\d\d\Z", text):
            text += "Z"
    return values.parse_timestamp(text)


def _refuse_document(_: str) -> object:
    raise ValueError("is a JSON document, which is not filtered as a whole")


PARSERS: dict[Kind, Any] = {
    Kind.TEXT: values.check_text,
    Kind.UUID: values.parse_uuid,
    Kind.TIMESTAMP: _parse_instant,
    Kind.LOCAL_TIMESTAMP: values.parse_local_timestamp,
    Kind.DATE: values.parse_date,
    Kind.INTEGER: _parse_integer,
    Kind.DOUBLE: _parse_number,
    Kind.NUMERIC: _parse_decimal,
    Kind.BOOLEAN: _parse_boolean,
    Kind.JSON: _refuse_document,
}


def parse_key(table: TableInfo, text: str) -> Any:
    """Read a key from a path; None when no row can have it."""
    try:
        return PARSERS[table.key_kind](text)
    except ValueError:
        return None
