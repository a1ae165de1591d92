"""Plain data -> statements. Nothing here touches a database, and every value is a bound parameter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, literal_column, select, update
from sqlalchemy.sql import ClauseElement, Select
from sqlalchemy.sql.elements import BindParameter

from src.core.tables import Kind, SortTerm, TableInfo
from src.db.queries.filters import LIST_OPERATORS, OPERATORS
from src.db.queries.paging import CursorShape, Walk
from src.db.queries.query import Query
from src.db.queries.rendering import render_rows, render_written
from src.db.queries.statement import Dialect, Parameter, Statement, sql_table

SQLITE_NOW: Any = literal_column("strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')")

Binds = tuple[BindParameter[Any], ...]


def select_row(table: TableInfo, key: object) -> Statement:
    """Select the row with this key, as row JSON."""
    return Statement(RowShape(table), (key,))


def select_page(table: TableInfo, query: Query) -> Statement:
    """Select one page of the rows that pass every filter, as row JSON, and one row more if there is one.

    The order is total, so consecutive pages of an unchanged table neither overlap nor leave gaps. A page
    before a cursor comes in reverse.
    """
    cursor = query.cursor
    shape = PageShape(
        table=table,
        filters=tuple((filter_.column, filter_.operator) for filter_ in query.filters),
        sort=query.sort,
        cursor=cursor and CursorShape(tuple(value is None for value in cursor.values), cursor.is_backward),
    )
    values = [filter_.value for filter_ in query.filters]
    if cursor:
        values += [value for value in cursor.values if value is not None]
        return Statement(shape, (*values, query.size + 1))
    return Statement(shape, (*values, query.size + 1, query.offset))


def insert_row(table: TableInfo, values: Mapping[str, object]) -> Statement:
    """Insert one row; returns its row JSON."""
    return Statement(InsertShape(table, tuple(values)), tuple(values.values()))


def update_row(table: TableInfo, key: object, values: Mapping[str, object]) -> Statement:
    """Set these columns of the row with this key; returns its row JSON, or nothing when there is no such row."""
    return Statement(UpdateShape(table, tuple(values)), (*values.values(), key))


def delete_row(table: TableInfo, key: object) -> Statement:
    """Delete the row with this key; returns its row JSON, or nothing when there is no such row."""
    return Statement(DeleteShape(table), (key,))


def count_rows(table: TableInfo, column: str, value: object) -> Statement:
    """Count the rows of `table` whose `column` holds `value`."""
    return Statement(CountShape(table, column), (value,))


@dataclass(frozen=True, slots=True)
class RowShape:
    """One row by its key.

    Shapes are dataclasses: as named tuples, a select and a delete of the same table would be equal and the
    cache of compiled statements would take one for the other.
    """

    table: TableInfo

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter(self.table.key_kind)

    def build(self, dialect: Dialect, binds: Binds) -> ClauseElement:
        source = sql_table(self.table)
        return render_rows(select(source).where(source.c[self.table.key] == binds[0]), self.table)


@dataclass(frozen=True, slots=True)
class PageShape:
    """One page, from an offset or from a cursor."""

    table: TableInfo
    filters: tuple[tuple[str, str], ...]
    sort: tuple[SortTerm, ...]
    cursor: CursorShape | None

    def parameters(self) -> Iterator[Parameter]:
        columns = self.table.by_name
        for name, operator in self.filters:
            yield Parameter(columns[name].kind, is_list=operator in LIST_OPERATORS)
        if self.cursor:
            for term, is_null in zip(self.sort, self.cursor.nulls, strict=True):
                if not is_null:
                    yield Parameter(columns[term.column].kind)
            yield Parameter(Kind.INTEGER)
        else:
            yield Parameter(Kind.INTEGER)
            yield Parameter(Kind.INTEGER)

    def build(self, dialect: Dialect, binds: Binds) -> ClauseElement:
        remaining = iter(binds)
        rows = self._filtered(remaining)
        walk = Walk(self.table, self.sort)
        if self.cursor is None:
            return render_rows(walk.first_page(rows, next(remaining)).offset(next(remaining)), self.table)
        walk = walk.reversed() if self.cursor.is_backward else walk
        return render_rows(walk.page_after(self.cursor, rows, remaining), self.table)

    def _filtered(self, binds: Iterator[BindParameter[Any]]) -> Select[Any]:
        source = sql_table(self.table)
        return select(source).where(
            *(OPERATORS[operator](source.c[name], next(binds)) for name, operator in self.filters)
        )


@dataclass(frozen=True, slots=True)
class InsertShape:
    """One new row with these columns."""

    table: TableInfo
    columns: tuple[str, ...]

    def parameters(self) -> Iterator[Parameter]:
        return (Parameter(self.table.by_name[name].kind) for name in self.columns)

    def build(self, dialect: Dialect, binds: Binds) -> ClauseElement:
        values: dict[str, Any] = dict(zip(self.columns, binds, strict=True))
        if dialect.name == "sqlite":
            values |= dict.fromkeys(self._left_to_the_clock(), SQLITE_NOW)
        statement: ClauseElement = render_written(dialect, insert(sql_table(self.table)).values(values), self.table)
        return statement

    def _left_to_the_clock(self) -> Iterator[str]:
        """Instants that the database fills: SQLite's CURRENT_TIMESTAMP has neither a T nor an offset."""
        for name in self.table.database_defaults:
            if name not in self.columns and self.table.by_name[name].kind is Kind.TIMESTAMP:
                yield name


@dataclass(frozen=True, slots=True)
class UpdateShape:
    """These columns of the row with a key."""

    table: TableInfo
    columns: tuple[str, ...]

    def parameters(self) -> Iterator[Parameter]:
        yield from (Parameter(self.table.by_name[name].kind) for name in self.columns)
        yield Parameter(self.table.key_kind)

    def build(self, dialect: Dialect, binds: Binds) -> ClauseElement:
        source = sql_table(self.table)
        values = dict(zip(self.columns, binds[:-1], strict=True))
        write = update(source).values(values).where(source.c[self.table.key] == binds[-1])
        statement: ClauseElement = render_written(dialect, write, self.table)
        return statement


@dataclass(frozen=True, slots=True)
class DeleteShape:
    """The row with a key."""

    table: TableInfo

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter(self.table.key_kind)

    def build(self, dialect: Dialect, binds: Binds) -> ClauseElement:
        source = sql_table(self.table)
        write = delete(source).where(source.c[self.table.key] == binds[0])
        statement: ClauseElement = render_written(dialect, write, self.table)
        return statement


@dataclass(frozen=True, slots=True)
class CountShape:
    """How many rows hold a value in a column."""

    table: TableInfo
    column: str

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter(self.table.by_name[self.column].kind)

    def build(self, dialect: Dialect, binds: Binds) -> ClauseElement:
        source = sql_table(self.table)
        return select(func.count()).select_from(source).where(source.c[self.column] == binds[0])
