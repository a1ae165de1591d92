"""Cursor pages deep in an order, against the first page of the same order."""

import json
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import NamedTuple

from benchmarks import data
from benchmarks.load import Requests, fetch
from benchmarks.report import Found, cell, figures, markdown, median_ratio, ratio
from benchmarks.targets import SERVICE, Bench, Load, measure_in_turn, serve
from src.api.cursors import make_cursor
from src.api.query import parse_list_request, split_query
from src.models import event_log

BAR = 0.80
OF_THE_FIRST = "of the first page"
ALONE_PER_ROUND = 3


class Place(NamedTuple):
    """Where in an order the cursors stand."""

    query: str
    """What asks for the order and for a page of 100."""
    numbers: Callable[[int], range]
    """From the number of events in the table, the events behind which pages begin."""

    def pages(self, rows: int) -> list[str]:
        """A page behind each of these events."""
        asked = parse_list_request(event_log.TABLE.info, split_query(self.query))
        sort, digest = asked.query.sort, asked.digest
        texts = (json.dumps(data.event(number)) for number in self.numbers(rows))
        return [f"/events?{self.query}&cursor={make_cursor(sort, text, digest, is_backward=False)}" for text in texts]

    @property
    def first_page(self) -> str:
        """The page without a cursor."""
        return f"/events?{self.query}"


def oldest(rows: int) -> range:
    """Events behind which few are left, where the newest come first."""
    return range(200, min(2200, rows), 10)


def middle(rows: int) -> range:
    """Events in the middle of each of the groups of equal types."""
    return range(rows // 2, min(rows // 2 + 1800, rows), 9)


AT_THE_END = Place("size=100", oldest)
SERVED = {
    "default (-ts), at its end": AT_THE_END,
    "event_type,-ts, inside a quarter of equal types": Place("sort=event_type,-ts&size=100", middle),
    "event_source,-ts, a nullable column, all equal": Place("sort=event_source,-ts&size=100", middle),
}
# Nothing but sorting the rows answers these, so they are asked one at a time, and no bar holds.
NOT_SERVED = {
    "event_type, by key inside a quarter of equal types": Place("sort=event_type&size=100", middle),
    "-event_source, by key, all equal": Place("sort=-event_source&size=100", middle),
}


def run(bench: Bench) -> Found:
    """Measure every order."""
    with serve(SERVICE, bench) as server:
        served = {name: _under_load(place, server.port, bench) for name, place in SERVED.items()}
        return served | {name: _alone(place, server.port, bench) for name, place in NOT_SERVED.items()}


def _under_load(place: Place, port: int, bench: Bench) -> Found:
    requests = {"first": Requests([place.first_page]), "cursor": Requests(place.pages(bench.rows))}
    measures = measure_in_turn({name: Load(port, each) for name, each in requests.items()}, bench.pace)
    shown: Found = {name: figures(each) for name, each in measures.items()}
    return shown | {OF_THE_FIRST: ratio(measures["cursor"], measures["first"])}


def _alone(place: Place, port: int, bench: Bench) -> Found:
    pages = place.pages(bench.rows)
    fetch(port, place.first_page)
    first, cursor = [], []
    for number in range(ALONE_PER_ROUND * bench.pace.rounds):
        first.append(_milliseconds(port, place.first_page))
        cursor.append(_milliseconds(port, pages[number % len(pages)]))
    shown = {"first_ms": round(median(first), 1), "cursor_ms": round(median(cursor), 1)}
    return shown | {OF_THE_FIRST: median_ratio(first, cursor)}


def _milliseconds(port: int, path: str) -> float:
    began = perf_counter()
    fetch(port, path)
    return (perf_counter() - began) * 1000


def misses(_: str, found: Found) -> Iterator[str]:
    """The orders with an index whose cursor pages are slow."""
    for name in SERVED:
        if found[name][OF_THE_FIRST] < BAR:
            yield f"cursor page, {name}: {found[name][OF_THE_FIRST]} of the first page, not {BAR}"


def table(databases: dict[str, Found]) -> str:
    """The orders of all databases."""
    head = ["database", "order", "first page", "cursor page", OF_THE_FIRST]
    rows = [_line(kind, name, shown) for kind, found in databases.items() for name, shown in found.items()]
    title = "Pages of 100 by cursor: requests per second (p50 / p99 in ms); no index serves the orders in ms."
    return markdown(title, head, rows)


def _line(kind: str, name: str, shown: Found) -> list[str]:
    if name in SERVED:
        cells = [cell(shown["first"]), cell(shown["cursor"])]
    else:
        cells = [f"{shown['first_ms']:,} ms", f"{shown['cursor_ms']:,} ms"]
    return [kind, name, *cells, str(shown[OF_THE_FIRST])]
