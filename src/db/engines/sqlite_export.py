"""Exports from SQLite: rows in batches, on a thread and a connection of their own.

An open reader keeps the write-ahead log from shrinking: beside one, 20 s of writes made it 2.7 GB long. So an
export that lets it grow past a limit is cut off, also while its client takes nothing, and a checkpoint follows.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from src.core.config import Settings
from src.db.engines.exports import BATCH_CHARACTERS, FIRST_BATCH, LARGEST_BATCH, TOOK_TOO_LONG, ExportCutOff
from src.db.engines.sqlite_reader import OPCODES_BETWEEN_CHECKS, open_reader

WATCH_INTERVAL_S = 0.1
LOG_GREW = "the export was too slow beside so many writes; ask for less, or when less is written"

Rows = Sequence[Any]


async def export(path: Path, settings: Settings, sql: str, arguments: Sequence[object]) -> AsyncGenerator[Rows, None]:
    """Yield the rows of a statement; the next batch is read while the last one is used."""
    reader = _Reader(path, settings, sql, arguments)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="sqlite-export") as thread:
        watching = asyncio.create_task(_watch(reader))
        reading = loop.run_in_executor(thread, reader.next_rows, FIRST_BATCH)
        try:
            while rows := await reading:
                reading = loop.run_in_executor(thread, reader.next_rows, LARGEST_BATCH)
                yield rows
        finally:
            watching.cancel()
            reader.stop()
            with contextlib.suppress(Exception):
                await reading
            await loop.run_in_executor(thread, reader.close)


async def _watch(reader: "_Reader") -> None:
    """Let go of the snapshot once a limit is passed, also when nobody asks for the next rows."""
    while not reader.reason:
        await asyncio.sleep(WATCH_INTERVAL_S)
        reader.check_limits()
        if reader.reason:
            await asyncio.to_thread(reader.close)


def _take(rows: Iterator[Sequence[str]], count: int) -> Iterator[Sequence[str]]:
    size = 0
    for row in islice(rows, count):
        yield row
        size += len(row[0])
        if size > BATCH_CHARACTERS:
            return


class _Reader:
    """A connection in the middle of a statement. Its methods but `stop` run on any thread, one at a time."""

    def __init__(self, path: Path, settings: Settings, sql: str, arguments: Sequence[object]) -> None:
        self.reason = ""
        """Why the export was cut off."""
        self._path = path
        self._settings = settings
        self._deadline = time.monotonic() + settings.export_timeout_s
        self._is_stopped = False
        self._turn = threading.Lock()
        self._connection: apsw.Connection | None = open_reader(path)
        self._connection.set_progress_handler(self._is_at_end, OPCODES_BETWEEN_CHECKS)
        self._statement = sql, arguments
        self._cursor: Any = None

    def next_rows(self, count: int) -> Rows:
        """Read the next rows, fewer than `count` where they are long; none at the end.

        Raises:
            ExportCutOff: a limit was passed.
        """
        with self._turn:
            self.check_limits()
            if self.reason or self._connection is None:
                raise ExportCutOff(self.reason or TOOK_TOO_LONG)
            try:
                if self._cursor is None:
                    self._cursor = self._connection.execute(*self._statement)
                return list(_take(self._cursor, count))
            except apsw.InterruptError as error:
                raise ExportCutOff(self.reason or TOOK_TOO_LONG) from error

    def check_limits(self) -> None:
        """Note the limit that is passed, if one is."""
        if time.monotonic() > self._deadline:
            self.reason = TOOK_TOO_LONG
        elif log_bytes(self._path) > self._settings.export_wal_limit_bytes:
            self.reason = LOG_GREW

    def stop(self) -> None:
        """End the statement at its next check."""
        self._is_stopped = True

    def close(self) -> None:
        """Let go of the snapshot, and shorten the log if it has grown behind it."""
        self.stop()
        with self._turn:
            if self._connection is None:
                return
            if self._cursor is not None:
                self._cursor.close(True)
            if log_bytes(self._path) > self._settings.sqlite_wal_limit_bytes:
                self._shorten_log(self._connection)
            self._connection.close(True)
            self._connection = None

    def _shorten_log(self, connection: apsw.Connection) -> None:
        connection.set_progress_handler(None)
        # Others may read or write now; then the log is shortened by a later checkpoint.
        with contextlib.suppress(apsw.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _is_at_end(self) -> bool:
        return self._is_stopped or time.monotonic() > self._deadline


def log_bytes(path: Path) -> int:
    """The size of a database's write-ahead log."""
    try:
        return os.stat(f"{path}-wal").st_size  # noqa: PTH116  a suffix, not a path's part
    except FileNotFoundError:
        return 0
