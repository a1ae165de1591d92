"""SQLite through apsw: reads in place, and one writer that commits many requests together."""

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import apsw
import msgspec
from sqlalchemy.dialects.sqlite import pysqlite

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
from src.core.tables import Kind
from src.db.connection import Product, Result, Work
from src.db.engines.exports import ExportCutOff, ExportPlaces
from src.db.engines.sqlite_export import export, log_bytes
from src.db.engines.sqlite_reader import OPCODES_BETWEEN_CHECKS, ReadersBusy, ReaderThreads, open_reader
from src.db.engines.sqlite_writer import Writer, WriterBusy, in_savepoint
from src.db.queries.documents import sqlite_path, sqlite_paths
from src.db.queries.statement import Dialect, Encoder, Form, like_pattern

# A read by key takes 7 µs in place and 150 µs through a thread. What takes longer than the budget is
# interrupted and runs again on a thread, so that it does not hold up every other request.
IN_PLACE_BUDGET_S = 0.003


# Most rows of a delivery have some instants in common.
@lru_cache(1024)
def _timestamp_text(value: datetime) -> str:
    """An instant as PostgreSQL writes it in UTC, zeros at the end cut; this form sorts correctly as text."""
    text = value.astimezone(UTC).isoformat()
    return text if len(text) == 25 else text[:-6].rstrip("0") + "+00:00"


def _local_timestamp_text(value: datetime) -> str:
    text = value.isoformat()
    return text if len(text) == 19 else text.rstrip("0")


def _number(value: Decimal) -> int | float:
    """A decimal as SQLite stores numbers: 64-bit integers and doubles.

    Raises:
        ValueError: the number would lose digits.
    """
    if value == value.to_integral_value() and -(2**63) <= value < 2**63:
        return int(value)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError("SQLite keeps 15 digits of a decimal number; this one has more")
    return number


ENCODERS: dict[Kind, Encoder] = {
    Kind.TIMESTAMP: _timestamp_text,
    Kind.LOCAL_TIMESTAMP: _local_timestamp_text,
    Kind.DATE: date.isoformat,
    Kind.NUMERIC: _number,
}


def _glob_pattern(_: Kind, parts: Sequence[str]) -> str:
    return "*".join(re.sub(r"([*?\[])", r"[\1]", part) for part in parts)


def _encode_list(kind: Kind, values: Sequence[object]) -> str:
    encode: Any = ENCODERS.get(kind, lambda value: value)
    return msgspec.json.encode([encode(value) for value in values]).decode()


DIALECT = Dialect(
    name="sqlite",
    sql=pysqlite.dialect(paramstyle="qmark"),
    encoders=ENCODERS,
    form_encoders={
        Form.LIST: _encode_list,
        Form.PATTERN: _glob_pattern,
        Form.FOLDED_PATTERN: like_pattern,
        Form.PARTS: lambda _, parts: msgspec.json.encode(parts).decode(),
        Form.PATH: lambda _, path: sqlite_path(path),
        Form.PATHS: lambda _, path: sqlite_paths(path),
        Form.NAME: lambda _, name: name,
    },
)


class NotAllWritten(Exception):
    """A statement for many rows left some as they were."""


class SqliteDialogue:
    """What a database and a transaction of it have in common."""

    dialect = DIALECT
    driver_errors: tuple[type[BaseException], ...] = (
        apsw.Error,
        OSError,
        WriterBusy,
        ReadersBusy,
        ExportCutOff,
        ValueError,
        UnicodeError,
    )
    takes_bulk = False
    takes_copy = False

    async def copy(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        raise NotImplementedError("SQLite has no COPY")

    async def write_each(self, sql: str, rows: Iterable[Sequence[object]]) -> bool:
        return False

    def translate(self, error: BaseException) -> ApiError | None:
        return next((translate(error) for type_, translate in TRANSLATIONS.items() if isinstance(error, type_)), None)


class SqliteDatabase(SqliteDialogue):
    """A file, read and written by this process and by others like it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = Path(settings.url.database or "")
        self._in_place: apsw.Connection | None = None
        self._deadline = 0.0
        self._readers = ReaderThreads(settings)
        self._writer: Writer | None = None
        self._exports = ExportPlaces(settings.max_exports)

    async def open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(self._path, self._settings)
            self._in_place = open_reader(self._path)
        except (OSError, apsw.Error) as error:
            raise DatabaseAway(f"the file {self._path} cannot be opened for reading and writing: {error}") from error
        self._in_place.set_busy_timeout(0)
        self._in_place.set_progress_handler(self._is_past_deadline, OPCODES_BETWEEN_CHECKS)
        self._readers.open(self._path)

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        self._readers.close()
        if self._in_place is not None:
            self._in_place.close()
        self._in_place = None

    def _is_past_deadline(self) -> bool:
        return time.perf_counter() > self._deadline

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        if self._in_place is None:
            raise apsw.CantOpenError("the database is closed")
        self._deadline = time.perf_counter() + IN_PLACE_BUDGET_S
        try:
            return self._in_place.execute(sql, arguments).fetchall()
        except (apsw.InterruptError, apsw.BusyError):
            return await self.fetch_long(sql, arguments)

    async def fetch_long(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        return await self._readers.fetch(sql, arguments)

    def product(self) -> Product:
        return Product(DIALECT.name, apsw.sqlite_lib_version(), f"apsw {apsw.apsw_version()}")

    def gauges(self) -> dict[str, float]:
        return self._readers.gauges | {
            "database_exports_running": self._exports.taken,
            "sqlite_writer_waiting": self._writer.waiting if self._writer else 0,
            "sqlite_wal_bytes": log_bytes(self._path),
        }

    async def stream(self, sql: str, arguments: Sequence[object]) -> AsyncGenerator[Sequence[Any], None]:
        with self._exports.place():
            async for rows in export(self._path, self._settings, sql, arguments):
                yield rows

    async def write(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        return await self._run(lambda connection: connection.execute(sql, arguments).fetchall())

    async def change(self, sql: str, arguments: Sequence[object]) -> int:
        return await self._run(lambda connection: _change(connection, sql, arguments))

    async def transact(self, work: Work[Result], time_limit_s: float | None = None) -> Result:
        # The work runs on the writer's thread, where nothing that it asks for has to be waited for.
        return await self._run(
            lambda connection: in_savepoint(connection, lambda _: run_through(work(SqliteTransaction(connection)))),
            time_limit_s,
        )

    async def _run(self, work: Callable[[apsw.Connection], Result], time_limit_s: float | None = None) -> Result:
        if self._writer is None:
            raise apsw.CantOpenError("the database is closed")
        return await self._writer.run(work, time_limit_s or self._settings.statement_timeout_s)


class SqliteTransaction(SqliteDialogue):
    """A transaction on the writing connection, as work sees it that runs on the writer's thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        return self._connection.execute(sql, arguments).fetchall()

    fetch_long = fetch
    write = fetch

    async def change(self, sql: str, arguments: Sequence[object]) -> int:
        return _change(self._connection, sql, arguments)

    async def write_each(self, sql: str, rows: Iterable[Sequence[object]]) -> bool:
        try:
            in_savepoint(self._connection, lambda connection: _write_each(connection, sql, rows), "each")
        except NotAllWritten:
            return False
        return True

    async def transact(self, work: Work[Result], time_limit_s: float | None = None) -> Result:
        return await work(self)


def _change(connection: apsw.Connection, sql: str, arguments: Sequence[object]) -> int:
    connection.execute(sql, arguments).fetchall()
    return connection.changes()


def _write_each(connection: apsw.Connection, sql: str, rows: Iterable[Sequence[object]]) -> None:
    given = list(rows)
    before = connection.total_changes()
    connection.executemany(sql, given).fetchall()
    if connection.total_changes() - before != len(given):
        raise NotAllWritten


def run_through(work: Awaitable[Result]) -> Result:
    """Run a coroutine that has nothing to wait for.

    Raises:
        RuntimeError: it waited for something.
    """
    coroutine = cast("Coroutine[Any, Any, Result]", work)
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    coroutine.close()
    raise RuntimeError("the work of a transaction awaits nothing but what it asks of its connection")


def _translate_constraint(error: Any) -> ApiError:
    """Translate by the extended result code; the message names table and columns: https://sqlite.org/rescode.html."""
    names = ", ".join(re.findall(r"[^\s.,]+\.([^,]+)", str(error).partition(": ")[2]))
    match error.extendedresult:
        case apsw.SQLITE_CONSTRAINT_PRIMARYKEY | apsw.SQLITE_CONSTRAINT_UNIQUE | apsw.SQLITE_CONSTRAINT_ROWID:
            return KeyExists(f"a row with this {names or 'key'} exists already")
        case apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
            return ReferenceBroken("a foreign key would point nowhere")
        case apsw.SQLITE_CONSTRAINT_NOTNULL:
            return ValueRefused(f"{names} must not be null")
    return ValueRefused(f"the values break the rule {str(error).partition(': ')[2]}")


def _translate_sql_error(error: Any) -> ApiError | None:
    if str(error) == "integer overflow":
        return ValueRefused("the sum of these integers passes 64 bits")
    if str(error).startswith(("no such table", "no such column", "table ")):
        return SchemaMismatch("the database lacks a table or a column of the models; run: alembic upgrade head")
    return None


TRANSLATIONS: dict[type[BaseException], Callable[[Any], ApiError | None]] = {
    apsw.ConstraintError: _translate_constraint,
    apsw.InterruptError: lambda _: DatabaseBusy(
        "the statement took longer than its time limit; ask for less, or for what an index serves"
    ),
    apsw.FullError: lambda _: DatabaseBusy("the database's disk is full"),
    apsw.BusyError: lambda _: DatabaseBusy("the database is locked by another process; try again"),
    apsw.LockedError: lambda _: DatabaseBusy("the database is locked; try again"),
    ExportCutOff: lambda error: DatabaseBusy(str(error)),
    ReadersBusy: lambda _: DatabaseBusy("too many long questions are being answered; try again"),
    WriterBusy: lambda _: DatabaseBusy("too many writes are waiting; try again"),
    apsw.MismatchError: lambda _: ValueRefused("a value does not fit its column"),
    apsw.TooBigError: lambda _: ValueRefused("a value is too long for its column"),
    apsw.SQLError: _translate_sql_error,
    OverflowError: lambda _: ValueRefused("a value does not fit its column"),
    UnicodeError: lambda _: ValueRefused("a value does not fit its column"),
    ValueError: lambda error: ValueRefused(str(error)),
    apsw.Error: lambda _: DatabaseAway("the database file cannot be read or written; try again"),
    OSError: lambda _: DatabaseAway("the database file cannot be read or written; try again"),
}
