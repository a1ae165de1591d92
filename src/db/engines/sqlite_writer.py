"""The one writer of a SQLite file in this process: it commits all writes that wait together.

One fsync serves many requests, so that durability (`synchronous=FULL`) costs little: with a disk that
takes 3 ms, one commit per request reaches 236 creates a second, a group commit 1,500. Writers of several
processes take turns by a lock on a file beside the database; SQLite's own busy handler sleeps and is unfair.
"""

import asyncio
import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import apsw

from src.core.config import Settings
from src.db.engines.sqlite_functions import add_functions
from src.db.engines.sqlite_reader import BUSY_TIMEOUT_MS, OPCODES_BETWEEN_CHECKS

LARGEST_GROUP = 500
# With the 2 MB of the default, a thousand rows spill half-done pages into the log.
CACHE_KIB = 32_000

Result = TypeVar("Result")
Work = Callable[[apsw.Connection], Any]
"""A short function of the writing connection."""


class WriterBusy(Exception):
    """A write waited longer than its limit and was taken back before it ran."""


class Failure:
    """What a unit ended in instead of a result."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Unit:
    """One request's write, and the place where its outcome is awaited."""

    def __init__(self, work: Work, time_limit_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.time_limit_s = time_limit_s
        self.outcome: asyncio.Future[Any] = loop.create_future()
        self.interrupt: apsw.InterruptError | None = None
        """Set when the unit ran out of time, which took the whole group's transaction with it."""
        self._claims = [None]

    def claim(self) -> bool:
        """Take the unit, to run it or to give it up: exactly one of both succeeds (`list.pop` is atomic)."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def settle(self, result: Any) -> None:
        """Tell who waits; runs on the event loop."""
        if self.outcome.done():
            return
        if isinstance(result, Failure):
            self.outcome.set_exception(result.error)
        else:
            self.outcome.set_result(result)


class Writer:
    """A thread with the only connection of this process that writes."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._wait_s = settings.pool_wait_s
        self._deadline = 0.0
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[Unit | None] = SimpleQueue()
        self._turn_fd = os.open(f"{path}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with self._turn():
            self._connection = _open_writer(path, settings)
        self._connection.set_progress_handler(self._is_past_deadline, OPCODES_BETWEEN_CHECKS)
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[apsw.Connection], Result], time_limit_s: float) -> Result:
        """Run a short function on the writing connection; when this returns, what it wrote is committed and synced.

        The function runs on the writer's thread. It is one statement, which undoes itself when it fails, or stands
        `in_savepoint`; and it may run twice, when another unit of its group loses the transaction.

        Raises:
            WriterBusy: it did not get its turn in time; nothing of it was or will be stored.
            apsw.InterruptError: it took longer than its time limit; nothing of it is stored.
        """
        unit = Unit(work, time_limit_s, self._loop)
        self._waiting.put(unit)
        impatience = self._loop.call_later(self._wait_s, self._give_up, unit)
        try:
            result: Result = await unit.outcome
            return result
        finally:
            impatience.cancel()

    @property
    def waiting(self) -> int:
        """How many writes wait for the next group; those that were given up too, until it is their turn."""
        return self._waiting.qsize()

    @staticmethod
    def _give_up(unit: Unit) -> None:
        if unit.claim():
            unit.settle(Failure(WriterBusy()))

    async def close(self) -> None:
        """Commit what waits, then close the connection."""
        self._waiting.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        os.close(self._turn_fd)

    def _work(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                outcomes = self._run(group)
                self._loop.call_soon_threadsafe(_settle_all, group, outcomes)
        self._connection.close()

    def _next_group(self) -> tuple[list[Unit], bool]:
        """Wait for a write, then take all that wait; False when the writer is to end after them."""
        unit = self._waiting.get()
        group: list[Unit] = []
        while unit is not None:
            if unit.claim():
                group.append(unit)
            if len(group) == LARGEST_GROUP:
                return group, True
            try:
                unit = self._waiting.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _run(self, group: list[Unit]) -> list[Any]:
        """Run the units in one transaction. If that is lost, each runs again in one of its own."""
        outcomes = self._run_together(group)
        if outcomes is None:
            return [outcome for unit in group for outcome in self._run([unit])]
        return outcomes

    def _run_together(self, group: list[Unit]) -> list[Any] | None:
        """Per unit its result or its failure, after the commit; None when SQLite rolled the transaction back."""
        if len(group) == 1 and group[0].interrupt:
            return [Failure(group[0].interrupt)]
        try:
            with self._turn():
                self._deadline = float("inf")
                self._connection.execute("BEGIN IMMEDIATE")
                outcomes: list[Any] = []
                for unit in group:
                    outcomes.append(self._run_unit(unit))
                    # A unit that ran now would commit by itself, so the whole group starts again.
                    if not self._connection.in_transaction:
                        return outcomes if len(group) == 1 else None
                self._deadline = float("inf")
                self._connection.execute("COMMIT")
                return outcomes
        except (apsw.Error, OSError) as error:
            self._roll_back()
            return [Failure(error)] * len(group)

    def _run_unit(self, unit: Unit) -> Any:
        # Whatever the error is, it belongs to who asked and not to the thread.
        self._deadline = time.perf_counter() + unit.time_limit_s
        try:
            return unit.work(self._connection)
        except Exception as error:
            if isinstance(error, apsw.InterruptError):
                unit.interrupt = error
            return Failure(error)

    def _is_past_deadline(self) -> bool:
        return time.perf_counter() > self._deadline

    def _roll_back(self) -> None:
        with contextlib.suppress(apsw.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock that writers of all processes take in turn; the kernel frees it when a process dies."""
        fcntl.flock(self._turn_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn_fd, fcntl.LOCK_UN)


def in_savepoint(connection: apsw.Connection, work: Callable[[apsw.Connection], Result], name: str = "unit") -> Result:
    """Run several statements of which, when one fails, none is to stay."""
    connection.execute(f"SAVEPOINT {name}")
    try:
        result = work(connection)
    except BaseException:
        # Some errors take the whole transaction with them.
        if connection.in_transaction:
            connection.execute(f"ROLLBACK TO {name}")
            connection.execute(f"RELEASE {name}")
        raise
    connection.execute(f"RELEASE {name}")
    return result


def _settle_all(group: list[Unit], outcomes: list[Any]) -> None:
    for unit, outcome in zip(group, outcomes, strict=True):
        unit.settle(outcome)


def _open_writer(path: Path, settings: Settings) -> apsw.Connection:
    connection = apsw.Connection(str(path), statementcachesize=500)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    for pragma in (
        "journal_mode = wal",
        # With NORMAL a power cut could undo rows that were acknowledged.
        "synchronous = full",
        # SQLite ignores foreign keys unless each connection asks: https://sqlite.org/foreignkeys.html#fk_enable
        "foreign_keys = on",
        f"journal_size_limit = {settings.sqlite_wal_limit_bytes}",
        f"cache_size = -{CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    add_functions(connection)
    return connection
