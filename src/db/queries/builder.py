"""Plain data -> statements. Nothing here touches a database, and every value is a bound parameter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, union_all
from sqlalchemy.sql import ClauseElement, Select

from src.core.errors import Forbidden
from src.core.tables import Kind, Reach, SortTerm, TableInfo
from src.db.queries import selection
from src.db.queries.aggregates import AggregateShape
from src.db.queries.filters import ConditionShape, collect_values, own_rows, passing, shape_of
from src.db.queries.paging import CursorShape, Walk
from src.db.queries.query import EVERYTHING, Aggregation, Change, Condition, Filter, Query, Selection, Target
from src.db.queries.rendering import SOURCE, RowJson, RowOfTable
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


def select_row(reach: Reach, key: object, wanted: Selection = EVERYTHING) -> Statement:
    """Select the row with this key, as row JSON."""
    own = own_rows(reach)
    if wanted is EVERYTHING:
        return Statement(RowShape(reach.table, _shapes_of(own)), (key, *collect_values(own)))
    shape = RowShape(reach.table, _shapes_of(own), selection.shape_of(wanted, reach.person))
    return Statement(shape, (key, *collect_values(own), *selection.values_of(wanted, reach.person)))


def lock_row(reach: Reach, key: object) -> Statement:
    """Select the row with this key, as row JSON, and keep others from changing it until the transaction ends."""
    return select_rows(reach, (has_key(reach.table, key),), is_locked=True)


def select_page(reach: Reach, query: Query) -> Statement:
    """Select one page of the rows that pass every filter, as row JSON, and one row more if there is one.

    The order is total, so consecutive pages of an unchanged table neither overlap nor leave gaps. A page
    before a cursor comes in reverse. Where the members of a row are chosen, its sort values stand beside it.
    """
    cursor, filters = query.cursor, (*own_rows(reach), *query.filters)
    shape = PageShape(
        table=reach.table,
        filters=_shapes_of(filters),
        sort=query.sort,
        cursor=cursor and CursorShape(tuple(value is None for value in cursor.values), cursor.is_backward),
        selection=selection.shape_of(query.selection, reach.person),
    )
    place: Iterable[object] = (query.size + 1, query.offset)
    if cursor:
        place = (*(value for value in cursor.values if value is not None), query.size + 1)
    chosen = selection.values_of(query.selection, reach.person)
    return Statement(shape, (*collect_values(filters), *place, *chosen))


def select_all(reach: Reach, query: Query) -> Statement:
    """Select all rows that pass every filter, as row JSON, in order."""
    filters = (*own_rows(reach), *query.filters)
    chosen = selection.shape_of(query.selection, reach.person)
    shape = ExportShape(reach.table, _shapes_of(filters), query.sort, chosen)
    return Statement(shape, (*collect_values(filters), *selection.values_of(query.selection, reach.person)))


def select_archive(parts: Iterable[tuple[Reach, str, object]]) -> Statement:
    """Select all rows of several tables whose column holds a value, each in an object beside its table's name."""
    shapes: list[tuple[TableInfo, tuple[ConditionShape, ...]]] = []
    values: list[object] = []
    for reach, column, value in parts:
        filters = (*own_rows(reach), Filter(Target(column), "eq", reach.table.by_name[column].kind, value))
        shapes.append((reach.table, _shapes_of(filters)))
        values += collect_values(filters)
    return Statement(ArchiveShape(tuple(shapes)), tuple(values))


def count_rows(reach: Reach, conditions: tuple[Condition, ...]) -> Statement:
    """Count the rows that pass every filter."""
    filters = (*own_rows(reach), *conditions)
    return Statement(CountShape(reach.table, _shapes_of(filters)), tuple(collect_values(filters)))


def select_keys(reach: Reach, conditions: tuple[Condition, ...], most: int | None = None) -> Statement:
    """Select the keys of the rows that pass every filter, in no order; of `most` of them if a number is given."""
    filters = (*own_rows(reach), *conditions)
    limit = () if most is None else (most,)
    shape = KeysShape(reach.table, _shapes_of(filters), is_limited=most is not None)
    return Statement(shape, (*collect_values(filters), *limit))


def select_rows(reach: Reach, conditions: tuple[Condition, ...], *, is_locked: bool = False) -> Statement:
    """Select the rows that pass every filter as row JSON beside their keys; locked, until the transaction ends."""
    filters = (*own_rows(reach), *conditions)
    return Statement(RowsShape(reach.table, _shapes_of(filters), is_locked), tuple(collect_values(filters)))


def has_key(table: TableInfo, key: object) -> Condition:
    """The condition that a row has this key."""
    return Filter(Target(table.key), "eq", table.key_kind, key)


def has_one_of(table: TableInfo, keys: Iterable[object]) -> Condition:
    """The condition that a row has one of these keys."""
    return Filter(Target(table.key), "in", table.key_kind, tuple(keys))


def aggregate(reach: Reach, asked: Aggregation, *, is_whole: bool = False) -> Statement:
    """Select one page of groups as row JSON, and one more if there is one; `is_whole` selects all of them."""
    asked = asked._replace(filters=(*own_rows(reach), *asked.filters))
    shape = AggregateShape.of(reach.table, asked, is_whole=is_whole)
    return Statement(shape, tuple(shape.values_of(asked)))


def insert_row(
    reach: Reach,
    values: Mapping[str, object],
    on_conflict: OnConflict = OnConflict.REFUSE,
    mark: str = "",
    change: Change | None = None,
) -> Statement:
    """Insert one row; returns its row JSON, or nothing when a row with its key stays instead.

    With the `mark` of a person, it returns nothing and inserts nothing when that person was erased. With a `change`,
    that is inserted too, where the database can do both at once.

    Raises:
        Forbidden: it would be a row of somebody else.
    """
    _refuse_other_owner(reach, values.get(reach.table.owner))
    shape = InsertShape(
        reach.table, tuple(values), on_conflict, is_guarded=bool(mark), changes=change.changes if change else None
    )
    more: tuple[object, ...] = (mark,) if mark else ()
    if change:
        more += (change.change_id, reach.table.name, change.created_at)
    return Statement(shape, (*values.values(), *more))


def insert_or_lock_row(reach: Reach, values: Mapping[str, object]) -> Statement:
    """Insert one row, or lock the one that has its key until the transaction ends; returns that one's row JSON.

    Raises:
        Forbidden: it would be a row of somebody else.
    """
    _refuse_other_owner(reach, values.get(reach.table.owner))
    columns, owner = tuple(values), reach.table.owner if reach.is_owned else ""
    # A merge that keeps all columns.
    shape = InsertShape(reach.table, columns, OnConflict.MERGE, kept=columns, owner=owner)
    return Statement(shape, (*values.values(), reach.person) if owner else (*values.values(),))


def insert_rows(
    reach: Reach,
    columns: tuple[str, ...],
    rows: Sequence[tuple[object, ...]],
    on_conflict: OnConflict = OnConflict.REFUSE,
    kept: tuple[str, ...] = (),
) -> ManyStatement:
    """Insert rows with these columns; returns the keys of the new ones where they are not known from the values.

    A merge leaves the columns `kept` of a row that exists as they are, and a row of somebody else altogether.

    Raises:
        Forbidden: one would be a row of somebody else.
    """
    table = reach.table
    if reach.is_owned:
        place = columns.index(table.owner) if table.owner in columns else None
        for owner in {None if place is None else row[place] for row in rows}:
            _refuse_other_owner(reach, owner)
    merged_owner = table.owner if on_conflict is OnConflict.MERGE and reach.is_owned else ""
    has_keys = table.key in columns
    one = InsertShape(table, columns, on_conflict, Returned.NOTHING if has_keys else Returned.KEY, kept, merged_owner)
    tells_keys = on_conflict is OnConflict.IGNORE or not has_keys or bool(merged_owner)
    returned = Returned.KEY if tells_keys else Returned.NOTHING
    bulk = BulkInsertShape(table, columns, on_conflict, returned, kept, merged_owner)
    return ManyStatement(
        one,
        bulk,
        rows,
        columns.index(table.key) if has_keys else None,
        tells_keys=tells_keys,
        more=(reach.person,) if merged_owner else (),
    )


def update_row(reach: Reach, key: object, values: Mapping[str, object], mark: str = "") -> Statement:
    """Set these columns of the row with this key; returns its row JSON, or nothing when there is no such row.

    With the `mark` of a person, it returns nothing and changes nothing when that person was erased.

    Raises:
        Forbidden: it would become a row of somebody else.
    """
    own = _own_rows_to_change(reach, values)
    shape = UpdateShape(reach.table, tuple(values), _shapes_of(own), is_guarded=bool(mark))
    return Statement(shape, (*values.values(), key, *collect_values(own), *((mark,) if mark else ())))


def delete_row(reach: Reach, key: object) -> Statement:
    """Delete the row with this key; returns its row JSON, or nothing when there is no such row."""
    own = own_rows(reach)
    return Statement(DeleteShape(reach.table, _shapes_of(own)), (key, *collect_values(own)))


def update_rows(reach: Reach, values: Mapping[str, object], conditions: tuple[Condition, ...]) -> Statement:
    """Set these columns of all rows that pass every filter; returns nothing.

    Raises:
        Forbidden: they would become rows of somebody else.
    """
    filters = (*_own_rows_to_change(reach, values), *conditions)
    shape = UpdateManyShape(reach.table, tuple(values), _shapes_of(filters))
    return Statement(shape, (*values.values(), *collect_values(filters)))


def delete_rows(reach: Reach, conditions: tuple[Condition, ...]) -> Statement:
    """Delete all rows that pass every filter; returns nothing."""
    filters = (*own_rows(reach), *conditions)
    return Statement(DeleteManyShape(reach.table, _shapes_of(filters)), tuple(collect_values(filters)))


def lock_table(table: TableInfo) -> Statement:
    """Wait for all who write to a table, and keep others from it until the transaction ends."""
    return Statement(TableLockShape(table), ())


def _refuse_other_owner(reach: Reach, owner: object) -> None:
    if reach.is_owned and owner != reach.person:
        raise Forbidden(f"{reach.table.owner} must be your own: a row of {reach.table.name} is written by its owner")


def _own_rows_to_change(reach: Reach, values: Mapping[str, object]) -> tuple[Condition, ...]:
    if reach.table.owner in values:
        _refuse_other_owner(reach, values[reach.table.owner])
    return own_rows(reach)


def _shapes_of(conditions: tuple[Condition, ...]) -> tuple[ConditionShape, ...]:
    return tuple(map(shape_of, conditions))


@dataclass(frozen=True, slots=True)
class RowShape:
    """One row by its key.

    Shapes are dataclasses: as named tuples, a select and a delete of the same table would be equal and the
    cache of compiled statements would take one for the other.
    """

    table: TableInfo
    filters: tuple[ConditionShape, ...] = ()
    selection: SelectionShape = WHOLE_ROW

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        row = select(source).where(source.c[self.table.key] == parameters.take(self.table.key_kind))
        row = passing(row, self.table, self.filters, parameters)
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
class ArchiveShape:
    """All rows of several tables that pass filters, from one snapshot."""

    parts: tuple[tuple[TableInfo, tuple[ConditionShape, ...]], ...]

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        return union_all(*(self._part(table, filters, parameters) for table, filters in self.parts))

    def _part(self, table: TableInfo, filters: tuple[ConditionShape, ...], parameters: Parameters) -> Select[Any]:
        rows = passing(select(sql_table(table)), table, filters, parameters).subquery(SOURCE)
        return select(RowOfTable(table.name, RowJson(SOURCE, table.columns))).select_from(rows)


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
