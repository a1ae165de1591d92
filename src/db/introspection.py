"""A live database as plain data, and how it differs from what the models say."""

from collections.abc import Iterator

from sqlalchemy.engine import URL

from src.core.tables import ColumnInfo, Kind, TableInfo
from src.db.catalogs.live import LiveColumn, LiveTable
from src.db.catalogs.postgresql import connect_postgresql, read_postgresql, read_postgresql_value
from src.db.catalogs.sqlite import read_sqlite, read_sqlite_value

__all__ = ["LiveColumn", "LiveTable", "connect_postgresql", "current_revision", "differences", "read_tables"]

VERSION_TABLE = "alembic_version"
# Kinds that SQLite does not tell apart: both are stored as text of the same form.
ALIKE_ON_SQLITE = ({Kind.TEXT, Kind.UUID}, {Kind.TIMESTAMP, Kind.LOCAL_TIMESTAMP})
TO_MIGRATE = "run alembic upgrade head"
TO_GENERATE = "run alembic upgrade head, or python -m scripts.generate_models"


async def read_tables(url: URL) -> dict[str, LiveTable]:
    """Read the tables of a database, by name, without views and without Alembic's own table.

    Raises:
        DatabaseAway: there is no connection to be had.
    """
    tables = await (read_sqlite(url) if _is_sqlite(url) else read_postgresql(url))
    return {name: tables[name] for name in sorted(tables) if name != VERSION_TABLE}


async def current_revision(url: URL) -> str | None:
    """Tell which migration the database is at; None when it has seen none.

    Raises:
        DatabaseAway: there is no connection to be had.
    """
    read_value = read_sqlite_value if _is_sqlite(url) else read_postgresql_value
    return await read_value(url, VERSION_TABLE, "version_num")


def differences(table: TableInfo, live: LiveTable | None) -> list[str]:
    """Say in sentences where a database's table is not what its models say; empty when all is well."""
    if live is None:
        return [f"table {table.name} is missing: {TO_MIGRATE}"]
    by_name = {column.name: column for column in live.columns}
    found = [f"{table.name}.{text}: {TO_GENERATE}" for text in _column_differences(table, by_name, live)]
    if live.key != (table.key,):
        found.append(f"{table.name}: the models say key {table.key}, the database {', '.join(live.key) or 'none'}")
    return found


def _column_differences(table: TableInfo, by_name: dict[str, LiveColumn], live: LiveTable) -> Iterator[str]:
    for column in table.columns:
        if column.name not in by_name:
            yield f"{column.name} is missing in the database"
        else:
            yield from _differences_of(column, by_name[column.name], live)
    for name, column_now in by_name.items():
        if name not in table.by_name and not column_now.is_nullable and not _fills_itself(column_now):
            yield f"{name} must not be null in the database, and the models do not have it"


def _differences_of(column: ColumnInfo, now: LiveColumn, live: LiveTable) -> Iterator[str]:
    kind = now.type.kind
    if kind is not column.kind and not (live.is_loosely_typed and {kind, column.kind} in ALIKE_ON_SQLITE):
        yield f"{column.name}: the model says {column.kind.value}, the database {kind.value if kind else now.declared}"
    if now.is_nullable != column.is_nullable:
        may_be_null = {True: "null is allowed", False: "not null"}
        model, database = may_be_null[column.is_nullable], may_be_null[now.is_nullable]
        yield f"{column.name}: the model says {model}, the database {database}"


def _fills_itself(column: LiveColumn) -> bool:
    return column.default is not None or column.is_computed or column.is_numbered


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"
