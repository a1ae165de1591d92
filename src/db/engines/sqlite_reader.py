"""Connections that read a SQLite file, and the threads on which long reads run."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import apsw

from src.core.config import Settings
from src.db.engines.sqlite_functions import add_functions

BUSY_TIMEOUT_MS = 5000
OPCODES_BETWEEN_CHECKS = 200
READER_THREADS = 4


class ReadersBusy(Exception):
    """No thread became free in time."""


def open_reader(path: Path) -> apsw.Connection:
    """Open a connection that reads; it sees what was committed when its statement began."""
    connection = apsw.Connection(str(path), statementcachesize=500)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA query_only = on")
    add_functions(connection)
    return connection


class ReaderThreads:
    """Threads with a connection each, for statements that would hold up the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connections: SimpleQueue[apsw.Connection] = SimpleQueue()
        self._threads = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="sqlite-reader")
        self._free = asyncio.Semaphore(READER_THREADS)
        self._asked = self._running = 0

    def open(self, path: Path) -> None:
        """Open the connections."""
        for _ in range(READER_THREADS):
            self._connections.put(open_reader(path))

    def close(self) -> None:
        """Wait for what still runs, and close the connections."""
        self._threads.shutdown(wait=True)
        while not self._connections.empty():
            self._connections.get().close()

    async def fetch(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        """Run a statement; all of its rows.

        Raises:
            ReadersBusy: no thread became free in time.
            apsw.InterruptError: the statement took longer than one may take.
        """
        self._asked += 1
        try:
            await self._wait()
            self._running += 1
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._fetch_on_thread, sql, arguments)
            finally:
                self._running -= 1
                self._free.release()
        finally:
            self._asked -= 1

    @property
    def gauges(self) -> dict[str, float]:
        """How many threads there are and how many of them run a statement, and how many requests wait for one."""
        return {
            "database_pool_size": READER_THREADS,
            "database_pool_in_use": self._running,
            "database_pool_waiting": self._asked - self._running,
        }

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._settings.pool_wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise ReadersBusy from None

    def _fetch_on_thread(self, sql: str, arguments: Sequence[object]) -> Sequence[Any]:
        deadline = time.perf_counter() + self._settings.statement_timeout_s
        connection = self._connections.get()
        try:
            connection.set_progress_handler(lambda: time.perf_counter() > deadline, OPCODES_BETWEEN_CHECKS)
            return connection.execute(sql, arguments).fetchall()
        finally:
            connection.set_progress_handler(None)
            self._connections.put(connection)
