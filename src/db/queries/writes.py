"""The shapes of statements that write rows, and of those that read rows in order to write them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from sqlalchemy import CTE, column, delete, exists, func, insert, literal_column, select, table, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement, Delete, Insert, Update
from sqlalchemy.sql.elements import ColumnClause, ColumnElement

from src.core.tables import Kind, TableInfo
from src.db.queries.expressions import Expression
from src.db.queries.filters import ConditionShape, passing
from src.db.queries.rendering import SOURCE, RowJson, render_written
from src.db.queries.statement import Dialect, Form, Parameters, sql_table

TOMBSTONE: ColumnClause[Any] = column("tombstone")
TOMBSTONES = table("tombstones", TOMBSTONE)
SQLITE_NOW: Any = literal_column("strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')")


class OnConflict(Enum):
    """What becomes of a new row whose key exists."""

    REFUSE = auto()
    IGNORE = auto()
    """The row that is there stays as it is."""
    MERGE = auto()
    """The row that is there gets the columns of the new one."""


class Returned(Enum):
    """What a write answers of each row that it wrote."""

    NOTHING = auto()
    KEY = auto()
    ROW = auto()
    """The row as JSON."""


@dataclass(frozen=True, slots=True)
class InsertShape:
    """One new row with these columns."""

    table: TableInfo
    columns: tuple[str, ...]
    on_conflict: OnConflict = OnConflict.REFUSE
    returned: Returned = Returned.ROW
    kept: tuple[str, ...] = ()
    """Columns of a row that exists which a merge leaves as they are."""
    owner: str = ""
    """The column that must hold one more value for a merge to change a row that exists; empty for any row."""
    is_guarded: bool = False
    """Whether there must be no tombstone of one more value."""
    changes: TableInfo | None = None
    """The table that gets a change of a new row, with three more values. For PostgreSQL."""

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        values: dict[str, Any] = _take_values(self.table, self.columns, parameters)
        if dialect.name == "sqlite":
            values |= dict.fromkeys(self._left_to_the_clock(), SQLITE_NOW)
        write = _insert(dialect, self, parameters)
        write = self._guarded(write, values, parameters) if self.is_guarded else write.values(values)
        statement: ClauseElement
        if self.changes:
            statement = render_written(dialect, write, self.table, Noting(self.table, self.changes, parameters).build)
        else:
            statement = _returning(dialect, write, self.table, self.returned)
        return statement

    def _guarded(self, write: Any, values: dict[str, Any], parameters: Parameters) -> Any:
        """Insert the values as the one row of a SELECT, which can have a condition."""
        kinds = {name: self.table.by_name[name].kind for name in values}
        given = [ValueOf(ARRAY_TYPES[kinds[name]], value) for name, value in values.items()]
        return write.from_select(list(values), select(*given).where(_has_no_tombstone(parameters)))

    def _left_to_the_clock(self) -> Iterator[str]:
        """Instants that the database fills: SQLite's CURRENT_TIMESTAMP has neither a T nor an offset."""
        for name in self.table.database_defaults:
            if name not in self.columns and self.table.by_name[name].kind is Kind.TIMESTAMP:
                yield name


# The arrays that PostgreSQL takes for the values of a column; they are cast to the column's own type on their way in.
ARRAY_TYPES: dict[Kind, str] = {
    Kind.TEXT: "text",
    Kind.UUID: "uuid",
    Kind.TIMESTAMP: "timestamptz",
    Kind.LOCAL_TIMESTAMP: "timestamp",
    Kind.DATE: "date",
    Kind.INTEGER: "bigint",
    Kind.DOUBLE: "double precision",
    Kind.NUMERIC: "numeric",
    Kind.BOOLEAN: "boolean",
    Kind.JSON: "json",
}


class ArrayOf(Expression):
    """A parameter that carries an array of a type of PostgreSQL's."""

    def __init__(self, type_name: str, values: ColumnElement[Any]) -> None:
        self.type_name = type_name
        super().__init__(values)

    def postgresql(self, values: str) -> str:
        return f"CAST({values} AS {self.type_name}[])"


class ValueOf(Expression):
    """One value of a type of PostgreSQL's, which it would take for text in a SELECT."""

    def __init__(self, type_name: str, value: ColumnElement[Any]) -> None:
        self.type_name = type_name
        super().__init__(value)

    def postgresql(self, value: str) -> str:
        return f"CAST({value} AS {self.type_name})"

    def sqlite(self, value: str) -> str:
        return value


class Noting(NamedTuple):
    """The insert of a change that tells of the rows which another part of the same statement writes."""

    table: TableInfo
    changes: TableInfo
    parameters: Parameters

    def build(self, written: CTE) -> Insert:
        """Build the insert. Nothing is told of where nothing was written."""
        given = {name: self._take(name) for name in CHANGE_COLUMNS}
        keys = func.json_agg(written.c[self.table.key])
        told = {"count": func.count(), "row_keys": func.json_build_object(literal_column("'keys'"), keys)}
        change = select(*given.values(), *told.values()).select_from(written).having(func.count() > literal_column("0"))
        return insert(sql_table(self.changes)).from_select([*given, *told], change)

    def _take(self, name: str) -> ColumnElement[Any]:
        kind = self.changes.by_name[name].kind
        return ValueOf(ARRAY_TYPES[kind], self.parameters.take(kind))


# What a change has beside the number of its rows and their keys.
CHANGE_COLUMNS = ("change_id", "table_name", "created_at")


@dataclass(frozen=True, slots=True)
class BulkInsertShape:
    """Any number of new rows with these columns, each column an array. For PostgreSQL."""

    table: TableInfo
    columns: tuple[str, ...]
    on_conflict: OnConflict
    returned: Returned
    kept: tuple[str, ...]
    owner: str = ""

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        kinds = [self.table.by_name[name].kind for name in self.columns]
        arrays = [ArrayOf(ARRAY_TYPES[kind], parameters.take(kind, Form.LIST)) for kind in kinds]
        names = [f"c{number}" for number in range(len(arrays))]
        given = func.unnest(*arrays).table_valued(*names).render_derived(name=SOURCE)
        write = _insert(dialect, self, parameters)
        write = write.from_select(list(self.columns), select(*(given.c[name] for name in names)))
        statement: ClauseElement = _returning(dialect, write, self.table, self.returned)
        return statement


@dataclass(frozen=True, slots=True)
class UpdateShape:
    """These columns of the row with a key, if it passes every filter."""

    table: TableInfo
    columns: tuple[str, ...]
    filters: tuple[ConditionShape, ...] = ()
    is_guarded: bool = False
    """Whether there must be no tombstone of one more value."""

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        values = _take_values(self.table, self.columns, parameters)
        write = update(source).values(values).where(source.c[self.table.key] == parameters.take(self.table.key_kind))
        write = passing(write, self.table, self.filters, parameters)
        if self.is_guarded:
            write = write.where(_has_no_tombstone(parameters))
        statement: ClauseElement = _returning(dialect, write, self.table, Returned.ROW)
        return statement


@dataclass(frozen=True, slots=True)
class UpdateManyShape:
    """These columns of all rows that pass every filter."""

    table: TableInfo
    columns: tuple[str, ...]
    filters: tuple[ConditionShape, ...]

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        write = update(sql_table(self.table)).values(_take_values(self.table, self.columns, parameters))
        return passing(write, self.table, self.filters, parameters)


@dataclass(frozen=True, slots=True)
class DeleteShape:
    """The row with a key, if it passes every filter."""

    table: TableInfo
    filters: tuple[ConditionShape, ...] = ()

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        write = delete(source).where(source.c[self.table.key] == parameters.take(self.table.key_kind))
        write = passing(write, self.table, self.filters, parameters)
        statement: ClauseElement = _returning(dialect, write, self.table, Returned.ROW)
        return statement


@dataclass(frozen=True, slots=True)
class DeleteManyShape:
    """All rows that pass every filter."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        return passing(delete(sql_table(self.table)), self.table, self.filters, parameters)


@dataclass(frozen=True, slots=True)
class RowsShape:
    """All rows that pass every filter, each beside its key; nobody else changes locked ones meanwhile."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]
    is_locked: bool = False

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        rows = passing(select(source), self.table, self.filters, parameters)
        if self.is_locked:
            # SQLite has one writer, who need not lock. In one order, two who lock many rows do not wait for each other.
            rows = rows.order_by(source.c[self.table.key]).with_for_update()
        page = rows.subquery(SOURCE)
        columns: tuple[Any, ...] = (RowJson(SOURCE, self.table.columns), page.c[self.table.key])
        return select(*columns).select_from(page)


@dataclass(frozen=True, slots=True)
class TableLockShape:
    """Wait for all who write to a table, and let nobody write to it before this transaction ends. For PostgreSQL."""

    table: TableInfo

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        name = dialect.sql.identifier_preparer.quote(self.table.name)
        return literal_column(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")


def _insert(dialect: Dialect, shape: InsertShape | BulkInsertShape, parameters: Parameters) -> Any:
    info, source = shape.table, sql_table(shape.table)
    if shape.on_conflict is OnConflict.REFUSE:
        return insert(source)
    write: Any = (sqlite if dialect.name == "sqlite" else postgresql).insert(source)
    if shape.on_conflict is OnConflict.IGNORE:
        return write.on_conflict_do_nothing(index_elements=[info.key])
    merged = [name for name in shape.columns if name != info.key and name not in shape.kept] or [info.key]
    changes = {name: write.excluded[name] for name in merged}
    where = source.c[shape.owner] == parameters.take(info.by_name[shape.owner].kind) if shape.owner else None
    return write.on_conflict_do_update(index_elements=[info.key], set_=changes, where=where)


def _has_no_tombstone(parameters: Parameters) -> ColumnElement[bool]:
    """Nobody with this mark was erased. Where an insert waits for an erasure, it sees what that has left."""
    return ~exists(select(literal_column("1")).select_from(TOMBSTONES).where(parameters.take() == TOMBSTONE))


def _returning(dialect: Dialect, write: Insert | Update | Delete, table: TableInfo, returned: Returned) -> Any:
    if returned is Returned.ROW:
        return render_written(dialect, write, table)
    return write if returned is Returned.NOTHING else write.returning(sql_table(table).c[table.key])


def _take_values(table: TableInfo, columns: tuple[str, ...], parameters: Parameters) -> dict[str, Any]:
    return {name: parameters.take(table.by_name[name].kind) for name in columns}
