"""What one process counts of its requests, and what it says of itself at a moment.

A histogram of prometheus-client that is shared by several processes costs 3.6 µs a request with its counter of bytes,
6 % of reading a row; the lists here cost 0.3 (`docs/decisions/metrics.md`).
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

# From a row by its key on SQLite to an export.
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
# Clients may write any word there, and each would be a series of its own.
OTHER_METHOD = "other"


class Kind(NamedTuple):
    """Which requests are counted together."""

    method: str
    route: str
    """The path as it was declared; `-` for all paths that nobody declared."""
    status: int
    """Zero when the client went away before the answer began."""


class Series(msgspec.Struct):
    """The requests of one kind."""

    kind: Kind
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """How many took up to each bound and longer than the one before it; last, how many took longer than all."""
    seconds: float = 0.0
    bytes_sent: int = 0


class Figures(msgspec.Struct):
    """What a process, and those before it under the same number, have counted; and what is now."""

    series: list[Series] = []
    cpu_s: float = 0.0
    gauges: dict[str, float] = {}
    """By the name of their metric; empty when the process is gone."""
    bounds_s: tuple[float, ...] = BOUNDS_S


class RequestCounts:
    """Counts requests, on the way of each one."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int], Series] = {}

    def add(self, kind: tuple[str, str, int], seconds: float, bytes_sent: int) -> None:
        """Count one request."""
        series = self._series.get(kind)
        if series is None:
            series = self._add_series(Kind(*kind))
        series.counts[bisect_left(BOUNDS_S, seconds)] += 1
        series.seconds += seconds
        series.bytes_sent += bytes_sent

    def _add_series(self, kind: Kind) -> Series:
        if kind.method not in METHODS:
            kind = kind._replace(method=OTHER_METHOD)
        return self._series.setdefault(kind, Series(kind))

    def clear(self) -> None:
        """Count from nothing again."""
        self._series.clear()

    @property
    def series(self) -> list[Series]:
        """What was counted so far; counting goes on without changing it."""
        return [Series(each.kind, each.counts.copy(), each.seconds, each.bytes_sent) for each in self._series.values()]


def summed(figures: Iterable[Figures]) -> list[Series]:
    """The requests that several processes have counted, as if one had."""
    sums: dict[Kind, Series] = {}
    for one in (series for each in figures for series in each.series):
        total = sums.setdefault(one.kind, Series(one.kind))
        total.counts = [count + more for count, more in zip(total.counts, one.counts, strict=True)]
        total.seconds += one.seconds
        total.bytes_sent += one.bytes_sent
    return list(sums.values())
