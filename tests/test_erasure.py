"""DELETE ?cascade=true: everything that carries a person's key, in one transaction."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import apsw
import asyncpg
import httpx
import pytest
from sqlalchemy.engine import make_url

from src.api.dependencies import carriers_of
from src.db.queries import builder
from src.db.queries.statement import Statement
from tests.databases import is_sqlite, run_sql
from tests.server import serving_database

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}
RECORDING = {"recording_link": "gs://x", "recording_type": "gait"}


@pytest.fixture
def people(client: httpx.Client) -> httpx.Client:
    for key in ("ada", "eve"):
        client.post("/users", json={"user_id": key})
        client.post("/sessions", json=[{"session_id": f"{key}-{number}", "user_id": key} for number in range(3)])
        client.post("/recordings", json=[RECORDING | {"recording_id": f"{key}-1", "user_id": key}])
        client.post("/events", json=[EVENT | {"user_id": key, "session_id": f"{key}-0"}] * 20)
    client.post("/events", json=EVENT)
    return client


def everything(client: httpx.Client) -> list[bytes]:
    return [client.get(f"/{path}?size=100").content for path in ("users", "sessions", "recordings", "events")]


def test_every_row_of_a_person_is_erased_and_counted(people: httpx.Client) -> None:
    answer = people.delete("/users/ada?cascade=true")
    counts = {"users": 1, "sessions": 3, "recordings": 1, "event_log": 20, "receipts": 0, "session_clocks": 0}
    assert (answer.status_code, answer.json()) == (200, counts)
    # With its quote: a UUID may well have an "ada" among its digits.
    assert not any(b'"ada' in content for content in everything(people))
    assert len(people.get("/events?size=100").json()) == 21
    assert people.delete("/users/ada?cascade=true").status_code == 404


def test_rows_that_a_deleted_person_left_are_erased_too(people: httpx.Client) -> None:
    people.post("/events", json=EVENT | {"user_id": "ghost"})
    assert people.delete("/users/ghost").status_code == 404
    assert people.delete("/users/ghost?cascade=true").json()["event_log"] == 1
    assert people.delete("/users/ghost?cascade=true").status_code == 404


def test_conditions_and_rehearsals_hold(people: httpx.Client) -> None:
    before = everything(people)
    assert people.delete("/users/ada?cascade=true", headers={"If-Match": '"old"'}).status_code == 412
    assert people.delete("/users/ada?cascade=true", headers={"Prefer": "tx=rollback"}).json()["event_log"] == 20
    for query in ("cascade=yes", "cascade=", "cascade=true&x=1", "Cascade=true"):
        assert people.delete(f"/users/ada?{query}").status_code == 400
    assert people.delete("/users/ada?cascade=false").status_code == 409
    assert everything(people) == before
    tag = people.get("/users/ada").headers["etag"]
    assert people.delete("/users/ada?cascade=true", headers={"If-Match": tag}).status_code == 200


def test_it_is_the_same_for_every_table(people: httpx.Client) -> None:
    assert set(carriers_of("sessions")) == {"event_log", "session_clocks"}
    counts = {"sessions": 1, "event_log": 20, "session_clocks": 0}
    assert people.delete("/sessions/ada-0?cascade=true").json() == counts
    assert people.delete("/recordings/ada-1?cascade=true").json() == {"recordings": 1}


def test_insert_that_is_in_flight_does_not_survive(migrated_url: str) -> None:
    """Somebody has inserted an event and not committed yet when the erasure begins."""
    with serving_database(migrated_url) as client:
        client.post("/users", json={"user_id": "ada"})
        insert = (
            "INSERT INTO event_log (event_id, user_id, event_type, ts, created_at, updated_at) VALUES "
            "('550e8400-e29b-41d4-a716-446655440000', 'ada', 'tap', '2026-01-31T09:30:00+00:00', "
            "'2026-01-31T09:30:00+00:00', '2026-01-31T09:30:00+00:00')"
        )
        begun, erasing = threading.Event(), threading.Event()
        with ThreadPoolExecutor(2) as threads:
            hold = _hold_on_sqlite if is_sqlite(migrated_url) else _hold_on_postgresql
            held = threads.submit(hold, migrated_url, insert, begun, erasing)
            assert begun.wait(10)
            erased = threads.submit(client.delete, "/users/ada?cascade=true")
            time.sleep(0.5)
            assert not erased.done()
            erasing.set()
            held.result(10)
            counts = {name: count for name, count in erased.result(10).json().items() if count}
            assert counts == {"users": 1, "event_log": 1}
        assert run_sql(migrated_url, "SELECT count(*) FROM event_log") == [(0,)]


def _hold_on_sqlite(url: str, sql: str, begun: threading.Event, may_end: threading.Event) -> None:
    connection = apsw.Connection(str(make_url(url).database))
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(sql)
    begun.set()
    may_end.wait(10)
    connection.execute("COMMIT")
    connection.close()


def _hold_on_postgresql(url: str, sql: str, begun: threading.Event, may_end: threading.Event) -> None:
    import asyncio

    async def hold() -> None:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            await connection.execute(sql)
            begun.set()
            await asyncio.to_thread(may_end.wait, 10)
        await connection.close()

    asyncio.run(hold())


def test_nothing_of_a_person_is_left_when_others_insert_meanwhile(client: httpx.Client) -> None:
    """Sessions and recordings refer to the person: what comes after the erasure is refused."""
    client.post("/users", json={"user_id": "ada"})
    ends = threading.Event()

    def insert(number: int) -> set[int]:
        statuses = set()
        with httpx.Client(base_url=client.base_url, timeout=30) as own:
            while not ends.is_set():
                key = f"{number}-{time.monotonic_ns()}"
                statuses.add(own.post("/sessions", json={"session_id": key, "user_id": "ada"}).status_code)
                rows = [RECORDING | {"recording_id": f"{key}-{item}", "user_id": "ada"} for item in range(3)]
                statuses.add(own.post("/recordings", json=rows).status_code)
        return statuses

    with ThreadPoolExecutor(6) as threads:
        inserting = [threads.submit(insert, number) for number in range(6)]
        time.sleep(0.5)
        erased = client.delete("/users/ada?cascade=true")
        time.sleep(0.2)
        ends.set()
        assert {status for each in inserting for status in each.result(20)} == {201, 410}
    assert (erased.status_code, erased.json()["users"]) == (200, 1)
    assert erased.json()["sessions"] > 0
    assert client.get("/sessions").json() == client.get("/recordings").json() == []


def test_database_without_table_locks_erases_too(people: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some distributed databases answer, a statement that they do not have is refused with 0A000."""

    class Refusing:
        def __hash__(self) -> int:
            return id(self)

        def build(self, *_: object) -> object:
            from sqlalchemy import text

            return text("DO $$ BEGIN RAISE EXCEPTION 'not supported' USING ERRCODE = '0A000'; END $$")

    monkeypatch.setattr(builder, "lock_table", lambda _: Statement(Refusing(), ()))  # type: ignore[arg-type]
    assert people.delete("/users/ada?cascade=true").json()["event_log"] == 20
