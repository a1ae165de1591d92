"""One row by key for callers who say who they are, against the same service when it asks nobody."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

from benchmarks import data
from benchmarks.load import Requests
from benchmarks.report import Found, cell, figures, markdown, ratio
from benchmarks.targets import SERVICE, Bench, Load, measure_in_turn, serve
from tests.callers import make_key
from tests.key_server import PROJECT, KeyServer

BAR = 0.75
OFF = "off"
PERSON = 7
OF_OFF = "of the rate when it is off"


def run(bench: Bench) -> Found:
    """Measure all callers on the same rows: the events of one person, who reads with a token of theirs."""
    paths = [f"/events/{data.event_id(number)}" for number in data.events_of(PERSON, bench.rows)]
    with closing(KeyServer()) as keys, ExitStack() as stack:
        settings = {"AUTHENTICATION": "on", "FIREBASE_PROJECT_ID": PROJECT, "FIREBASE_KEYS_URL": keys.url}
        is_off = stack.enter_context(serve(SERVICE, bench))
        is_on = stack.enter_context(serve(SERVICE, bench, **settings))
        api_key = ("X-API-Key", make_key(bench.url, "events:read"))
        token = ("Authorization", f"Bearer {keys.sign(f'user-{PERSON}')}")
        loads = {
            OFF: Load(is_off.port, Requests(paths)),
            "API key": Load(is_on.port, Requests(paths, headers=(api_key,))),
            "Firebase token": Load(is_on.port, Requests(paths, headers=(token,))),
        }
        measures = measure_in_turn(loads, bench.pace)
    return {caller: figures(each) | {OF_OFF: ratio(each, measures[OFF])} for caller, each in measures.items()}


def misses(_: str, found: Found) -> Iterator[str]:
    """The callers for whom the service is too slow."""
    for caller, shown in found.items():
        if shown[OF_OFF] < BAR:
            yield f"one row by key, {caller}: {shown[OF_OFF]} of the rate without authentication, not {BAR}"


def table(databases: dict[str, Found]) -> str:
    """The callers of all databases."""
    head = ["database", "authentication", SERVICE, OF_OFF]
    rows = [
        [kind, caller, cell(shown), str(shown[OF_OFF])]
        for kind, found in databases.items()
        for caller, shown in found.items()
    ]
    return markdown("One row by key, by who asks: requests per second (p50 / p99 in ms):", head, rows)
