"""A page of 100 events, plain and compressed: what the smaller answer costs."""

from collections.abc import Iterator
from statistics import mean

from benchmarks.cursors import AT_THE_END
from benchmarks.load import Requests, fetch
from benchmarks.report import Found, cell, figures, markdown, ratio
from benchmarks.targets import SERVICE, Bench, Load, measure_in_turn, serve

PLAIN = "identity"
CODINGS = (PLAIN, "zstd", "gzip")
OF_PLAIN = "of the plain rate"
PAGES_WEIGHED = 20


def run(bench: Bench) -> Found:
    """Measure each coding on the same pages."""
    pages = AT_THE_END.pages(bench.rows)
    requests = {coding: Requests(pages, headers=(("Accept-Encoding", coding),)) for coding in CODINGS}
    with serve(SERVICE, bench) as server:
        sizes = {coding: _mean_size(server.port, each) for coding, each in requests.items()}
        measures = measure_in_turn({coding: Load(server.port, each) for coding, each in requests.items()}, bench.pace)
    return {
        coding: figures(each) | {"bytes": sizes[coding], OF_PLAIN: ratio(each, measures[PLAIN])}
        for coding, each in measures.items()
    }


def _mean_size(port: int, requests: Requests) -> int:
    return round(mean(len(fetch(port, path, requests.headers)) for path in requests.paths[:PAGES_WEIGHED]))


def misses(_: str, __: Found) -> Iterator[str]:
    """None: what compression may cost depends on the network that it is for."""
    yield from ()


def table(databases: dict[str, Found]) -> str:
    """The codings of all databases."""
    head = ["database", "Accept-Encoding", SERVICE, "bytes", OF_PLAIN]
    rows = [
        [kind, coding, cell(shown), f"{shown['bytes']:,}", str(shown[OF_PLAIN])]
        for kind, found in databases.items()
        for coding, shown in found.items()
    ]
    return markdown("A page of 100 events, compressed: requests per second (p50 / p99 in ms):", head, rows)
