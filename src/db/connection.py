"""A URL -> the engine for it, and what every engine offers."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

from src.core.config import Settings
from src.core.errors import ApiError
from src.db.queries.statement import Dialect

Row = Sequence[Any]


class Database(Protocol):
    """A database as the executor sees it. Methods raise the driver's own errors."""

    dialect: Dialect
    driver_errors: tuple[type[BaseException], ...]
    """What the driver raises; `translate` turns each into one of ours."""

    async def open(self) -> None:
        """Make ready to serve. Succeeds while the database is away: connections are made when needed."""

    async def close(self) -> None:
        """Finish what was accepted, then let go of every connection."""

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Row]:
        """Run a statement that reads; all of its rows."""

    async def fetch_long(self, sql: str, arguments: Sequence[object]) -> Sequence[Row]:
        """Run a statement that looks at many rows before it has an answer; all of its rows."""

    def stream(self, sql: str, arguments: Sequence[object]) -> AsyncGenerator[Sequence[Row], None]:
        """Run a statement that reads, and yield its rows in batches from one snapshot, in constant memory.

        The next batch is read while the last one is used. Whoever stops early closes the generator, which frees
        the connection; so does a limit (of time, of the write-ahead log) that the stream runs into.
        """

    async def write(self, sql: str, arguments: Sequence[object]) -> Sequence[Row]:
        """Run one statement that writes, atomic by itself; the rows that it returns.

        When this returns, the write is committed and survives a power cut.
        """

    def translate(self, error: BaseException) -> ApiError | None:
        """The error of ours that a driver's error stands for; None when it is a defect."""


def connect(settings: Settings) -> Database:
    """Make the engine for the settings' database; it opens in the application's lifespan."""
    if settings.is_sqlite:
        from src.db.engines.sqlite import SqliteDatabase  # noqa: PLC0415  only the driver that is used

        return SqliteDatabase(settings)
    from src.db.engines.postgresql import PostgresqlDatabase  # noqa: PLC0415

    return PostgresqlDatabase(settings)
