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
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from src.core.config import Settings

LARGEST_GROUP = 500
BUSY_TIMEOUT_MS = 5000

Rows = Sequence[Any]


class WriterBusy(Exception):
    """A write waited longer than its limit and was taken back before it ran."""


class Unit:
    """One request's write, and the place where its outcome is awaited."""

    def __init__(self, sql: str, arguments: Sequence[object], loop: asyncio.AbstractEventLoop) -> None:
        self.sql = sql
        self.arguments = arguments
        self.outcome: asyncio.Future[Rows] = loop.create_future()
        self._claims = [None]

    def claim(self) -> bool:
        """Take the unit, to run it or to give it up: exactly one of both succeeds (`list.pop` is atomic)."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def settle(self, result: Rows | BaseException) -> None:
        """Tell who waits; runs on the event loop."""
        if self.outcome.done():
            return
        if isinstance(result, BaseException):
            self.outcome.set_exception(result)
        else:
            self.outcome.set_result(result)


class Writer:
    """A thread with the only connection of this process that writes."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._wait_s = settings.pool_wait_s
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[Unit | None] = SimpleQueue()
        self._turn_fd = os.open(f"{path}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with self._turn():
            self._connection = _open_writer(path, settings)
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, sql: str, arguments: Sequence[object]) -> Rows:
        """Run one statement; when this returns it is committed and synced.

        Raises:
            WriterBusy: the write did not get its turn in time; nothing of it was or will be stored.
        """
        unit = Unit(sql, arguments, self._loop)
        self._waiting.put(unit)
        impatience = self._loop.call_later(self._wait_s, self._give_up, unit)
        try:
            return await unit.outcome
        finally:
            impatience.cancel()

    @staticmethod
    def _give_up(unit: Unit) -> None:
        if unit.claim():
            unit.settle(WriterBusy())

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

    def _run(self, group: list[Unit]) -> list[Rows | BaseException]:
        """Run the units in one transaction. If that is lost, each runs again in one of its own."""
        outcomes = self._run_together(group)
        if outcomes is None:
            return [outcome for unit in group for outcome in self._run([unit])]
        return outcomes

    def _run_together(self, group: list[Unit]) -> list[Rows | BaseException] | None:
        """Per unit its rows or its error, after the commit; None when SQLite rolled the transaction back."""
        try:
            with self._turn():
                self._connection.execute("BEGIN IMMEDIATE")
                outcomes: list[Rows | BaseException] = []
                for unit in group:
                    outcomes.append(self._run_unit(unit))
                    # A unit that ran now would commit by itself, so the whole group starts again.
                    if not self._connection.in_transaction:
                        return outcomes if len(group) == 1 else None
                self._connection.execute("COMMIT")
                return outcomes
        except (apsw.Error, OSError) as error:
            self._roll_back()
            return [error] * len(group)

    def _run_unit(self, unit: Unit) -> Rows | BaseException:
        # A single statement undoes itself when it fails, so it needs no savepoint. Whatever the error is, it
        # belongs to who asked and not to the thread.
        try:
            return self._connection.execute(unit.sql, unit.arguments).fetchall()
        except Exception as error:
            return error

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


def _settle_all(group: list[Unit], outcomes: list[Rows | BaseException]) -> None:
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
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection
