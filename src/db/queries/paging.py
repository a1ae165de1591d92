"""Pages: orders, and the rows that come after a cursor.

Nulls count as largest on both databases, unless the order says otherwise. Where one direction and no nulls
allow it, "after the cursor" is one comparison of row values, which both databases answer from an index.
Everything else is a UNION ALL with one branch per sort column, each of them one index range: an OR took
705 ms inside a group of 250,000 equal values, the union 1.7 ms.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Select, select, tuple_, union_all
from sqlalchemy.sql.elements import ColumnElement

from src.core.tables import Kind, SortTerm, TableInfo
from src.db.queries.statement import Dialect, Parameters, sql_table


class CursorShape(NamedTuple):
    """A cursor without its values: which of them are null, and which side of it is asked for."""

    nulls: tuple[bool, ...]
    is_backward: bool


class KeysetColumn(NamedTuple):
    """A sort column while a cursor page is built."""

    column: ColumnElement[Any]
    is_descending: bool
    is_nullable: bool
    has_nulls_last: bool
    value: ColumnElement[Any] | None
    """The cursor's value; None where it is null."""

    def equals_cursor(self) -> ColumnElement[Any]:
        """The column has the cursor's value."""
        return self.column.is_(None) if self.value is None else self.column == self.value

    def passes_cursor(self) -> Iterator[ColumnElement[Any]]:
        """The column comes after the cursor's value; one condition per index range."""
        if self.value is None:
            if not self.has_nulls_last:
                yield self.column.is_not(None)
            return
        yield self.column < self.value if self.is_descending else self.column > self.value
        if self.is_nullable and self.has_nulls_last:
            yield self.column.is_(None)


class Walk(NamedTuple):
    """A table's rows in one order, and pages of them."""

    table: TableInfo
    sort: tuple[SortTerm, ...]

    def reversed(self) -> "Walk":
        """The same rows from the other end: a page before a cursor is fetched from the cursor outwards."""
        return Walk(self.table, tuple(term._replace(is_descending=not term.is_descending) for term in self.sort))

    def in_order(self, rows: Select[Any]) -> Select[Any]:
        """All of `rows`."""
        return rows.order_by(*self._order_by(sql_table(self.table).c))

    def first_page(self, rows: Select[Any], limit: ColumnElement[Any]) -> Select[Any]:
        """The first `limit` of `rows`."""
        return self.in_order(rows).limit(limit)

    def page_after(
        self, cursor: CursorShape, rows: Select[Any], parameters: Parameters, dialect: Dialect
    ) -> Select[Any]:
        """The first of `rows` after the cursor; takes the placeholders of the cursor's values and of the limit."""
        columns = [
            self._at_cursor(term, is_null, parameters) for term, is_null in zip(self.sort, cursor.nulls, strict=True)
        ]
        limit = parameters.take(Kind.INTEGER)
        branches = [rows.where(*conditions) for conditions in _index_ranges(columns)]
        if len(branches) == 1:
            return self.first_page(branches[0], limit)
        if dialect.name == "sqlite":
            # SQLite reads the branches side by side, each from its index, until there are enough rows.
            merged = union_all(*branches)
            page = merged.order_by(*self._order_by(merged.selected_columns)).limit(limit).subquery("merged")
            return select(*page.c)
        # PostgreSQL would read a branch without a limit to its end.
        parts = (
            select(self.first_page(branch, limit).subquery(f"branch{number}")) for number, branch in enumerate(branches)
        )
        source = union_all(*parts).subquery("merged")
        return select(source).order_by(*self._order_by(source.c)).limit(limit)

    def _order_by(self, columns: Any) -> list[ColumnElement[Any]]:
        return [self._order_term(columns[term.column], term) for term in self.sort]

    def _order_term(self, column: ColumnElement[Any], term: SortTerm) -> ColumnElement[Any]:
        directed = column.desc() if term.is_descending else column.asc()
        # The place of nulls is written for nullable columns only, so that plain indexes fit.
        if not self.table.by_name[term.column].is_nullable:
            return directed
        return directed.nulls_last() if _has_nulls_last(term) else directed.nulls_first()

    def _at_cursor(self, term: SortTerm, is_null: bool, parameters: Parameters) -> KeysetColumn:
        column = self.table.by_name[term.column]
        return KeysetColumn(
            column=sql_table(self.table).c[term.column],
            is_descending=term.is_descending,
            is_nullable=column.is_nullable,
            has_nulls_last=_has_nulls_last(term),
            value=None if is_null else parameters.take(column.kind),
        )


def _has_nulls_last(term: SortTerm) -> bool:
    return term.is_descending == term.nulls_are_smallest


def _is_one_range(columns: list[KeysetColumn]) -> bool:
    directions = {column.is_descending for column in columns}
    return len(directions) == 1 and not any(column.is_nullable for column in columns)


def _passes_row_value(columns: list[KeysetColumn]) -> ColumnElement[bool]:
    if len(columns) == 1:
        return next(columns[0].passes_cursor())
    left = tuple_(*(column.column for column in columns))
    right = tuple_(*(column.value for column in columns))
    return left < right if columns[0].is_descending else left > right


def _index_ranges(columns: list[KeysetColumn]) -> Iterator[list[ColumnElement[Any]]]:
    """Yield the conditions of each range: equal before a column, and past the cursor there.

    The last columns of the order are compared as one row value, if that can be.
    """
    for position, column in enumerate(columns):
        equal = [before.equals_cursor() for before in columns[:position]]
        if _is_one_range(columns[position:]):
            yield [*equal, _passes_row_value(columns[position:])]
            return
        for condition in column.passes_cursor():
            yield [*equal, condition]
