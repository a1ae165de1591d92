"""PostgreSQL through asyncpg: a pool, and nothing between a statement and the driver."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as sqlalchemy_asyncpg

from src.core.config import Settings
from src.core.errors import (
    ApiError,
    DatabaseAway,
    DatabaseBusy,
    FeatureMissing,
    KeyExists,
    ReferenceBroken,
    SchemaMismatch,
    ValueRefused,
)
from src.db.connection import Product, Result, Work
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
    has_table_locks=True,
    notes_while_writing=True,
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
# A transaction that was lost to another one runs again; nothing of it was stored.
LOST_STATES = ("40001", "40P01")
MAX_ATTEMPTS = 5
LONGEST_PAUSE_S = 0.02
# What a statement was refused for: a missing feature, cardinality, data, constraints, limits.
REFUSED_STATES = ("0A", "21", "22", "23", "54")
AWAY_STATES = ("08", "57P")
MISMATCH_STATES = ("42P01", "42703", "42883")


class PostgresqlDialogue:
    """What a database and a transaction of it have in common."""

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

    async def write_each(self, sql: str, rows: Iterable[Sequence[object]]) -> bool:
        return False

    async def copy(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        raise NotImplementedError("rows are copied in a transaction, which can run again")

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


class PostgresqlDatabase(PostgresqlDialogue):
    """A PostgreSQL server, or a distributed database that speaks its protocol."""

    takes_bulk = False
    takes_copy = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        self._server_version: str | None = None
        self._exports = ExportPlaces(settings.max_exports)

    async def open(self) -> None:
        settings = self._settings
        # No connection yet: the service starts while its database is away.
        self._pool = Pool(self._connect, settings.pool_size, settings.pool_wait_s)

    async def _connect(self) -> Any:
        return await self._connect_for(self._settings.statement_timeout_s)

    async def _connect_for(self, statement_timeout_s: float) -> Any:
        settings = self._settings
        connection = await asyncpg.connect(
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
        self._server_version = connection.get_settings().server_version
        return connection

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        return await self._open_pool().fetch(sql, arguments)

    write = fetch
    fetch_long = fetch

    async def change(self, sql: str, arguments: Sequence[object]) -> int:
        return await self.transact(lambda transaction: transaction.change(sql, arguments))

    async def transact(self, work: Work[Result], time_limit_s: float | None = None) -> Result:
        way = Way.COPIED
        attempt = 0
        while True:
            attempt += 1
            transaction = PostgresqlTransaction(time_limit_s, way)
            try:
                return await self._open_pool().transact(
                    lambda connection, its=transaction: its.run(work, connection),  # type: ignore[misc]
                    time_limit_s or self._settings.statement_timeout_s,
                )
            except Exception as error:
                state = transaction.failed_state or getattr(error, "sqlstate", "") or ""
                if attempt == MAX_ATTEMPTS:
                    raise
                if state in LOST_STATES:
                    await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))  # noqa: S311  not a secret
                elif state.startswith(REFUSED_STATES) and way is not Way.ONE_BY_ONE:
                    way = Way.IN_BULK if transaction.has_copied else Way.ONE_BY_ONE
                else:
                    raise

    def product(self) -> Product:
        return Product(DIALECT.name, self._server_version, f"asyncpg {asyncpg.__version__}")

    def gauges(self) -> dict[str, float]:
        pool = {} if self._pool is None else self._pool.gauges
        return pool | {"database_exports_running": self._exports.taken}

    def _open_pool(self) -> Pool:
        if self._pool is None:
            raise OSError("the pool is closed")
        return self._pool

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


class Way(Enum):
    """How many rows go at most at once; each way tells more of a row that is refused than the one before it."""

    COPIED = auto()
    IN_BULK = auto()
    ONE_BY_ONE = auto()


class PostgresqlTransaction(PostgresqlDialogue):
    """A transaction on one connection.

    After an error PostgreSQL takes no more statements. Where many rows do not go in bulk, each statement that writes
    therefore has a savepoint: work that runs again for the sake of a better message can ask what was wrong.
    """

    def __init__(self, time_limit_s: float | None, way: Way) -> None:
        self.takes_copy = way is Way.COPIED
        self.takes_bulk = way is not Way.ONE_BY_ONE
        self.has_copied = False
        self._time_limit_s = time_limit_s
        self.failed_state = ""
        """The SQLSTATE of the first error."""
        self._connection: Any = None

    async def run(self, work: Work[Result], connection: Any) -> Result:
        """Run work on a connection where the transaction has begun."""
        self._connection = connection
        if self._time_limit_s:
            await connection.execute(f"SET LOCAL statement_timeout = {round(self._time_limit_s * 1000)}")
        return await work(self)

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        return await self._noting(self._connection.fetch, sql, arguments)  # type: ignore[no-any-return]

    fetch_long = fetch

    async def write(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        return await self._apart(self._connection.fetch, sql, arguments)  # type: ignore[no-any-return]

    async def copy(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.has_copied = True
        copying = self._connection.copy_records_to_table(
            table, records=rows, columns=columns, timeout=self._time_limit_s
        )
        try:
            await copying
        except asyncpg.PostgresError as error:
            self.failed_state = error.sqlstate or ""
            raise

    async def change(self, sql: str, arguments: Sequence[object]) -> int:
        return _number_of_rows(await self._apart(self._connection.execute, sql, arguments))

    async def transact(self, work: Work[Result], time_limit_s: float | None = None) -> Result:
        return await work(self)

    async def _apart(self, run: Callable[..., Awaitable[Any]], sql: str, arguments: Sequence[object]) -> Any:
        if self.takes_bulk:
            return await self._noting(run, sql, arguments)
        await self._connection.execute("SAVEPOINT apart")
        try:
            result = await self._noting(run, sql, arguments)
        except asyncpg.PostgresError:
            await self._connection.execute("ROLLBACK TO apart")
            raise
        await self._connection.execute("RELEASE apart")
        return result

    async def _noting(self, run: Callable[..., Awaitable[Any]], sql: str, arguments: Sequence[object]) -> Any:
        try:
            return await run(sql, *arguments, timeout=self._time_limit_s)
        except asyncpg.PostgresError as error:
            self.failed_state = self.failed_state or error.sqlstate or ""
            raise


def _number_of_rows(tag: str) -> int:
    """The number at the end of a command's tag: `INSERT 0 5`, `DELETE 3`."""
    number = tag.rpartition(" ")[2]
    return int(number) if number.isdigit() else 0


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
    "0A000": lambda _: FeatureMissing("the database has no such statement"),
    "22003": lambda _: ValueRefused("a number, or the sum of these numbers, is larger than its type"),
    "23505": lambda error: KeyExists(f"a row with this {_columns_of_key(error)} exists already"),
    "23503": lambda error: ReferenceBroken("a foreign key would point nowhere"),
    "23001": lambda error: ReferenceBroken("a foreign key would point nowhere"),
    "23502": lambda error: ValueRefused(f"{error.column_name} must not be null"),
    "23514": lambda error: ValueRefused(f"the values break the rule {error.constraint_name}"),
    "428C9": lambda error: ValueRefused("a column that the database computes cannot be set"),
}
