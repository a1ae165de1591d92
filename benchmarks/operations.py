"""What applications ask all day: the service against its floor, and against what one would write by hand."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks import data
from benchmarks.load import Measure, Requests
from benchmarks.report import Found, cell, figures, markdown, ratio
from benchmarks.targets import BY_HAND, FLOOR, SERVICE, Bench, Load, measure_in_turn, serve

OF_THE_FLOOR, OVER_BY_HAND = "of the floor", "over by hand"


class Operation(NamedTuple):
    """Requests of one kind, and how fast the service must answer them."""

    requests: Callable[[int], Requests]
    """From the number of events in the table."""
    bars: dict[str, float]
    """Per database, the share of the floor's rate."""
    over_by_hand: float | None = None
    """Times the rate of the application by hand; None where that does not know the request."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The applications that answer."""
        return (FLOOR, SERVICE, BY_HAND) if self.over_by_hand else (FLOOR, SERVICE)


def keys(rows: int) -> Requests:
    """Single events from all over the table."""
    chance = random.Random(1)
    return Requests([f"/events/{data.event_id(chance.randrange(rows))}" for _ in range(2000)])


def filtered_pages(_: int) -> Requests:
    """The latest events of one person after the other."""
    asked = "ts_gte=2026-01-01T00:00:00Z&sort=-ts&size=100"
    return Requests([f"/events?user_id=user-{person}&{asked}" for person in range(data.PEOPLE)])


def document_pages(_: int) -> Requests:
    """The latest events of one person whose document has a large number at a path: every second one."""
    asked = "event_data.dur_gte=5&size=100"
    return Requests([f"/events?user_id=user-{person}&{asked}" for person in range(data.PEOPLE)])


def expanded_pages(_: int) -> Requests:
    """Twenty people, each with ten sessions inside."""
    asked = f"expand=sessions(limit:{data.SESSIONS})&size=20"
    return Requests([f"/users?{asked}&page={page}" for page in range(1, data.PEOPLE // 20 + 1)])


def creates(_: int) -> Requests:
    """Events of different people and kinds, with documents of different shapes."""
    bodies = (json.dumps(new_event(number), ensure_ascii=False) for number in range(40))
    return Requests(["/events"], tuple(bodies), (("Content-Type", "application/json"),))


def new_event(number: int) -> dict[str, object]:
    """An event, one of many kinds."""
    documents = (
        {"screen": "home", "dur": number / 8},
        {"screen": "straße", "items": [*range(number % 7)], "is_first": number % 2 == 0},
        {"error": {"code": 500 + number, "text": "the device lost its connection " * (number % 4)}},
        None,
    )
    return {
        "user_id": f"user-{number * 37 % data.PEOPLE}",
        "session_id": f"session-{number * 37 % data.PEOPLE}-{number % data.SESSIONS}",
        "event_type": data.TYPES[number * 7 % len(data.TYPES)],
        "event_data": documents[number % len(documents)],
        "event_source": ("app", "server")[number % 2],
        "log_level": ("info", "warning", "error")[number % 3],
        "ts": f"2026-03-{1 + number % 28:02}T09:{number:02}:00.{number * 25:03}+00:00",
    }


# Creates come last: they make the table grow. `docs/speed.md` says why the bars are what they are.
OPERATIONS = {
    "one row by key": Operation(keys, {"postgresql": 0.60, "sqlite": 0.50}, 5.0),
    "page of 100, filtered and sorted": Operation(filtered_pages, {"postgresql": 0.80, "sqlite": 0.75}, 6.0),
    "page of 100, by a value inside a document": Operation(document_pages, {"postgresql": 0.70, "sqlite": 0.70}),
    "page of 20, each with 10 related rows": Operation(expanded_pages, {"postgresql": 0.70, "sqlite": 0.70}),
    "create": Operation(creates, {"postgresql": 0.60, "sqlite": 0.60}, 3.0),
}


def run(bench: Bench) -> Found:
    """Measure every operation on every application that knows it."""
    # Without PostgreSQL there is no application by hand: its driver would load a second SQLite library.
    targets = [FLOOR, SERVICE] if bench.kind == "sqlite" else [FLOOR, SERVICE, BY_HAND]
    with ExitStack() as stack:
        ports = {target: stack.enter_context(serve(target, bench)).port for target in targets}
        found = {}
        for name, operation in OPERATIONS.items():
            requests = operation.requests(bench.rows)
            loads = {target: Load(ports[target], requests) for target in operation.targets if target in ports}
            found[name] = _summary(measure_in_turn(loads, bench.pace))
        return found


def _summary(measures: dict[str, list[Measure]]) -> Found:
    shown: Found = {target: figures(each) for target, each in measures.items()}
    shown[OF_THE_FLOOR] = ratio(measures[SERVICE], measures[FLOOR])
    if BY_HAND in measures:
        shown[OVER_BY_HAND] = ratio(measures[SERVICE], measures[BY_HAND])
    return shown


def misses(kind: str, found: Found) -> Iterator[str]:
    """The bars that were missed on one kind of database."""
    for name, operation in OPERATIONS.items():
        shown, bar, over = found[name], operation.bars[kind], operation.over_by_hand
        if shown[OF_THE_FLOOR] < bar:
            yield f"{name}: {shown[OF_THE_FLOOR]} of the floor, not {bar}"
        if over and shown.get(OVER_BY_HAND, over) < over:
            yield f"{name}: {shown[OVER_BY_HAND]} times by hand, not {over}"


def table(databases: dict[str, Found]) -> str:
    """The operations of all databases."""
    head = ["database", "operation", FLOOR, SERVICE, BY_HAND, OF_THE_FLOOR, OVER_BY_HAND]
    rows = [_line(kind, name, found[name]) for kind, found in databases.items() for name in OPERATIONS]
    return markdown("Requests per second (p50 / p99 in ms):", head, rows)


def _line(kind: str, name: str, shown: Found) -> list[str]:
    cells = [cell(shown.get(target)) for target in (FLOOR, SERVICE, BY_HAND)]
    over = f"{shown[OVER_BY_HAND]} times" if OVER_BY_HAND in shown else "-"
    return [kind, name, *cells, str(shown[OF_THE_FLOOR]), over]
