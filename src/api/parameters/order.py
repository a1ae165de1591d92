"""Orders: `sort=-ts,event_type.nullsfirst`."""

from functools import lru_cache
from typing import NamedTuple

from src.api.http import shortened
from src.api.parameters.targets import unknown_name
from src.api.parameters.values import invalid
from src.core.errors import InvalidRequest, Problem
from src.core.tables import Kind, SortTerm, TableInfo

MAX_SORT_TERMS = 8


class Direction(NamedTuple):
    """One term of an order as it is written."""

    name: str
    is_descending: bool
    nulls_are_smallest: bool


def parse_direction(text: str) -> Direction:
    """Read `-name.nullslast`."""
    is_descending = text.startswith("-")
    name = text.removeprefix("-")
    for suffix, is_first in ((".nullsfirst", True), (".nullslast", False)):
        if name.endswith(suffix):
            # Nulls count as largest: they come first when descending.
            return Direction(name.removesuffix(suffix), is_descending, is_first != is_descending)
    return Direction(name, is_descending, nulls_are_smallest=False)


@lru_cache(1024)
def parse_sort(table: TableInfo, text: str, parameter: str = "sort") -> tuple[SortTerm, ...]:
    """Read `-ts,event_id` into a total order: the key comes last, in the direction of the column before it."""
    parts = text.split(",", MAX_SORT_TERMS)
    if len(parts) > MAX_SORT_TERMS:
        raise invalid(parameter, text, f"{MAX_SORT_TERMS} columns are the most")
    terms: dict[str, SortTerm] = {}
    for part in parts:
        direction = parse_direction(part)
        _check_sortable(table, direction.name, parameter, text)
        is_nullable = table.by_name[direction.name].is_nullable
        term = SortTerm(direction.name, direction.is_descending, direction.nulls_are_smallest and is_nullable)
        # A column that stands there again decides nothing.
        terms.setdefault(term.column, term)
    return total(table, tuple(terms.values()))


def _check_sortable(table: TableInfo, name: str, parameter: str, text: str) -> None:
    column = table.by_name.get(name)
    if column is None:
        if name.partition(".")[0] in table.documents:
            reason = f"{shortened(name)} is inside a JSON document; rows are sorted by columns"
            raise InvalidRequest(f"{parameter}: {reason}", (Problem("query", parameter, reason),))
        sortable = [each for each in table.by_name if each not in table.documents]
        raise unknown_name(parameter, name, sortable)
    if column.kind is Kind.JSON:
        raise invalid(parameter, text, f"{name} is a JSON document and has no order")


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
