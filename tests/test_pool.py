"""The pool of PostgreSQL connections: whoever leaves early costs nobody a connection; and who waits for SQLite."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from src.core.errors import ApiError, DatabaseBusy
from src.db.engines.postgresql_pool import Pool, PoolExhausted
from src.db.engines.sqlite import SqliteDatabase
from src.db.engines.sqlite_reader import READER_THREADS
from tests.postgres import PostgresServer
from tests.server import settings_for


@asynccontextmanager
async def pool(server: PostgresServer, max_size: int, wait_s: float = 5) -> AsyncIterator[Pool]:
    made = Pool(lambda: asyncpg.connect(server.url), max_size, wait_s)
    yield made
    made.terminate()


def run(
    server: PostgresServer, scenario: Callable[[Pool], Awaitable[None]], max_size: int = 1, wait_s: float = 5
) -> None:
    async def main() -> None:
        async with pool(server, max_size, wait_s) as made:
            await scenario(made)
            assert [row[0] for row in await made.fetch("SELECT 42", [])] == [42]

    asyncio.run(main())


async def backend(made: Pool) -> int:
    rows = await made.fetch("SELECT pg_backend_pid()", [])
    return int(rows[0][0])


def test_free_connection_is_used_again(postgres_server: PostgresServer) -> None:
    async def scenario(made: Pool) -> None:
        assert len({await backend(made) for _ in range(5)}) == 1

    run(postgres_server, scenario, max_size=3)


def test_no_more_connections_than_allowed(postgres_server: PostgresServer) -> None:
    async def scenario(made: Pool) -> None:
        rows = await asyncio.gather(*(made.fetch("SELECT pg_backend_pid(), pg_sleep(0.02)", []) for _ in range(20)))
        assert 1 <= len({row[0][0] for row in rows}) <= 3

    run(postgres_server, scenario, max_size=3)


def test_wait_for_a_connection_ends(postgres_server: PostgresServer) -> None:
    async def scenario(made: Pool) -> None:
        slow = asyncio.create_task(made.fetch("SELECT pg_sleep(0.5)", []))
        await asyncio.sleep(0.1)
        with pytest.raises(PoolExhausted):
            await made.fetch("SELECT 1", [])
        await slow

    run(postgres_server, scenario, wait_s=0.1)


def test_error_of_the_server_keeps_the_connection(postgres_server: PostgresServer) -> None:
    async def scenario(made: Pool) -> None:
        before = await backend(made)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await made.fetch("SELECT 1 / 0", [])
        assert await backend(made) == before

    run(postgres_server, scenario)


def test_cancelled_statement_throws_its_connection_away(postgres_server: PostgresServer) -> None:
    async def scenario(made: Pool) -> None:
        before = await backend(made)
        task = asyncio.create_task(made.fetch("SELECT pg_sleep(30)", []))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await backend(made) != before

    run(postgres_server, scenario)


def test_cancelled_wait_leaves_the_connection_to_the_next(postgres_server: PostgresServer) -> None:
    async def scenario(made: Pool) -> None:
        slow = asyncio.create_task(made.fetch("SELECT pg_sleep(0.3)", []))
        await asyncio.sleep(0.1)
        impatient = asyncio.create_task(made.fetch("SELECT 1", []))
        patient = asyncio.create_task(made.fetch("SELECT 2", []))
        await asyncio.sleep(0.1)
        impatient.cancel()
        await slow
        assert (await patient)[0][0] == 2

    run(postgres_server, scenario)


def test_connection_that_the_server_ended_is_replaced(postgres_server: PostgresServer) -> None:
    async def scenario(made: Pool) -> None:
        before = await backend(made)
        other = await asyncpg.connect(postgres_server.url)
        await other.fetch("SELECT pg_terminate_backend($1)", before)
        await other.close()
        await asyncio.sleep(0.2)
        assert await backend(made) != before

    run(postgres_server, scenario)


def test_failed_connect_gives_its_place_back() -> None:
    async def scenario() -> None:
        async def fail() -> None:
            raise OSError("away")

        made = Pool(fail, 1, 0.2)
        for _ in range(3):
            with pytest.raises(OSError, match="away"):
                await made.fetch("SELECT 1", [])

    asyncio.run(scenario())


async def count_far(database: SqliteDatabase) -> ApiError | None:
    """Run a statement that takes seconds; what it ended in."""
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT count(*) FROM n"
    try:
        await database.fetch_long(count, ())
    except database.driver_errors as error:
        return database.translate(error)
    return None


async def ask_more_than_there_are_threads(path: Path) -> list[ApiError | None]:
    database = SqliteDatabase(settings_for(f"sqlite:///{path}", statement_timeout_s=1.5, pool_wait_s=0.3))
    await database.open()
    try:
        found = await asyncio.gather(*(count_far(database) for _ in range(READER_THREADS + 1)))
        rows = await database.fetch("SELECT 1", ())
        assert [tuple(row) for row in rows] == [(1,)]
        return found
    finally:
        await database.close()


def test_long_questions_to_sqlite_wait_for_a_thread_no_longer_than_for_a_connection(tmp_path: Path) -> None:
    found = asyncio.run(ask_more_than_there_are_threads(tmp_path / "busy.db"))
    said = sorted(str(error) for error in found)
    assert all(isinstance(error, DatabaseBusy) for error in found)
    assert sum("too many long questions" in text for text in said) == 1
    assert sum("longer than its time limit" in text for text in said) == READER_THREADS
