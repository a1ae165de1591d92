"""The shapes of statements that write one row and answer it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, literal_column, update
from sqlalchemy.sql import ClauseElement

from src.core.tables import Kind, TableInfo
from src.db.queries.rendering import render_written
from src.db.queries.statement import Dialect, Parameters, sql_table

SQLITE_NOW: Any = literal_column("strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')")


@dataclass(frozen=True, slots=True)
class InsertShape:
    """One new row with these columns."""

    table: TableInfo
    columns: tuple[str, ...]

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        values: dict[str, Any] = _take_values(self.table, self.columns, parameters)
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

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        values = _take_values(self.table, self.columns, parameters)
        write = update(source).values(values).where(source.c[self.table.key] == parameters.take(self.table.key_kind))
        statement: ClauseElement = render_written(dialect, write, self.table)
        return statement


@dataclass(frozen=True, slots=True)
class DeleteShape:
    """The row with a key."""

    table: TableInfo

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        write = delete(source).where(source.c[self.table.key] == parameters.take(self.table.key_kind))
        statement: ClauseElement = render_written(dialect, write, self.table)
        return statement


def _take_values(table: TableInfo, columns: tuple[str, ...], parameters: Parameters) -> dict[str, Any]:
    return {name: parameters.take(table.by_name[name].kind) for name in columns}
