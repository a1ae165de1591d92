"""The figures of this process, told together with those of its siblings."""

import asyncio
import contextlib
import logging
import os
import resource
import time
from pathlib import Path

from src.api.metrics.figures import Figures, RequestCounts
from src.api.metrics.shared_folder import SharedFolder
from src.db.connection import Database

PUBLISH_INTERVAL_S = 1.0

log = logging.getLogger("metrics")


class Metrics:
    """Counts from `open` to `close`. Without a folder there are no siblings."""

    def __init__(self) -> None:
        self.counts = RequestCounts()
        self._database: Database | None = None
        self._folder: SharedFolder | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # another one in each life, which may be on another event loop
        self._started_at = 0.0
        self._has_warned = False

    async def open(self, folder: str, database: Database) -> None:
        """Begin to count, and to leave the figures in a folder where one is named."""
        self.counts.clear()
        self._database = database
        self._started_at = time.time()
        self._turn = asyncio.Lock()
        if not folder:
            return
        try:
            self._folder = await asyncio.to_thread(SharedFolder, Path(folder))
        except OSError as error:
            self._warn(error)
        else:
            self._publishing = asyncio.create_task(self._publish_for_ever())

    async def close(self) -> None:
        """Leave what was counted until now; what is told of the moment ends."""
        self._database = None
        if self._publishing is not None:
            # In turn: what is being written on a thread goes on when who waits for it is cancelled.
            async with self._turn:
                self._publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publishing
        if self._folder is not None:
            await self._publish(self._folder)
            self._folder.leave()
        self._folder = self._publishing = None

    async def collect(self) -> dict[int, Figures]:
        """The figures of every process by its number. What is told here of this one has been left for the others."""
        folder = self._folder
        if folder is None:
            return {1: await self._now()}
        mine = await self._publish(folder)
        return await asyncio.to_thread(folder.read) | {folder.number: mine}

    async def _publish_for_ever(self) -> None:
        while self._folder is not None:
            await self._publish(self._folder)
            await asyncio.sleep(PUBLISH_INTERVAL_S)

    async def _publish(self, folder: SharedFolder) -> Figures:
        # In turn, so that older figures never replace newer ones.
        async with self._turn:
            figures = folder.continued(await self._now())
            try:
                await asyncio.to_thread(folder.write, figures)
            except OSError as error:
                self._warn(error)
            return figures

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("METRICS_DIR cannot be written, so /metrics may tell of one worker only: %s", error)

    async def _now(self) -> Figures:
        # On a thread, because with ten thousand connections open it takes milliseconds to count them.
        process = await asyncio.to_thread(self._process_gauges)
        times = os.times()
        gauges = {} if self._database is None else self._database.gauges() | process
        return Figures(self.counts.series, times.user + times.system, gauges)

    def _process_gauges(self) -> dict[str, float]:
        gauges = {"process_start_time_seconds": self._started_at}
        # Only Linux tells; elsewhere these figures are left out.
        with contextlib.suppress(OSError):
            pages = int(Path("/proc/self/statm").read_bytes().split()[1])
            gauges["process_resident_memory_bytes"] = pages * resource.getpagesize()
            gauges["process_open_fds"] = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names are enough
        return gauges
