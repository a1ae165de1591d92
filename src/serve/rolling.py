"""A rolling restart: new workers take over from old ones, one after the other, while requests go on.

    old worker serves ─▶ new one starts ─▶ says that it serves ─▶ old one retires ─▶ has ended ─▶ the next

A new worker is a fresh interpreter, so it has the code and the settings that are there now. When one cannot start, the
old ones go on serving.
"""

import logging
import time

from src.serve.slots import WorkerSlot

# How long a new worker may take until it serves.
START_S = 60.0
# How often to look whether it does.
STEP_S = 0.05

log = logging.getLogger("serve")


class RollingRestart:
    """Replaces workers in the supervisor's list of slots, step by step."""

    def __init__(self, slots: list[WorkerSlot], patience_s: float) -> None:
        self._slots = slots
        self._patience_s = patience_s
        self._old: list[WorkerSlot] = []
        self._new: WorkerSlot | None = None
        self._retired: WorkerSlot | None = None
        self._deadline = 0.0

    @property
    def is_under_way(self) -> bool:
        """Whether there is a next step."""
        return bool(self._old or self._new or self._retired)

    @property
    def others(self) -> list[WorkerSlot]:
        """Those that are not in the list of slots: one that starts, one that has retired."""
        return [slot for slot in (self._new, self._retired) if slot]

    def begin(self) -> None:
        """Replace all workers that are in the list now, also those that an earlier signal has brought there."""
        log.info("Restarting: each worker is replaced once a new one serves")
        replaced = self._old[0] if self._old else None
        self._old = list(self._slots)
        if self._new is not None and replaced is not None:
            # The one that starts may be older than what the signal is about: it takes its place first, and goes last.
            self._old.remove(replaced)
            self._old = [replaced, *self._old, self._new]

    def step(self) -> None:
        """Go as far as one can go now."""
        if self._retired is not None:
            self._see_off(self._retired)
        elif self._new is not None:
            self._look_at(self._new)
        elif self._old:
            self._new = WorkerSlot(self._old[0].number, self._old[0].command)
            self._new.tend()
            self._deadline = time.monotonic() + START_S

    def _look_at(self, new: WorkerSlot) -> None:
        if new.has_served():
            self._take_over(new)
        elif not new.is_alive or time.monotonic() > self._deadline:
            new.end()
            self._new = None
            self._old = []
            log.error("A new worker did not come to serve, so the restart is given up and the others serve on")

    def _take_over(self, new: WorkerSlot) -> None:
        old = self._old.pop(0)
        self._slots[self._slots.index(old)] = new
        self._new, self._retired = None, old
        old.retire()
        self._deadline = time.monotonic() + self._patience_s

    def _see_off(self, retired: WorkerSlot) -> None:
        if retired.is_alive and time.monotonic() < self._deadline:
            return
        retired.end()
        self._retired = None
        if not self._old:
            log.info("Restarted: every worker is a new one")
