"""What a request asks of a table, as plain data: made from a URL by `api/query.py`, read by the builder."""

from typing import NamedTuple

from src.core.tables import SortTerm


class Filter(NamedTuple):
    """`column operator value`, the value already of the column's type; for `in` a tuple of values."""

    column: str
    operator: str
    value: object


class Cursor(NamedTuple):
    """A place between two rows: the sort values of the row beside it, and which side is asked for."""

    values: tuple[object, ...]
    is_backward: bool


class Query(NamedTuple):
    """A page of the rows that pass every filter.

    `sort` is total: its last column is the key. `offset` counts skipped rows from 0.
    """

    filters: tuple[Filter, ...]
    sort: tuple[SortTerm, ...]
    size: int
    offset: int = 0
    cursor: Cursor | None = None
