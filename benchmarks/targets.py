"""The databases and the servers that are measured."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.load import Measure, Requests, measure
from scripts.service_process import ServiceProcess
from tests.postgres import PostgresServer

FLOOR, SERVICE, BY_HAND = "floor", "service", "by hand"
APPS = {FLOOR: "benchmarks.floor:app", SERVICE: "src.main:app", BY_HAND: "benchmarks.by_hand:app"}
# The tests' server forgets what it has not written; this one must not.
DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "1GB", "max_wal_size": "4GB"}
OPTIONS = {"WEB_CONCURRENCY": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}


class Pace(NamedTuple):
    """How long to look at something."""

    rounds: int
    seconds: int
    """Of load, per round."""


class Bench(NamedTuple):
    """A loaded database to measure on."""

    kind: str
    """`postgresql` or `sqlite`."""
    url: str
    rows: int
    """Events in it."""
    pace: Pace
    log: Path
    """Where servers write their lines."""


class Server(NamedTuple):
    """A running application."""

    port: int
    worker: int
    """The process that answers."""


class Load(NamedTuple):
    """Requests, and the port that they go to."""

    port: int
    requests: Requests


@contextlib.contextmanager
def database(kind: str) -> Iterator[str]:
    """An empty database of a kind, gone afterwards; its URL."""
    with tempfile.TemporaryDirectory(prefix="backendapi-benchmark-") as folder:
        if kind == "sqlite":
            yield f"sqlite:///{folder}/benchmark.db"
            return
        server = PostgresServer(**DURABLE).start()
        try:
            url = server.create_database()
            yield url
            server.drop_database(url)
        finally:
            server.close()


@contextlib.contextmanager
def serve(target: str, bench: Bench, **settings: str) -> Iterator[Server]:
    """One of the applications, with one worker, on a free port; `settings` are variables of its environment."""
    command = (sys.executable, "-m", "benchmarks.serve", APPS[target])
    with ServiceProcess({"DATABASE_URL": bench.url, **OPTIONS, **settings}, command, log=bench.log) as process:
        process.start()
        process.wait_until_up("/events/00000000-0000-7000-8000-000000000000")
        (worker,) = psutil.Process(process.pid).children()
        yield Server(process.port, worker.pid)


def measure_in_turn(loads: Mapping[str, Load], pace: Pace) -> dict[str, list[Measure]]:
    """Make each load in each round, one after the other, so that a slow minute is slow for all of them."""
    for load in loads.values():
        measure(load.port, load.requests, 1)
    found: dict[str, list[Measure]] = {name: [] for name in loads}
    for _ in range(pace.rounds):
        for name, load in loads.items():
            found[name].append(measure(load.port, load.requests, pace.seconds))
    return found
