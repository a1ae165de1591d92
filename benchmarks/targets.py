"""The databases and the servers that are measured."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import Measure, Requests, measure
from scripts.service_process import ServiceProcess
from tests.postgres import PostgresServer

FLOOR, SERVICE, BY_HAND = "floor", "service", "by hand"
APPS = {FLOOR: "benchmarks.floor:app", SERVICE: "src.main:app", BY_HAND: "benchmarks.by_hand:app"}
# The tests' server forgets what it has not written; this one must not.
DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "1GB", "max_wal_size": "4GB"}
OPTIONS = {"WEB_CONCURRENCY": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}


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
def server(target: str, url: str, log: Path) -> Iterator[int]:
    """One of the applications, with one worker, on a free port; the port."""
    command = (sys.executable, "-m", "benchmarks.serve", APPS[target])
    with ServiceProcess({"DATABASE_URL": url, **OPTIONS}, command, log=log) as process:
        process.start()
        process.wait_until_up("/events/00000000-0000-7000-8000-000000000000")
        yield process.port


def measure_in_turn(ports: dict[str, int], requests: Requests, rounds: int, seconds: float) -> dict[str, list[Measure]]:
    """Load every server in each round, one after the other, so that a slow minute is slow for all of them."""
    for port in ports.values():
        measure(port, requests, 1)
    found: dict[str, list[Measure]] = {target: [] for target in ports}
    for _ in range(rounds):
        for target, port in ports.items():
            found[target].append(measure(port, requests, seconds))
    return found
