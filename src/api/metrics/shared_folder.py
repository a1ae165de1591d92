"""A folder where the processes of one service leave their figures for each other: whoever is asked tells of all.

    1.lock, 2.lock, ...   held by the process that has the number; the kernel frees it however that process ends
    1.json, 2.json, ...   its figures, replaced as a whole every second and before they are told to anybody

Whoever takes a number over counts on from the figures that were left there, so that no counter ever goes back and
there are no more files than processes at once.
"""

import fcntl
import itertools
import os
import threading
import time
from pathlib import Path

import msgspec

from src.api.metrics.figures import BOUNDS_S, Figures, summed

# Past this age, what a file says of the moment is no longer so: its process is gone or stands still.
STALE_S = 5.0


class SharedFolder:
    """The folder, and the place in it that this process has taken. Its methods block; they run on a thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._writing = threading.Lock()
        self.number, self._lock_fd = _take_number(folder)
        self._before = _read(self._path) or Figures()

    @property
    def _path(self) -> Path:
        return self._folder / f"{self.number}.json"

    def continued(self, figures: Figures) -> Figures:
        """The figures of this process and of those that had its number before."""
        before = self._before
        return Figures(summed([before, figures]), before.cpu_s + figures.cpu_s, figures.gauges)

    def write(self, figures: Figures) -> None:
        """Leave the figures for the others, whole or not at all."""
        # Who waited for an earlier one may have been cancelled, and its thread goes on.
        with self._writing:
            new = self._path.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(figures))
            new.replace(self._path)

    def read(self) -> dict[int, Figures]:
        """What each process has left, by its number."""
        found = ((path.stem, _read(path)) for path in self._folder.glob("*.json"))
        return {int(stem): figures for stem, figures in found if figures and stem.isdigit()}

    def leave(self) -> None:
        """Give the number back."""
        os.close(self._lock_fd)


def _take_number(folder: Path) -> tuple[int, int]:
    """Take the lowest number that no living process has; it, and the file descriptor that holds its lock."""
    for number in itertools.count(1):
        lock_fd = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock_fd)
        else:
            return number, lock_fd
    raise AssertionError("there is always a next number")


def _read(path: Path) -> Figures | None:
    """The figures in a file; nothing where there are none that this version of the service could add up."""
    try:
        age_s = time.time() - path.stat().st_mtime
        figures = msgspec.json.decode(path.read_bytes(), type=Figures)
    except (OSError, msgspec.DecodeError):
        return None
    if figures.bounds_s != BOUNDS_S or any(len(series.counts) != len(BOUNDS_S) + 1 for series in figures.series):
        return None
    if age_s > STALE_S:
        figures.gauges = {}
    return figures
