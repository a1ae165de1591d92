"""Running migrations so that the service stays up, and so that several processes may do it at once.

On PostgreSQL a statement that waits for a lock makes everyone behind it wait as well. So a revision waits for
`LOCK_TIMEOUT_S` only, then its transaction is undone and tried again later. No lock is held around a whole
upgrade: when two processes run the same revision, the version's row lets only one of them commit; the other
finds that the database has moved on, and goes on from there.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from src.db.dialect import sqlite_engine
from src.db.introspection import VERSION_TABLE, connect_postgresql, current_revision
from src.db.revisions import alembic_config
from src.db.schema import metadata

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
GIVE_UP_AFTER_S = 600.0
LOCKED = {"55P03", "40P01"}
EXISTS_ALREADY = {"23505", "42P07"}


def migrate(url: URL, run: Callable[[Connection], None]) -> None:
    """Run migrations on the database at `url`; call `run` again when another process stood in the way.

    Raises:
        DBAPIError: a statement failed, or its lock could not be had within `GIVE_UP_AFTER_S`.
    """
    if url.get_backend_name() == "sqlite":
        return _migrate_sqlite(url, run)
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    for pause_s in _pauses():
        before = asyncio.run(current_revision(url))
        try:
            return asyncio.run(_migrate_postgresql(url, run))
        except Exception as error:
            if time.monotonic() > deadline or not _may_pass(error, url, before):
                raise
            logger.warning("Another transaction stands in the way (%s); trying again in %.1f s", _cause(error), pause_s)
        time.sleep(pause_s)
    return None


def upgrade(url: URL, revision: str = "head") -> None:
    """Apply the migrations up to `revision` to the database at `url`."""
    from alembic import command  # noqa: PLC0415 - the service never needs it

    command.upgrade(alembic_config(url), revision)


def our_tables() -> list[str]:
    """Name the tables that migrations make, and Alembic's own; those that refer to others first."""
    return [*(table.name for table in reversed(metadata.sorted_tables)), VERSION_TABLE]


def drop_tables(url: URL) -> None:
    """Drop the tables of this project, in one transaction; foreign keys of other tables to them go as well."""
    cascade = "" if url.get_backend_name() == "sqlite" else " CASCADE"

    def drop(connection: Connection) -> None:
        for table in our_tables():
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}{cascade}")

    migrate(url, drop)


@contextmanager
def sqlite_connection(url: URL) -> Iterator[Connection]:
    """Open a SQLite file for changes of its schema, in one transaction.

    A changed table is made anew, filled and renamed, and dropping the old one must not erase the rows that refer
    to it. So foreign keys are off meanwhile, and are checked before the commit.

    Raises:
        ValueError: rows refer to rows that do not exist.
    """
    engine = sqlite_engine(url, foreign_keys=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1")  # takes the write lock before anything is looked at
        yield connection
        if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
            table, row, referred, _ = broken[0]
            raise ValueError(f"{len(broken)} rows would refer to nothing; row {row} of {table} refers to {referred}")


def _migrate_sqlite(url: URL, run: Callable[[Connection], None]) -> None:
    with sqlite_connection(url) as connection:
        run(connection)


async def _migrate_postgresql(url: URL, run: Callable[[Connection], None]) -> None:
    settings = {"lock_timeout": f"{LOCK_TIMEOUT_S:g}s", "application_name": "migrations"}
    engine = create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        poolclass=NullPool,
        async_creator=lambda: connect_postgresql(url, settings),
    )
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()


def _pauses() -> Iterator[float]:
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def _may_pass(error: Exception, url: URL, before: str | None) -> bool:
    """Tell whether trying again can help: a lock was held, or another process has run the same revision."""
    code = getattr(error.orig, "sqlstate", "") if isinstance(error, DBAPIError) else ""
    if code in LOCKED or (code in EXISTS_ALREADY and VERSION_TABLE in _cause(error)):
        return True
    return asyncio.run(current_revision(url)) != before


def _cause(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
