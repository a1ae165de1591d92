"""Plain data -> statements. Nothing here touches a database, and every value is a bound parameter."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.sql import ClauseElement, Select

from src.core.tables import Kind, SortTerm, TableInfo
from src.db.queries import selection
from src.db.queries.aggregates import AggregateShape
from src.db.queries.filters import ConditionShape, collect_values, passing, shape_of
from src.db.queries.paging import CursorShape, Walk
from src.db.queries.query import EVERYTHING, Aggregation, Condition, Query, Selection
from src.db.queries.selection import WHOLE_ROW, SelectionShape
from src.db.queries.statement import Dialect, Parameters, Statement, sql_table
from src.db.queries.writes import DeleteShape, InsertShape, UpdateShape


def select_row(table: TableInfo, key: object, wanted: Selection = EVERYTHING) -> Statement:
    """Select the row with this key, as row JSON."""
    if wanted is EVERYTHING:
        return Statement(RowShape(table), (key,))
    return Statement(RowShape(table, selection.shape_of(wanted)), (key, *selection.values_of(wanted)))


def select_page(table: TableInfo, query: Query) -> Statement:
    """Select one page of the rows that pass every filter, as row JSON, and one row more if there is one.

    The order is total, so consecutive pages of an unchanged table neither overlap nor leave gaps. A page
    before a cursor comes in reverse. Where the members of a row are chosen, its sort values stand beside it.
    """
    cursor = query.cursor
    shape = PageShape(
        table=table,
        filters=_shapes_of(query.filters),
        sort=query.sort,
        cursor=cursor and CursorShape(tuple(value is None for value in cursor.values), cursor.is_backward),
        selection=selection.shape_of(query.selection),
    )
    place: Iterable[object] = (query.size + 1, query.offset)
    if cursor:
        place = (*(value for value in cursor.values if value is not None), query.size + 1)
    return Statement(shape, (*collect_values(query.filters), *place, *selection.values_of(query.selection)))


def select_all(table: TableInfo, query: Query) -> Statement:
    """Select all rows that pass every filter, as row JSON, in order."""
    shape = ExportShape(table, _shapes_of(query.filters), query.sort, selection.shape_of(query.selection))
    return Statement(shape, (*collect_values(query.filters), *selection.values_of(query.selection)))


def count_rows(table: TableInfo, conditions: tuple[Condition, ...]) -> Statement:
    """Count the rows that pass every filter."""
    return Statement(CountShape(table, _shapes_of(conditions)), tuple(collect_values(conditions)))


def select_keys(table: TableInfo, conditions: tuple[Condition, ...]) -> Statement:
    """Select the keys of the rows that pass every filter; it is explained, not run."""
    return Statement(KeysShape(table, _shapes_of(conditions)), tuple(collect_values(conditions)))


def aggregate(table: TableInfo, asked: Aggregation, *, is_whole: bool = False) -> Statement:
    """Select one page of groups as row JSON, and one more if there is one; `is_whole` selects all of them."""
    shape = AggregateShape.of(table, asked, is_whole=is_whole)
    return Statement(shape, tuple(shape.values_of(asked)))


def insert_row(table: TableInfo, values: Mapping[str, object]) -> Statement:
    """Insert one row; returns its row JSON."""
    return Statement(InsertShape(table, tuple(values)), tuple(values.values()))


def update_row(table: TableInfo, key: object, values: Mapping[str, object]) -> Statement:
    """Set these columns of the row with this key; returns its row JSON, or nothing when there is no such row."""
    return Statement(UpdateShape(table, tuple(values)), (*values.values(), key))


def delete_row(table: TableInfo, key: object) -> Statement:
    """Delete the row with this key; returns its row JSON, or nothing when there is no such row."""
    return Statement(DeleteShape(table), (key,))


def _shapes_of(conditions: tuple[Condition, ...]) -> tuple[ConditionShape, ...]:
    return tuple(map(shape_of, conditions))


@dataclass(frozen=True, slots=True)
class RowShape:
    """One row by its key.

    Shapes are dataclasses: as named tuples, a select and a delete of the same table would be equal and the
    cache of compiled statements would take one for the other.
    """

    table: TableInfo
    selection: SelectionShape = WHOLE_ROW

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        row = select(source).where(source.c[self.table.key] == parameters.take(self.table.key_kind))
        return self.selection.render(row, self.table, parameters)


@dataclass(frozen=True, slots=True)
class PageShape:
    """One page, from an offset or from a cursor."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]
    sort: tuple[SortTerm, ...]
    cursor: CursorShape | None
    selection: SelectionShape

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        rows = passing(select(sql_table(self.table)), self.table, self.filters, parameters)
        rows = self._page(rows, parameters, dialect)
        return self.selection.render_with_place(rows, self.table, parameters, self.sort)

    def _page(self, rows: Select[Any], parameters: Parameters, dialect: Dialect) -> Select[Any]:
        walk = Walk(self.table, self.sort)
        if self.cursor is None:
            return walk.first_page(rows, parameters.take(Kind.INTEGER)).offset(parameters.take(Kind.INTEGER))
        walk = walk.reversed() if self.cursor.is_backward else walk
        return walk.page_after(self.cursor, rows, parameters, dialect)


@dataclass(frozen=True, slots=True)
class ExportShape:
    """All rows, in order."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]
    sort: tuple[SortTerm, ...]
    selection: SelectionShape

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        rows = Walk(self.table, self.sort).in_order(
            passing(select(sql_table(self.table)), self.table, self.filters, parameters)
        )
        return self.selection.render(rows, self.table, parameters)


@dataclass(frozen=True, slots=True)
class CountShape:
    """How many rows pass every filter."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        return passing(select(func.count()).select_from(source), self.table, self.filters, parameters)


@dataclass(frozen=True, slots=True)
class KeysShape:
    """The keys of the rows that pass every filter."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        return passing(select(source.c[self.table.key]), self.table, self.filters, parameters)
