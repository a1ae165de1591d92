"""PostgreSQL through asyncpg: a pool, and nothing between a statement and the driver."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
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
from src.db.engines.exports import FIRST_BATCH, TOOK_TOO_LONG, ExportCutOff, ExportPlaces, next_batch
from src.db.engines.postgresql_pool import Pool, PoolExhausted
from src.db.queries.rendering import member_prefix
from src.db.queries.statement import Dialect, Form, like_pattern

DIALECT = Dialect(
    name="postgresql",
    sql=sqlalchemy_asyncpg.dialect(),  # type: ignore[no-untyped-call]
    encoders={},
    form_encoders={
        Form.LIST: lambda _, values: list(values),
        Form.PATTERN: like_pattern,
        Form.FOLDED_PATTERN: like_pattern,
        Form.PARTS: like_pattern,
        Form.PATH: lambda _, path: list(path),
        Form.PATHS: lambda _, path: list(path),
        Form.NAME: lambda _, name: member_prefix(name),
    },
    explain="EXPLAIN (FORMAT JSON) ",
)

CLOSE_TIMEOUT_S = 2.0

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
BUSY_ERRORS: dict[type[BaseException], str] = {
    ExportCutOff: "",
    PoolExhausted: "every connection to the database is in use; try again",
    TimeoutError: "the database took too long to answer; try again",
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
        ExportCutOff,
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        self._exports = ExportPlaces(settings.max_exports)

    async def open(self) -> None:
        settings = self._settings
        # No connection yet: the service starts while its database is away.
        self._pool = Pool(self._connect, settings.pool_size, settings.pool_wait_s)

    async def _connect(self) -> Any:
        return await self._connect_for(self._settings.statement_timeout_s)

    async def _connect_for(self, statement_timeout_s: float) -> Any:
        settings = self._settings
        return await asyncpg.connect(
            dsn=settings.url.render_as_string(hide_password=False),
            timeout=settings.connect_timeout_s,
            # The server's own limit comes first; this one is for a server that no longer answers at all.
            command_timeout=statement_timeout_s + 2,
            statement_cache_size=settings.statement_cache_size,
            server_settings={
                "application_name": "backendapi",
                "timezone": "UTC",
                "statement_timeout": str(round(statement_timeout_s * 1000)),
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
    fetch_long = fetch

    async def stream(self, sql: str, arguments: Sequence[object]) -> AsyncGenerator[Sequence[Any], None]:
        with self._exports.place():
            # Not from the pool, which a few slow readers would empty for everybody.
            connection = await self._connect_for(self._settings.export_timeout_s)
            try:
                async for rows in self._read_cursor(connection, sql, arguments):
                    yield rows
            finally:
                await _part_with(connection)

    async def _read_cursor(
        self, connection: Any, sql: str, arguments: Sequence[object]
    ) -> AsyncGenerator[Sequence[Any], None]:
        """Read by a declared cursor: for one, the planner knows that the first rows are wanted soon."""
        deadline = asyncio.get_running_loop().time() + self._settings.export_timeout_s
        await connection.execute("BEGIN READ ONLY")
        await connection.fetch(f"DECLARE export NO SCROLL CURSOR FOR {sql}", *arguments)
        reading = asyncio.ensure_future(connection.fetch(f"FETCH {FIRST_BATCH} FROM export"))
        try:
            while rows := await reading:
                if asyncio.get_running_loop().time() > deadline:
                    raise ExportCutOff(TOOK_TOO_LONG)
                reading = asyncio.ensure_future(connection.fetch(f"FETCH {next_batch(rows)} FROM export"))
                yield rows
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def translate(self, error: BaseException) -> ApiError | None:
        if isinstance(error, asyncpg.PostgresError):
            return _translate_state(error)
        if isinstance(error, asyncpg.DataError | UnicodeEncodeError | OverflowError):
            return ValueRefused("a value does not fit its column")
        for type_, detail in BUSY_ERRORS.items():
            if isinstance(error, type_):
                return DatabaseBusy(detail or str(error))
        if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
            return AWAY
        return None


async def _part_with(connection: Any) -> None:
    try:
        await connection.close(timeout=CLOSE_TIMEOUT_S)
    except Exception:
        connection.terminate()


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
    "22003": lambda _: ValueRefused("a number, or the sum of these numbers, is larger than its type"),
    "23505": lambda error: KeyExists(f"a row with this {_columns_of_key(error)} exists already"),
    "23503": lambda error: ReferenceBroken("a foreign key would point nowhere"),
    "23001": lambda error: ReferenceBroken("a foreign key would point nowhere"),
    "23502": lambda error: ValueRefused(f"{error.column_name} must not be null"),
    "23514": lambda error: ValueRefused(f"the values break the rule {error.constraint_name}"),
    "428C9": lambda error: ValueRefused("a column that the database computes cannot be set"),
}
