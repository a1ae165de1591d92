"""What exports have in common on every engine: how many may run, how they read, why one is cut off."""

import contextlib
from collections.abc import Iterator, Sequence

# The first rows leave soon; later ones in batches that cost little to ask for. A row may be as large as a body.
FIRST_BATCH, LARGEST_BATCH = 100, 500
BATCH_CHARACTERS = 500_000
TOOK_TOO_LONG = "the export took longer than its time limit; ask for less"


def size_of(rows: Sequence[Sequence[str]]) -> int:
    """The characters of the rows' texts."""
    return sum(len(row[0]) for row in rows)


def next_batch(rows: Sequence[Sequence[str]]) -> int:
    """How many rows to ask for after these: as many as have the size of a batch, and at most twice as many."""
    wanted = BATCH_CHARACTERS * len(rows) // max(1, size_of(rows))
    return max(1, min(wanted, 2 * len(rows), LARGEST_BATCH))


class ExportCutOff(Exception):
    """An export did not begin, or ran into a limit; the text is for who asked for it."""


class ExportPlaces:
    """A number of exports that may run at once: each holds a snapshot that the database keeps for it."""

    def __init__(self, count: int) -> None:
        self._count = self._free = count

    @property
    def taken(self) -> int:
        """How many exports run now."""
        return self._count - self._free

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for as long as an export runs.

        Raises:
            ExportCutOff: none is free.
        """
        if not self._free:
            raise ExportCutOff("as many exports run as may run at once; try again later")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
