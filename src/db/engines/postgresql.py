"""PostgreSQL through asyncpg: a pool, and nothing between a statement and the driver."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as sqlalchemy_asyncpg

from src.core.config import Settings
from src.core.errors import (
    ApiError,
    DatabaseAway,
    DatabaseBusy,
    KeyExists,
    ReferenceBroken,
    SchemaMismatch,
    ValueRefused,
)
from src.db.engines.postgresql_pool import Pool, PoolExhausted
from src.db.queries.statement import Dialect

DIALECT = Dialect(
    name="postgresql",
    sql=sqlalchemy_asyncpg.dialect(),  # type: ignore[no-untyped-call]
    encoders={},
    encode_list=lambda kind, values: list(values),
)

AWAY = DatabaseAway("the database cannot be reached; try again")
BUSY_STATES = {
    "40001": "another transaction changed the same rows; try again",
    "40P01": "two transactions waited for each other; try again",
    "53100": "the database's disk is full",
    "53200": "the database is out of memory; try again",
    "53300": "the database has no free connection; try again",
    "55P03": "the rows are locked by another transaction; try again",
    "57014": "the statement took longer than its time limit; ask for less, or for what an index serves",
    "25006": "the database takes no writes at the moment; try again",
}
AWAY_STATES = ("08", "57P")
MISMATCH_STATES = ("42P01", "42703", "42883")


class PostgresqlDatabase:
    """A PostgreSQL server, or a distributed database that speaks its protocol."""

    dialect = DIALECT
    driver_errors: tuple[type[BaseException], ...] = (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
        ValueError,
        PoolExhausted,
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: Pool | None = None

    async def open(self) -> None:
        settings = self._settings
        # No connection yet: the service starts while its database is away.
        self._pool = Pool(self._connect, settings.pool_size, settings.pool_wait_s)

    async def _connect(self) -> Any:
        settings = self._settings
        return await asyncpg.connect(
            dsn=settings.url.render_as_string(hide_password=False),
            timeout=settings.connect_timeout_s,
            # The server's own limit comes first; this one is for a server that no longer answers at all.
            command_timeout=settings.statement_timeout_s + 2,
            statement_cache_size=settings.statement_cache_size,
            server_settings={
                "application_name": "backendapi",
                "timezone": "UTC",
                "statement_timeout": str(round(settings.statement_timeout_s * 1000)),
            },
        )

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        if self._pool is None:
            raise OSError("the pool is closed")
        return await self._pool.fetch(sql, arguments)

    write = fetch

    def translate(self, error: BaseException) -> ApiError | None:
        if isinstance(error, asyncpg.PostgresError):
            return _translate_state(error)
        if isinstance(error, asyncpg.DataError | UnicodeEncodeError | OverflowError):
            return ValueRefused("a value does not fit its column")
        if isinstance(error, PoolExhausted):
            return DatabaseBusy("every connection to the database is in use; try again")
        if isinstance(error, TimeoutError):
            return DatabaseBusy("the database took too long to answer; try again")
        if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
            return AWAY
        return None


def _translate_state(error: asyncpg.PostgresError) -> ApiError | None:
    """Translate by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    state = error.sqlstate or ""
    if state in TRANSLATIONS:
        return TRANSLATIONS[state](error)
    if state in BUSY_STATES:
        return DatabaseBusy(BUSY_STATES[state])
    if state.startswith(AWAY_STATES):
        return AWAY
    if state in MISMATCH_STATES:
        return SchemaMismatch("the database lacks a table or a column of the models; run: alembic upgrade head")
    if state.startswith(("22", "54")):
        return ValueRefused("a value is too long, too large or malformed for its column")
    return None


def _columns_of_key(error: Any) -> str:
    """The columns that a unique violation names in its detail: `Key (email)=(x) already exists.`."""
    found = re.match(r"Key \((.+?)\)=\(", error.detail or "")
    return found.group(1) if found else error.constraint_name or "key"


TRANSLATIONS: dict[str, Callable[[Any], ApiError]] = {
    "23505": lambda error: KeyExists(f"a row with this {_columns_of_key(error)} exists already"),
    "23503": lambda error: ReferenceBroken("a foreign key would point nowhere"),
    "23001": lambda error: ReferenceBroken("a foreign key would point nowhere"),
    "23502": lambda error: ValueRefused(f"{error.column_name} must not be null"),
    "23514": lambda error: ValueRefused(f"the values break the rule {error.constraint_name}"),
    "428C9": lambda error: ValueRefused("a column that the database computes cannot be set"),
}
