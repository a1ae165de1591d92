"""A thousand events in one request against one event in one request, each by one client after the other."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from statistics import median

from benchmarks.operations import new_event
from benchmarks.report import Found, markdown
from benchmarks.targets import SERVICE, Bench, serve
from src.core.values import new_uuid

ROWS = 1000
# A thousand rows in one request cost less than so many times one row.
BAR = 15
MINIMAL, WHOLE = "return=minimal", "return=representation"
OF_ONE = "times one event"
REQUESTS_PER_ROUND = 20


def run(bench: Bench) -> Found:
    """Measure both, in turn, with and without the rows in the answer."""
    with serve(SERVICE, bench) as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        return {prefer: _compare(connection, prefer, bench.pace.rounds) for prefer in (MINIMAL, WHOLE)}


def _compare(connection: HTTPConnection, prefer: str, rounds: int) -> Found:
    headers = {"Content-Type": "application/json", "Prefer": prefer}
    one: list[float] = []
    many: list[float] = []
    for _ in range(rounds * REQUESTS_PER_ROUND):
        one += [_post(connection, _session(1)[0], headers) for _ in range(10)]
        many.append(_post(connection, _session(ROWS), headers))
    found = {"one_ms": round(median(one) * 1000, 2), "many_ms": round(median(many) * 1000, 2)}
    return found | {OF_ONE: round(median(many) / median(one), 1)}


def _session(rows: int) -> list[dict[str, object]]:
    """What a phone has kept: events of one person and one session."""
    whose = {"user_id": "user-1", "session_id": f"session-{new_uuid()}"}
    return [new_event(number % 40) | whose for number in range(rows)]


def _post(connection: HTTPConnection, body: object, headers: dict[str, str]) -> float:
    """Seconds from the first byte of the request to the last one of its answer."""
    content = json.dumps(body, ensure_ascii=False).encode()
    began = time.perf_counter()
    connection.request("POST", "/events", content, headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201, answer.status
    return time.perf_counter() - began


def misses(_: str, found: Found) -> Iterator[str]:
    """The bars that were missed on one kind of database."""
    for prefer, shown in found.items():
        if shown[OF_ONE] >= BAR:
            yield f"{ROWS} events in one request, {prefer}: {shown[OF_ONE]} times one event, not {BAR}"


def table(databases: dict[str, Found]) -> str:
    """Both, on all databases."""
    head = ["database", "`Prefer`", "one event, ms", f"{ROWS:,} events, ms", OF_ONE]
    rows = [
        [kind, prefer, str(shown["one_ms"]), str(shown["many_ms"]), str(shown[OF_ONE])]
        for kind, found in databases.items()
        for prefer, shown in found.items()
    ]
    return markdown(f"One event against {ROWS:,} in one request, one client, median:", head, rows)
