"""Plain data -> statements. Nothing here touches a database, and every value is a bound parameter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.sql import ClauseElement, Select

from src.core.tables import Kind, SortTerm, TableInfo
from src.db.queries import selection
from src.db.queries.aggregates import AggregateShape
from src.db.queries.filters import ConditionShape, collect_values, passing, shape_of
from src.db.queries.paging import CursorShape, Walk
from src.db.queries.query import EVERYTHING, Aggregation, Condition, Filter, Query, Selection, Target
from src.db.queries.selection import WHOLE_ROW, SelectionShape
from src.db.queries.statement import Dialect, ManyStatement, Parameters, Statement, sql_table
from src.db.queries.writes import (
    BulkInsertShape,
    DeleteManyShape,
    DeleteShape,
    InsertShape,
    OnConflict,
    Returned,
    RowsShape,
    TableLockShape,
    UpdateManyShape,
    UpdateShape,
)


def select_row(table: TableInfo, key: object, wanted: Selection = EVERYTHING) -> Statement:
    """Select the row with this key, as row JSON."""
    if wanted is EVERYTHING:
        return Statement(RowShape(table), (key,))
    return Statement(RowShape(table, selection.shape_of(wanted)), (key, *selection.values_of(wanted)))


def lock_row(table: TableInfo, key: object) -> Statement:
    """Select the row with this key, as row JSON, and keep others from changing it until the transaction ends."""
    return select_rows(table, (has_key(table, key),), is_locked=True)


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


def select_keys(table: TableInfo, conditions: tuple[Condition, ...], most: int | None = None) -> Statement:
    """Select the keys of the rows that pass every filter, in no order; of `most` of them if a number is given."""
    limit = () if most is None else (most,)
    shape = KeysShape(table, _shapes_of(conditions), is_limited=most is not None)
    return Statement(shape, (*collect_values(conditions), *limit))


def select_rows(table: TableInfo, conditions: tuple[Condition, ...], *, is_locked: bool = False) -> Statement:
    """Select the rows that pass every filter as row JSON beside their keys; locked, until the transaction ends."""
    return Statement(RowsShape(table, _shapes_of(conditions), is_locked), tuple(collect_values(conditions)))


def has_key(table: TableInfo, key: object) -> Condition:
    """The condition that a row has this key."""
    return Filter(Target(table.key), "eq", table.key_kind, key)


def has_one_of(table: TableInfo, keys: Iterable[object]) -> Condition:
    """The condition that a row has one of these keys."""
    return Filter(Target(table.key), "in", table.key_kind, tuple(keys))


def aggregate(table: TableInfo, asked: Aggregation, *, is_whole: bool = False) -> Statement:
    """Select one page of groups as row JSON, and one more if there is one; `is_whole` selects all of them."""
    shape = AggregateShape.of(table, asked, is_whole=is_whole)
    return Statement(shape, tuple(shape.values_of(asked)))


def insert_row(
    table: TableInfo, values: Mapping[str, object], on_conflict: OnConflict = OnConflict.REFUSE
) -> Statement:
    """Insert one row; returns its row JSON, or nothing when a row with its key stays instead."""
    return Statement(InsertShape(table, tuple(values), on_conflict), tuple(values.values()))


def insert_rows(
    table: TableInfo,
    columns: tuple[str, ...],
    rows: Sequence[tuple[object, ...]],
    on_conflict: OnConflict = OnConflict.REFUSE,
    kept: tuple[str, ...] = (),
) -> ManyStatement:
    """Insert rows with these columns; returns the keys of the new ones where they are not known from the values.

    A merge leaves the columns `kept` of a row that exists as they are.
    """
    has_keys = table.key in columns
    one = InsertShape(table, columns, on_conflict, Returned.NOTHING if has_keys else Returned.KEY, kept)
    tells_keys = on_conflict is OnConflict.IGNORE or not has_keys
    bulk = BulkInsertShape(table, columns, on_conflict, Returned.KEY if tells_keys else Returned.NOTHING, kept)
    return ManyStatement(one, bulk, rows, columns.index(table.key) if has_keys else None, tells_keys=tells_keys)


def update_row(table: TableInfo, key: object, values: Mapping[str, object]) -> Statement:
    """Set these columns of the row with this key; returns its row JSON, or nothing when there is no such row."""
    return Statement(UpdateShape(table, tuple(values)), (*values.values(), key))


def delete_row(table: TableInfo, key: object) -> Statement:
    """Delete the row with this key; returns its row JSON, or nothing when there is no such row."""
    return Statement(DeleteShape(table), (key,))


def update_rows(table: TableInfo, values: Mapping[str, object], conditions: tuple[Condition, ...]) -> Statement:
    """Set these columns of all rows that pass every filter; returns nothing."""
    shape = UpdateManyShape(table, tuple(values), _shapes_of(conditions))
    return Statement(shape, (*values.values(), *collect_values(conditions)))


def delete_rows(table: TableInfo, conditions: tuple[Condition, ...]) -> Statement:
    """Delete all rows that pass every filter; returns nothing."""
    return Statement(DeleteManyShape(table, _shapes_of(conditions)), tuple(collect_values(conditions)))


def lock_table(table: TableInfo) -> Statement:
    """Wait for all who write to a table, and keep others from it until the transaction ends."""
    return Statement(TableLockShape(table), ())


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
    """The keys of some of the rows that pass every filter."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]
    is_limited: bool

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        keys = passing(select(source.c[self.table.key]), self.table, self.filters, parameters)
        return keys.limit(parameters.take(Kind.INTEGER)) if self.is_limited else keys
