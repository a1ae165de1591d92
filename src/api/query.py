"""The URL after `?`, or the body of a long query -> plain data, or a message that says what would have been right."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from src.api.cursors import make_digest, read_cursor
from src.api.http import shortened
from src.api.parameters.aggregates import parse_group_order, parse_groups, parse_measures, parse_time_zone
from src.api.parameters.filters import find_filter, parse_filters, unknown_parameter
from src.api.parameters.order import default_sort, parse_sort
from src.api.parameters.selection import parse_selection
from src.api.parameters.trees import MAX_CONDITIONS, TREE_PARAMETERS, parse_tree
from src.api.parameters.values import PARSERS, invalid, parse_count
from src.core.errors import InvalidRequest, Problem
from src.core.tables import TableInfo
from src.db.queries.measures import UTC_NAME
from src.db.queries.query import EVERYTHING, Aggregation, Condition, Junction, Query, Selection

DEFAULT_SIZE, MAX_SIZE = 10, 100
# The offset of the last page fits 64 bits, whatever the size.
MAX_PAGE = (2**63 - 1) // MAX_SIZE
MAX_PARAMETERS = 200
# No column of a database has a longer name, and a path inside a document has a limit of its own.
MAX_NAME_LENGTH = 2500
MAX_TEXT_LENGTH = 8000

PAGE_PARAMETERS = ("page", "size", "sort", "cursor")
ROW_PARAMETERS = ("fields", "expand")
LIST_PARAMETERS = frozenset({*PAGE_PARAMETERS, *ROW_PARAMETERS, "count", "format", *TREE_PARAMETERS})
AGGREGATE_PARAMETERS = frozenset({"group", "select", "tz", "page", "size", "sort", "format", *TREE_PARAMETERS})
LAST_EVENT_ID = "last_event_id"
# A number of 63 bits.
LAST_ID = r"^[0-9]{1,18}$"
STREAM_PARAMETERS = frozenset({LAST_EVENT_ID, *TREE_PARAMETERS})
# An export has all rows, so these have no meaning there.
PLACES = ("page", "size", "cursor")

COUNTS = ("exact", "estimated")

Pair = tuple[str, str, str]
"""A parameter's name, its value, and both as they were encoded (nothing if they stood in a body)."""


class ListRequest(NamedTuple):
    """What a URL asks for, and what a `Link` to another page of it needs."""

    query: Query
    has_page: bool
    """Whether the URL said `page`, so that the next page is a page too and not a cursor."""
    kept: str
    """The parameters of the URL other than `page` and `cursor`, as they were encoded."""
    digest: str
    """Differs when a filter or the order differs: a cursor fits only the request that it was made for."""
    counted: str = ""
    """`exact` or `estimated` where the number of all rows is asked for."""
    format: str | None = None
    """The answer's format as the URL names it; else the `Accept` header decides."""
    places: tuple[str, ...] = ()
    """Those of `PLACES` that were given."""


class AggregateRequest(NamedTuple):
    """What a URL asks of an aggregate."""

    aggregation: Aggregation
    kept: str
    format: str | None
    places: tuple[str, ...]


class _Parameters:
    """The parameters of a request, sorted by what they are."""

    def __init__(self, table: TableInfo, pairs: Iterable[Pair], known: frozenset[str]) -> None:
        self.named: dict[str, str] = {}
        self.described: list[str] = []
        """The filters as they were written."""
        self._table = table
        self._trees: list[Condition] = []
        self._filters: dict[tuple[Any, ...], list[str]] = {}
        kept: list[str] = []
        for name, text, encoded in pairs:
            if name in known:
                self._add_named(name, text)
                if name in ("page", "cursor"):
                    continue
            else:
                found = find_filter(table, name) if len(name) <= MAX_NAME_LENGTH else None
                if found is None:
                    raise unknown_parameter(table, name, known)
                self._filters.setdefault(found, [name]).append(text)
                self.described.append(f"{name}={text}")
            if encoded:
                kept.append(encoded)
        self.kept = "&".join(kept)

    def _add_named(self, name: str, text: str) -> None:
        if name in TREE_PARAMETERS:
            self._trees.append(parse_tree(self._table, name, text))
            self.described.append(f"{name}={text}")
            _check_number(self._trees)
        elif name in self.named:
            raise invalid(name, text, "is given twice")
        elif len(text) > MAX_TEXT_LENGTH and name != "cursor":
            raise invalid(name, text, f"has {len(text)} characters; {MAX_TEXT_LENGTH} are the most")
        else:
            self.named[name] = text

    def filters(self) -> tuple[Condition, ...]:
        """All conditions; every one of them must hold."""
        conditions = [
            condition
            for (target, operator), (name, *given) in self._filters.items()
            for condition in parse_filters(self._table, target, operator, name, given)
        ]
        if self._trees:
            conditions += self._trees
            _check_number(conditions)
        return tuple(conditions)

    def size(self) -> int:
        """Rows per page."""
        text = self.named.get("size")
        if text is None:
            return DEFAULT_SIZE
        size = parse_count(text)
        if size > MAX_SIZE:
            raise InvalidRequest(
                f"size={shortened(text)} is more than the largest page, {MAX_SIZE}",
                (Problem("query", "size", f"takes 1 to {MAX_SIZE}"),),
            )
        if size < 1:
            raise invalid("size", text, f"takes an integer from 1 to {MAX_SIZE}")
        return size

    def offset(self, size: int) -> int:
        """Rows to skip before the page; pages count from 1."""
        text = self.named.get("page", "1")
        page = parse_count(text)
        if not 1 <= page <= MAX_PAGE:
            raise invalid("page", text, f"takes an integer from 1 to {MAX_PAGE}")
        return (page - 1) * size

    def places(self) -> tuple[str, ...]:
        """What was said about which page."""
        return tuple(name for name in PLACES if name in self.named)


def parse_list_request(table: TableInfo, pairs: Sequence[Pair]) -> ListRequest:
    """Read the parameters of a list.

    Raises:
        UnknownName: a parameter, an operator or a column that the table does not have.
        InvalidRequest: a value that its parameter does not take.
    """
    given = _Parameters(table, pairs, LIST_PARAMETERS)
    named = given.named
    sort = parse_sort(table, named["sort"]) if "sort" in named else default_sort(table)
    query = Query(given.filters(), sort, given.size(), selection=_selection(table, named))
    digest = make_digest(table, sort, given.described)
    query = _at_place(table, query, given, digest)
    count = named.get("count", "")
    if "count" in named and count not in COUNTS:
        raise invalid("count", count, "takes exact or estimated")
    return ListRequest(
        query=query,
        has_page="page" in named,
        kept=given.kept,
        digest=digest,
        counted=count,
        format=named.get("format"),
        places=given.places(),
    )


def parse_row_request(table: TableInfo, pairs: Sequence[Pair]) -> Selection:
    """Read the parameters of one row: which members it has.

    Raises:
        InvalidRequest: another parameter, or a value that these do not take.
    """
    named: dict[str, str] = {}
    for name, text, _ in pairs:
        if name not in ROW_PARAMETERS:
            known = " and ".join(ROW_PARAMETERS)
            raise invalid(name, text, f"is no parameter here; one row takes {known}")
        if name in named or len(text) > MAX_TEXT_LENGTH:
            raise invalid(name, text, "is given twice" if name in named else "is too long")
        named[name] = text
    return _selection(table, named)


def parse_conditions(table: TableInfo, pairs: Sequence[Pair]) -> tuple[Condition, ...]:
    """Read the parameters that say which rows are to be changed.

    Raises:
        InvalidRequest: another parameter, a value that a filter does not take, or no filter at all.
    """
    conditions = _Parameters(table, pairs, frozenset(TREE_PARAMETERS)).filters()
    if not conditions:
        reason = f"say which rows, for example {table.key}=...; without a filter it would be all of them"
        raise InvalidRequest(f"no filter is given: {reason}", (Problem("query", "", reason),))
    return conditions


def parse_stream_request(table: TableInfo, pairs: Sequence[Pair]) -> tuple[tuple[Condition, ...], str]:
    """Read the parameters of a stream: its filters, and the last id that its client knows, empty if it knows none.

    Raises:
        InvalidRequest: another parameter, or a value that a filter does not take.
    """
    given = _Parameters(table, pairs, STREAM_PARAMETERS)
    return given.filters(), given.named.get(LAST_EVENT_ID, "")


def parse_aggregate_request(table: TableInfo, pairs: Sequence[Pair]) -> AggregateRequest:
    """Read the parameters of an aggregate.

    Raises:
        UnknownName: a parameter, a column, a function or a piece of time that does not exist.
        InvalidRequest: a value that its parameter does not take.
    """
    given = _Parameters(table, pairs, AGGREGATE_PARAMETERS)
    named = given.named
    groups = parse_groups(table, named["group"]) if "group" in named else ()
    measures = parse_measures(table, named.get("select", "count"))
    size = given.size()
    aggregation = Aggregation(
        filters=given.filters(),
        groups=groups,
        measures=measures,
        sort=parse_group_order(named.get("sort"), groups, measures),
        time_zone=parse_time_zone(named.get("tz", UTC_NAME)),
        size=size,
        offset=given.offset(size),
    )
    return AggregateRequest(aggregation, given.kept, named.get("format"), given.places())


def _selection(table: TableInfo, named: dict[str, str]) -> Selection:
    if "fields" not in named and "expand" not in named:
        return EVERYTHING
    return parse_selection(table, named.get("fields"), named.get("expand"))


def _at_place(table: TableInfo, query: Query, given: _Parameters, digest: str) -> Query:
    cursor = given.named.get("cursor")
    if cursor is None:
        return query._replace(offset=given.offset(query.size)) if "page" in given.named else query
    # Generated clients send the first page, which is the default, with everything.
    if given.named.pop("page", "1") != "1":
        raise invalid("cursor", cursor, "stands beside page; send one of them")
    return query._replace(cursor=read_cursor(table, query.sort, cursor, digest))


def _check_number(conditions: Iterable[Condition]) -> None:
    if sum(map(_number_of, conditions)) > MAX_CONDITIONS:
        reason = f"{MAX_CONDITIONS} conditions are the most"
        raise InvalidRequest(f"the query has too many conditions; {reason}", (Problem("query", "", reason),))


def _number_of(condition: Condition) -> int:
    if isinstance(condition, Junction):
        return sum(map(_number_of, condition.conditions))
    return 1


def split_query(query_string: str) -> list[Pair]:
    """Per parameter of a URL its name, its value, and both as they were encoded.

    Raises:
        InvalidRequest: too many parameters, or not UTF-8.
    """
    if not query_string:
        return []
    encoded = [pair for pair in query_string.split("&") if pair]
    check_number_of_parameters(len(encoded))
    # Most requests need no decoding at all.
    if "%" not in query_string and "+" not in query_string and query_string.isascii():
        return [(*_halves(pair), pair) for pair in encoded]
    return [(_decode(name), _decode(value), pair) for pair in encoded for name, value in [_halves(pair)]]


def check_number_of_parameters(number: int) -> None:
    """Refuse more parameters than anybody needs."""
    if number > MAX_PARAMETERS:
        raise InvalidRequest(f"{number} parameters are too many; {MAX_PARAMETERS} are the most")


def _halves(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value


def _decode(text: str) -> str:
    try:
        # The server hands on bytes past ASCII that were not percent-encoded; they are UTF-8 or nothing.
        return unquote_plus(text.encode("latin-1").decode("utf-8"), errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("the query is not UTF-8", (Problem("query", "", "is not UTF-8"),)) from None


def parse_key(table: TableInfo, text: str) -> Any:
    """Read a key from a path; None when no row can have it."""
    try:
        return PARSERS[table.key_kind](text)
    except ValueError:
        return None
