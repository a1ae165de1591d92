"""Streams over several processes: whoever answers and whatever dies, each row comes once, in one order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
from sqlalchemy.engine import make_url

from scripts.service_process import ServiceProcess
from src.core.values import new_uuid
from src.db.migration import upgrade
from tests.postgres import PostgresServer
from tests.streams import STREAM, Event, Listening, Refused

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


@contextmanager
def service(url: str, tmp_path: Path, workers: int = 2, **settings: object) -> Iterator[ServiceProcess]:
    environment = {name.upper(): str(value) for name, value in settings.items()}
    environment |= {"DATABASE_URL": url, "WEB_CONCURRENCY": str(workers)}
    with ServiceProcess(environment, log=tmp_path / "service.log") as process:
        process.start()
        process.wait_until_up()
        yield process


def client_of(process: ServiceProcess) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=30)


class Persistent:
    """A client that comes again whenever its stream ends, until it is closed."""

    def __init__(self, client: httpx.Client, query: str = "") -> None:
        self._client = client
        self._query = query
        self._is_over = threading.Event()
        self.streams = [Listening(client, query)]
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Persistent":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)
        self.streams[-1].close()

    @property
    def events(self) -> list[Event]:
        return [event for stream in self.streams for event in stream.events]

    def wait_for(self, keys: set[str], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not keys <= {event.row["event_id"] for event in self.events}:
            assert time.monotonic() < deadline, f"{len(self.events)} of {len(keys)}"
            time.sleep(0.05)

    def _watch(self) -> None:
        while not self._is_over.wait(0.02):
            if self.streams[-1].has_ended:
                last_id = max(stream.last_id for stream in self.streams)
                try:
                    self.streams.append(Listening(self._client, self._query, last_id=last_id))
                except Refused as refusal:
                    if not refusal.is_temporary:
                        return
                except (OSError, ValueError, KeyError):
                    time.sleep(0.1)


def assert_told_once_in_one_order(listeners: list[Persistent], keys: set[str]) -> None:
    """Every listener was told of every row that was acknowledged, once; all in the same order."""
    orders = []
    for listener in listeners:
        listener.wait_for(keys)
        ids = [event.id for event in listener.events]
        told = [event.row["event_id"] for event in listener.events]
        assert ids == sorted(set(ids))
        assert len(told) == len(set(told))
        assert keys <= set(told)
        orders.append([(event.id, event.row["event_id"]) for event in listener.events])
    common = set(orders[0]).intersection(*map(set, orders))
    assert len({tuple(each for each in order if each in common) for order in orders}) == 1


def write_until(is_over: threading.Event, process: ServiceProcess, seed: int, stored: set[str]) -> None:
    """Write events alone, in lists and in batches, as a client that goes on after every error."""
    chance = Random(seed)
    while not is_over.is_set():
        with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=30) as client:
            try:
                while not is_over.is_set():
                    stored |= _write(client, chance)
                    time.sleep(chance.random() * 0.01)
            except httpx.HTTPError:
                time.sleep(0.05)


def _write(client: httpx.Client, chance: Random) -> set[str]:
    rows = [EVENT | {"event_id": new_uuid()} for _ in range(chance.choice((1, 1, 2, 40)))]
    keys = {row["event_id"] for row in rows}
    if len(rows) == 2:
        parts = [{"method": "POST", "url": "/events", "body": row} for row in rows]
        answer = client.post("/batch", json={"requests": parts})
        return keys if answer.status_code == 200 else set()
    answer = client.post("/events", json=rows if len(rows) > 1 else rows[0])
    return keys if answer.status_code == 201 else set()


def write_while(process: ServiceProcess, seconds: float, act: Callable[[], object] | None = None) -> set[str]:
    """Write by eight clients for so long; do something in the middle. The keys of what was acknowledged."""
    is_over = threading.Event()
    stored: list[set[str]] = [set() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for number, keys in enumerate(stored):
            pool.submit(write_until, is_over, process, number, keys)
        time.sleep(seconds / 2)
        if act:
            act()
        time.sleep(seconds / 2)
        is_over.set()
    return set().union(*stored)


def workers_of(process: ServiceProcess) -> list[int]:
    return [child.pid for child in psutil.Process(process.pid).children()]


def test_concurrent_commits_are_told_once_in_one_order(migrated_url: str, tmp_path: Path) -> None:
    with service(migrated_url, tmp_path) as process, client_of(process) as client, ExitStack() as stack:
        listeners = [stack.enter_context(Persistent(client)) for _ in range(6)]
        keys = write_while(process, 3)
        assert len(keys) > 50
        assert_told_once_in_one_order(listeners, keys)
        # What another process numbered is replayed as it was told.
        start = listeners[0].streams[0].events[0].id - 1
        for _ in range(3):
            with Listening(client, last_id=start) as replay:
                replay.wait_for_events(len(listeners[0].events))
                assert replay.events == listeners[0].events


def test_a_killed_worker_takes_nothing_with_it(migrated_url: str, tmp_path: Path) -> None:
    """The one that was just numbering, or any other."""
    with service(migrated_url, tmp_path) as process, client_of(process) as client, ExitStack() as stack:
        listeners = [stack.enter_context(Persistent(client)) for _ in range(4)]
        chance = Random(1)

        def kill_some() -> None:
            for _ in range(3):
                os.kill(chance.choice(workers_of(process)), signal.SIGKILL)
                time.sleep(0.7)

        keys = write_while(process, 2, kill_some)
        assert_told_once_in_one_order(listeners, keys)
        assert sum(len(listener.streams) for listener in listeners) > 4


def test_a_stream_goes_on_after_a_restart(migrated_url: str, tmp_path: Path) -> None:
    with service(migrated_url, tmp_path, drain_s=60) as process, client_of(process) as client:  # noqa: SIM117
        with Listening(client) as stream:
            rows = [client.post("/events", json=EVENT).json() for _ in range(3)]
            events = stream.wait_for_events(3)
            process.signal(signal.SIGTERM)
            began = time.monotonic()
            # A stream has no end of its own: a drain that waited for it would take all of its time.
            stream.wait_for_the_end()
            assert process.exit_code(60) == 0
            assert time.monotonic() - began < 40
            assert not stream.was_cut_off
            assert [event.row for event in events] == rows
    with service(migrated_url, tmp_path, workers=1) as process, client_of(process) as client:
        row = client.post("/events", json=EVENT).json()
        with Listening(client, last_id=events[0].id) as stream:
            assert [event.row for event in stream.wait_for_events(3)] == [*rows[1:], row]


def test_one_worker_that_leaves_sends_its_listeners_to_the_other(migrated_url: str, tmp_path: Path) -> None:
    with service(migrated_url, tmp_path, drain_s=60) as process, client_of(process) as client, ExitStack() as stack:
        listeners = [stack.enter_context(Persistent(client)) for _ in range(6)]

        def drain_one() -> None:
            os.kill(workers_of(process)[0], signal.SIGTERM)

        keys = write_while(process, 3, drain_one)
        assert_told_once_in_one_order(listeners, keys)
        assert not any(stream.was_cut_off for listener in listeners for stream in listener.streams)


@pytest.fixture
def own_postgres() -> Iterator[tuple[PostgresServer, str]]:
    """A server that a test may stop, also where `TEST_DATABASE_URL` names one that it may not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEST_DATABASE_URL", raising=False)
        server = PostgresServer().start()
    url = server.create_database()
    upgrade(make_url(url))
    yield server, url
    server.close()


def test_a_database_that_was_away_costs_a_stream_nothing(
    own_postgres: tuple[PostgresServer, str], tmp_path: Path
) -> None:
    server, url = own_postgres
    with service(url, tmp_path) as process, client_of(process) as client:  # noqa: SIM117
        with Listening(client) as stream, Listening(client, "?event_type=tap") as filtered:
            rows = [client.post("/events", json=EVENT).json() for _ in range(3)]
            stream.wait_for_events(3)
            server.stop()
            assert client.get(STREAM).status_code == 503
            time.sleep(2)
            server.start()
            deadline = time.monotonic() + 30
            while (answer := client.post("/events", json=EVENT)).status_code != 201:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            rows.append(answer.json())
            for each in (stream, filtered):
                assert [event.row for event in each.wait_for_events(4)] == rows
