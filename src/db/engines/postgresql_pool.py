"""A pool of asyncpg connections that costs next to nothing while a connection is free.

asyncpg's own pool shields, times and resets every release: 40 µs of a request that takes 100. Here a free connection is
popped from a list and pushed back. Whoever leaves one in an unknown state throws it away.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg

Connection = Any
Result = TypeVar("Result")
Connect = Callable[[], Awaitable[Connection]]


class PoolExhausted(Exception):
    """No connection became free in time."""


class Pool:
    """At most `max_size` connections, made when they are needed; the last one used is the next."""

    def __init__(self, connect: Connect, max_size: int, wait_s: float) -> None:
        self._connect = connect
        self._max_size = max_size
        self._wait_s = wait_s
        self._size = 0
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()

    @property
    def gauges(self) -> dict[str, float]:
        """How many connections there may be, are, and are in use, and how many requests wait for one."""
        return {
            "database_pool_size": self._max_size,
            "database_pool_connections": self._size,
            "database_pool_in_use": self._size - len(self._idle),
            "database_pool_waiting": sum(not turn.done() for turn in self._waiting),
        }

    async def fetch(self, sql: str, arguments: Sequence[object]) -> list[Any]:
        """Run one statement on a free connection; all of its rows.

        Raises:
            PoolExhausted: none became free in time.
        """
        connection = await self._acquire()
        try:
            rows: list[Any] = await connection.fetch(sql, *arguments)
        except asyncpg.PostgresError:
            # The server answered, so the connection is as it was.
            self._release(connection)
            raise
        except BaseException:
            self._discard(connection)
            raise
        self._release(connection)
        return rows

    async def transact(self, work: Callable[[Connection], Awaitable[Result]], time_limit_s: float) -> Result:
        """Run work in a transaction on a free connection: committed when this returns, undone when it raises.

        Raises:
            PoolExhausted: none became free in time.
            TimeoutError: the work took too long.
        """
        connection = await self._acquire()
        try:
            async with asyncio.timeout(time_limit_s):
                await connection.execute("BEGIN")
                result = await work(connection)
                # Of a transaction that has failed, PostgreSQL makes a ROLLBACK without an error.
                if await connection.execute("COMMIT") != "COMMIT":
                    raise asyncpg.InFailedSQLTransactionError("an error inside of the transaction was passed over")
        except Exception as error:
            # After a time limit or a broken line, what the server is doing is unknown.
            if isinstance(error, OSError):
                self._discard(connection)
            else:
                await self._roll_back(connection)
            raise
        except BaseException:
            self._discard(connection)
            raise
        self._release(connection)
        return result

    async def _roll_back(self, connection: Connection) -> None:
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except BaseException as error:
            self._discard(connection)
            if not isinstance(error, Exception):
                raise
        else:
            self._release(connection)

    def terminate(self) -> None:
        """Drop every connection that nobody uses; those in use end when they are given back."""
        self._max_size = 0
        while self._idle:
            self._discard(self._idle.pop())

    async def _acquire(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._size -= 1
        if self._size < self._max_size:
            return await self._make()
        return await self._wait()

    async def _make(self) -> Connection:
        self._size += 1
        try:
            return await self._connect()
        except BaseException:
            self._give_up_place()
            raise

    async def _wait(self) -> Connection:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Connection | None] = loop.create_future()
        self._waiting.append(turn)
        impatience = loop.call_later(self._wait_s, _end_wait, turn)
        try:
            connection = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._pass_on(turn.result())
            raise
        finally:
            impatience.cancel()
        # None is a place instead of a connection: the one that stood there was thrown away.
        return connection if connection is not None else await self._make()

    def _pass_on(self, connection: Connection | None) -> None:
        if connection is not None:
            self._release(connection)
        else:
            self._wake(None)

    def _release(self, connection: Connection) -> None:
        if connection.is_closed() or connection.is_in_transaction() or self._size > self._max_size:
            self._discard(connection)
        elif not self._wake(connection):
            self._idle.append(connection)

    def _discard(self, connection: Connection) -> None:
        connection.terminate()
        self._give_up_place()

    def _give_up_place(self) -> None:
        self._size -= 1
        self._wake(None)

    def _wake(self, connection: Connection | None) -> bool:
        """Hand a connection, or the place of one, to who waits longest; False when nobody waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return True
        return False


def _end_wait(turn: asyncio.Future[Connection | None]) -> None:
    if not turn.done():
        turn.set_exception(PoolExhausted())
