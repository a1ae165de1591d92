"""Which numbers of a device have arrived: a pure account of ranges, without a database."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

FIRST = 1
# More holes than any device has that counts; past them, numbers are stored but not covered.
MAX_RANGES = 10_000

Range = tuple[int, int]
"""The first and the last number."""


class Received(NamedTuple):
    """The numbers that have arrived: all from 1 to the largest but those of the missing ranges."""

    through: int = 0
    """The largest number that has arrived; 0 before the first."""
    missing: tuple[Range, ...] = ()
    """In order, without overlaps; all below the largest."""

    @property
    def contiguous_through(self) -> int:
        """The largest number up to which none is missing."""
        return self.missing[0][0] - 1 if self.missing else self.through

    def with_numbers(self, numbers: Iterable[int]) -> "Received":
        """The account after more numbers have arrived, in any order, old ones among them; from 1 on they count."""
        runs = list(runs_of(numbers))
        missing, through = list(_difference(self.missing, runs)), self.through
        if len(missing) > MAX_RANGES:
            # What lies behind the last hole that there is room for is not covered any more, until others close.
            return Received(missing[MAX_RANGES][0] - 1, tuple(missing[:MAX_RANGES]))
        for first, last in runs:
            if last <= through:
                continue
            if first > through + 1:
                if len(missing) >= MAX_RANGES:
                    break
                missing.append((through + 1, first - 1))
            through = last
        return Received(through, tuple(missing))


def runs_of(numbers: Iterable[int]) -> Iterator[Range]:
    """Yield the runs of consecutive numbers from 1 on, in order."""
    first = last = 0
    for number in sorted(numbers):
        if number < FIRST:
            continue
        if first and number <= last + 1:
            last = number
            continue
        if first:
            yield first, last
        first = last = number
    if first:
        yield first, last


def _difference(ranges: Sequence[Range], taken: Sequence[Range]) -> Iterator[Range]:
    """Yield what is left of ranges when others are taken out of them; both in order."""
    place = 0
    for first, last in ranges:
        while place < len(taken) and taken[place][1] < first:
            place += 1
        left, at = first, place
        while at < len(taken) and taken[at][0] <= last:
            if left < taken[at][0]:
                yield left, taken[at][0] - 1
            left = taken[at][1] + 1
            at += 1
        if left <= last:
            yield left, last
        # The last one may reach into the next range.
        place = max(place, at - 1)
