"""A URL -> the engine for it, and what every engine offers."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from src.core.config import Settings
from src.core.errors import ApiError
from src.db.queries.statement import Dialect

Row = Sequence[Any]
Result = TypeVar("Result")


class Connection(Protocol):
    """What statements run on: a database, where each stands for itself, or one transaction of it.

    Methods raise the driver's own errors.
    """

    dialect: Dialect
    driver_errors: tuple[type[BaseException], ...]
    """What the driver raises; `translate` turns each into one of ours."""
    takes_bulk: bool
    """Whether many rows are to go in one statement, if the dialect has one for them. Where that would not tell which
    row was refused, the work runs again on a connection without it."""

    takes_rows: bool
    """Whether many rows are to go by `write_rows`, where they do not go in one statement."""

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Row]:
        """Run a statement that reads; all of its rows."""

    async def fetch_long(self, sql: str, arguments: Sequence[object]) -> Sequence[Row]:
        """Run a statement that looks at many rows before it has an answer; all of its rows."""

    async def write(self, sql: str, arguments: Sequence[object]) -> Sequence[Row]:
        """Run one statement that writes, atomic by itself; the rows that it returns.

        When this returns outside of a transaction, the write is committed and survives a power cut.
        """

    async def change(self, sql: str, arguments: Sequence[object]) -> int:
        """Run one statement that writes and returns nothing; the number of rows that it wrote."""

    async def write_rows(self, sql: str, rows: Sequence[Sequence[object]]) -> Sequence[Row]:
        """Run one statement that writes for each of many rows of arguments, all or none; the rows that they return."""

    async def transact(
        self, work: "Callable[[Connection], Awaitable[Result]]", time_limit_s: float | None = None
    ) -> Result:
        """Run work in one transaction: when this returns it is committed, when it raises nothing of it is stored.

        It may take as long as a statement, or `time_limit_s`. Inside of a transaction, the work becomes a part of that,
        within that one's time.

        Work awaits nothing but what it asks of the connection that it is given, and has no other effect: it may run
        again from its beginning, when its transaction was lost or when it has to be told more about an error. After an
        error it may ask the same connection what was wrong.
        """

    def translate(self, error: BaseException) -> ApiError | None:
        """The error of ours that a driver's error stands for; None when it is a defect."""


Work = Callable[[Connection], Awaitable[Result]]


class Database(Connection, Protocol):
    """A database as the application holds it."""

    async def open(self) -> None:
        """Make ready to serve. Succeeds while the database is away: connections are made when needed."""

    async def close(self) -> None:
        """Finish what was accepted, then let go of every connection."""

    def stream(self, sql: str, arguments: Sequence[object]) -> AsyncGenerator[Sequence[Row], None]:
        """Run a statement that reads, and yield its rows in batches from one snapshot, in constant memory.

        The next batch is read while the last one is used. Whoever stops early closes the generator, which frees
        the connection; so does a limit (of time, of the write-ahead log) that the stream runs into.
        """


def connect(settings: Settings) -> Database:
    """Make the engine for the settings' database; it opens in the application's lifespan."""
    if settings.is_sqlite:
        from src.db.engines.sqlite import SqliteDatabase  # noqa: PLC0415  only the driver that is used

        return SqliteDatabase(settings)
    from src.db.engines.postgresql import PostgresqlDatabase  # noqa: PLC0415

    return PostgresqlDatabase(settings)
