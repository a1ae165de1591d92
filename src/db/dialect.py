"""SQLite for SQLAlchemy and Alembic through apsw: `sqlite+apsw`. For migrations; requests never come here.

Why not the driver that SQLAlchemy brings: two SQLite libraries in one process lose data. When Python's `sqlite3`
closes a file, POSIX drops the locks that apsw holds on it, and another process may overwrite a commit.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import apsw
from sqlalchemy import create_engine, pool
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import URL, Engine

BUSY_TIMEOUT_S = 60.0
BUSY_POLL_S = 0.001

# What a DBAPI module has to offer: https://peps.python.org/pep-0249/
apilevel: Literal["2.0"] = "2.0"
threadsafety = 1
paramstyle: Literal["qmark"] = "qmark"
sqlite_version_info = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


class Error(Exception):
    """The root of the errors that SQLAlchemy looks for."""


class DatabaseError(Error):
    """An error of the database."""


class OperationalError(DatabaseError):
    """The file is away, locked or full."""


class IntegrityError(DatabaseError):
    """A constraint does not hold."""


class InterfaceError(Error):
    """Named by SQLAlchemy; never raised here."""


class ProgrammingError(DatabaseError):
    """A statement that SQLite does not understand."""


DataError = InternalError = NotSupportedError = DatabaseError


class Cursor:
    """The rows of one statement, read at once: a half-read cursor would keep its transaction open."""

    arraysize = 1
    lastrowid: int | None = None
    rowcount = -1

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.description: tuple[tuple[Any, ...], ...] | None = None

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> "Cursor":
        """Begin a transaction if none is open, then run the statement to its end."""
        cursor = self._connection.cursor()
        try:
            if not self._connection.in_transaction and not statement.lstrip().upper().startswith("PRAGMA"):
                cursor.execute("BEGIN IMMEDIATE")
            before = self._connection.total_changes()
            cursor.exec_trace = self._describe
            self._rows = iter(cursor.execute(statement, tuple(parameters)).fetchall())
        except apsw.Error as error:
            raise _translate(error) from error
        self.rowcount = self._connection.total_changes() - before if self.description is None else -1
        self.lastrowid = self._connection.last_insert_rowid()
        return self

    def _describe(self, cursor: apsw.Cursor, _statement: str, _parameters: object) -> bool:
        """Note the columns before the first row: after the last one, also of none, apsw no longer tells."""
        columns = [(name, declared, None, None, None, None, None) for name, declared in cursor.get_description()]
        self.description = tuple(columns) or None
        return True

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> "Cursor":
        """Run the statement once per row of parameters."""
        changed = [self.execute(statement, row).rowcount for row in rows]
        self.rowcount = sum(changed)
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        """Return the next `size` rows."""
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows that are left."""
        return list(self._rows)

    def close(self) -> None:
        """Let go of the rows."""
        self._rows = iter(())


class Connection:
    """One connection. Every transaction is a writer's from its start, so that two migrations take turns."""

    def __init__(self, path: str, foreign_keys: bool) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self.apsw = open_file(path, BUSY_TIMEOUT_S)
            self.apsw.pragma("journal_mode", "wal")  # stays with the file; readers then never wait for a writer
            self.apsw.pragma("synchronous", "full")
            self.apsw.pragma("foreign_keys", foreign_keys)
        except apsw.Error as error:
            raise _translate(error) from error

    def cursor(self) -> Cursor:
        """Make a cursor."""
        return Cursor(self.apsw)

    def commit(self) -> None:
        """Commit, if a transaction is open."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Roll back, if a transaction is open."""
        self._end("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self.apsw.close()

    def _end(self, statement: str) -> None:
        try:
            if self.apsw.in_transaction:
                self.apsw.execute(statement)
        except apsw.Error as error:
            raise _translate(error) from error


def connect(path: str, foreign_keys: bool = True) -> Connection:
    """Open a file, which is made if there is none."""
    return Connection(path, foreign_keys)


def open_file(path: str, busy_timeout_s: float, *, read_only: bool = False) -> apsw.Connection:
    """Open a SQLite file that waits for its lock by short steps; SQLite's own handler sleeps up to 100 ms.

    To read only, the file has to exist. It is opened for writing all the same, and forbidden to: who may not
    write cannot remove the side files of the WAL either, and would leave them behind.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | (0 if read_only else apsw.SQLITE_OPEN_CREATE)
    connection = apsw.Connection(path, flags=flags)
    connection.set_busy_handler(_wait_for_lock(busy_timeout_s))
    connection.pragma("query_only", read_only)
    return connection


def _wait_for_lock(timeout_s: float) -> Callable[[int], bool]:
    started = 0.0

    def wait(calls: int) -> bool:
        nonlocal started
        started = started if calls else time.monotonic()
        time.sleep(BUSY_POLL_S)
        return time.monotonic() - started < timeout_s

    return wait


def _translate(error: apsw.Error) -> Error:
    """Turn an error of apsw into the one that SQLAlchemy knows."""
    if isinstance(error, apsw.ConstraintError):
        return IntegrityError(str(error))
    if isinstance(error, apsw.BusyError | apsw.CantOpenError | apsw.IOError | apsw.FullError | apsw.LockedError):
        return OperationalError(str(error))
    return ProgrammingError(str(error)) if isinstance(error, apsw.SQLError) else DatabaseError(str(error))


class ApswDialect(SQLiteDialect):
    """SQLAlchemy's SQLite dialect on this module's driver."""

    driver = "apsw"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """Return this module, which is the driver."""
        import sys  # noqa: PLC0415 - only here does the module look at itself

        return sys.modules[__name__]

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """Keep no connection: each migration opens the file and closes it."""
        return pool.NullPool

    def create_connect_args(self, url: URL) -> tuple[list[str], dict[str, Any]]:
        """Take the file's path from the URL."""
        return [str(Path(str(url.database)).absolute())], {}

    def get_isolation_level(self, dbapi_connection: Any) -> Literal["SERIALIZABLE"]:
        """Name the only level that there is."""
        return "SERIALIZABLE"

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        return sqlite_version_info


registry.register("sqlite.apsw", __name__, "ApswDialect")


def sqlite_engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    """Make an engine for the SQLite file of `url`."""
    return create_engine(url.set(drivername="sqlite+apsw"), connect_args={"foreign_keys": foreign_keys})
