"""Watching: new rows as server-sent events, each once, in the order of their commits, to whoever may read them."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.types import Scope

from src.api.entrance.access import Principal
from src.api.entrance.door import Door
from src.api.watching.listeners import Listener
from src.core.values import new_uuid
from src.db.connection import Connection
from src.db.feeds import ROWS_PER_READ, Feed, NumberedKey
from src.main import create_app
from tests.databases import is_sqlite, run_sql
from tests.server import serving, settings_for
from tests.streams import STREAM, Listening


def event(**more: Any) -> dict[str, Any]:
    return {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"} | more


def post(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("/events", json=event(**more))
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


def test_new_rows_arrive_as_they_are_read(client: httpx.Client) -> None:
    post(client)
    with Listening(client) as stream:
        rows = [post(client, event_data={"number": number, "text": "a\nb"}) for number in range(3)]
        events = stream.wait_for_events(3)
        assert [each.row for each in events] == rows
        first = stream.events[0].id
        assert [each.id for each in events] == [first, first + 1, first + 2]
        headers = stream.headers
        assert headers["content-type"] == "text/event-stream"
        assert "no-cache" in headers["cache-control"]
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers


WAYS = {
    "one": lambda client, key: client.post("/events", json=event(event_id=key)),
    "an array": lambda client, key: client.post("/events", json=[event(event_id=key), event()]),
    "lines": lambda client, key: client.post(
        "/events",
        content=f'{{"event_id": "{key}", "event_type": "tap", "ts": "2026-01-31T09:30:00Z"}}\n',
        headers={"Content-Type": "application/x-ndjson"},
    ),
    "a CSV": lambda client, key: client.post(
        "/events",
        content=f"event_id,event_type,ts\n{key},tap,2026-01-31T09:30:00Z\n",
        headers={"Content-Type": "text/csv"},
    ),
    "a PUT that only creates": lambda client, key: client.put(
        f"/events/{key}", json=event(), headers={"If-None-Match": "*"}
    ),
    "a PUT that creates": lambda client, key: client.put(
        f"/events/{key}", json=event(), headers={"Prefer": "resolution=merge-duplicates"}
    ),
    "an upsert of one": lambda client, key: client.post(
        "/events", json=event(event_id=key), headers={"Prefer": "resolution=merge-duplicates"}
    ),
    "an insert of one that is new": lambda client, key: client.post(
        "/events", json=event(event_id=key), headers={"Prefer": "resolution=ignore-duplicates"}
    ),
    "an upsert of many": lambda client, key: client.post(
        "/events", json=[event(event_id=key)], headers={"Prefer": "resolution=merge-duplicates"}
    ),
    "an insert of many that are new": lambda client, key: client.post(
        "/events", json=[event(event_id=key)], headers={"Prefer": "resolution=ignore-duplicates"}
    ),
    "a part of a batch": lambda client, key: client.post(
        "/batch", json={"requests": [{"method": "POST", "url": "/events", "body": event(event_id=key)}]}
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_insert_is_seen(client: httpx.Client, way: str) -> None:
    key = new_uuid()
    with Listening(client) as stream:
        assert WAYS[way](client, key).status_code in (200, 201)
        post(client)
        stream.wait_for_events(3 if way == "an array" else 2)
        assert stream.keys[0] == key


NOTHING_NEW = {
    "a rehearsal": lambda client, key: client.post("/events", json=event(), headers={"Prefer": "tx=rollback"}),
    "a key that exists": lambda client, key: client.post("/events", json=event(event_id=key)),
    "a row that stays": lambda client, key: client.post(
        "/events", json=event(event_id=key), headers={"Prefer": "resolution=ignore-duplicates"}
    ),
    "rows that stay": lambda client, key: client.post(
        "/events", json=[event(event_id=key)], headers={"Prefer": "resolution=ignore-duplicates"}
    ),
    "rows that are merged": lambda client, key: client.post(
        "/events", json=[event(event_id=key)], headers={"Prefer": "resolution=merge-duplicates"}
    ),
    "a row that is merged": lambda client, key: client.post(
        "/events", json=event(event_id=key), headers={"Prefer": "resolution=merge-duplicates"}
    ),
    "a PUT that replaces": lambda client, key: client.put(f"/events/{key}", json=event()),
    "a patch": lambda client, key: client.patch(f"/events/{key}", json={"event_type": "open"}),
    "a list of which one is refused": lambda client, key: client.post("/events", json=[event(), event(event_id=key)]),
    "a batch that fails": lambda client, key: client.post(
        "/batch",
        json={
            "requests": [
                {"method": "POST", "url": "/events", "body": event()},
                {"method": "GET", "url": "/events/01994d5e-6f1c-7c3a-9d5b-000000000000"},
            ]
        },
    ),
}


@pytest.mark.parametrize("what", NOTHING_NEW)
def test_what_inserts_nothing_is_not_seen(client: httpx.Client, what: str) -> None:
    key = post(client)["event_id"]
    with Listening(client) as stream:
        NOTHING_NEW[what](client, key)
        last = post(client)
        stream.wait_for_events(1)
        assert stream.keys == [last["event_id"]]


FILTERS = [
    ("user_id=ada", [0, 2]),
    ("event_type_in=tap,open", [0, 1, 2]),
    ("event_data.count_gte=2", [1, 3]),
    ("or=(user_id.eq.ben,event_type.eq.open)", [1, 2]),
    ("user_id=ada&event_type=open", [2]),
    ("user_id=eve", []),
    ("log_level_isnull=false", []),
]


@pytest.mark.parametrize(("query", "places"), FILTERS)
def test_filters_are_those_of_lists(client: httpx.Client, query: str, places: list[int]) -> None:
    with Listening(client) as everything, Listening(client, f"?{query}") as stream:
        rows = [
            post(client, user_id="ada", event_data={"count": 1}),
            post(client, user_id="ben", event_data={"count": 2}),
            post(client, user_id="ada", event_type="open"),
            post(client, event_type="close", event_data={"count": 3}),
        ]
        last_id = everything.wait_for_events(4)[-1].id
        stream.wait_for_events(len(places))
        assert [each.row for each in stream.events] == [rows[place] for place in places]
    # A replay finds the same.
    with Listening(client, f"?{query}", last_id=last_id - 4) as stream:
        stream.wait_for_events(len(places))
        assert [each.row for each in stream.events] == [rows[place] for place in places]


def test_a_stream_goes_on_after_any_id(client: httpx.Client) -> None:
    with Listening(client) as stream:
        rows = client.post("/events", json=[event() for _ in range(450)]).json()
        rows += [post(client) for _ in range(3)]
        events = stream.wait_for_events(453)
        assert [each.row for each in events] == rows
    for place in (0, 1, 199, 200, 449, 450, 452, 453):
        last_id = events[place].id if place < 453 else events[-1].id
        expected = events[place + 1 :]
        with Listening(client, last_id=last_id) as stream:
            assert stream.wait_for_events(len(expected)) == expected
        with Listening(client, f"?last_event_id={last_id}") as stream:
            assert stream.wait_for_events(len(expected)) == expected


def test_the_first_block_says_where_a_client_would_go_on(client: httpx.Client) -> None:
    post(client)
    with Listening(client) as stream:
        place = stream.last_id
    row = post(client)
    with Listening(client, last_id=place) as stream:
        assert [each.row for each in stream.wait_for_events(1)] == [row]


def test_the_header_comes_before_the_parameter(client: httpx.Client) -> None:
    with Listening(client) as stream:
        rows = [post(client) for _ in range(3)]
        events = stream.wait_for_events(3)
    # A browser that comes again sends the header to the same address.
    with Listening(client, f"?last_event_id={events[0].id}", last_id=events[1].id) as stream:
        assert [each.row for each in stream.wait_for_events(1)] == rows[2:]


def test_a_deleted_row_is_skipped(client: httpx.Client) -> None:
    with Listening(client) as stream:
        rows = [post(client) for _ in range(3)]
        events = stream.wait_for_events(3)
    assert client.delete(f"/events/{rows[1]['event_id']}").status_code == 204
    with Listening(client, last_id=events[0].id - 1) as stream:
        assert [each.id for each in stream.wait_for_events(2)] == [events[0].id, events[2].id]


BAD_IDS = ["x", "-1", "1.5", "1 2", "9" * 19, "%F0%9F", "0x10"]


@pytest.mark.parametrize("text", BAD_IDS)
def test_an_id_that_is_none_is_refused(idle_client: httpx.Client, text: str) -> None:
    answers = [
        idle_client.get(STREAM, headers={"Last-Event-ID": text}),
        idle_client.get(f"{STREAM}?last_event_id={text}"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert "Last-Event-ID" in answers[0].json()["detail"]


@pytest.mark.parametrize(
    "query", ["page=1", "size=5", "sort=ts", "fields=ts", "format=ndjson", "users=ada", "ts_gte=x"]
)
def test_what_a_stream_does_not_take_is_refused(idle_client: httpx.Client, query: str) -> None:
    assert idle_client.get(f"{STREAM}?{query}").status_code == 400


def test_an_id_that_was_never_given_is_refused(client: httpx.Client) -> None:
    post(client)
    with Listening(client) as stream:
        place = stream.last_id
    answer = client.get(STREAM, headers={"Last-Event-ID": str(place + 1)})
    assert answer.status_code == 400
    assert f"the last one is {place}" in answer.json()["detail"]


def test_what_is_kept_no_longer_is_refused_and_the_rest_goes_on(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.api.watching.watch.IDLE_S", 0.05)
    monkeypatch.setattr("src.api.watching.watch.FORGET_EVERY_S", 0.05)
    with serving(create_app(settings_for(migrated_url, stream_retention_h=1))) as client:
        with Listening(client) as stream:
            start = stream.last_id
            for _ in range(4):
                post(client)
            events = stream.wait_for_events(4)
            old = "2020-01-01T00:00:00+00:00"
            run_sql(migrated_url, f"UPDATE changes SET created_at = '{old}' WHERE position < {events[2].id}")
            count = "SELECT count(*) FROM changes"
            stream.wait_for(lambda: run_sql(migrated_url, count)[0][0] == 2)
            post(client)
            stream.wait_for_events(5)
        answer = client.get(STREAM, headers={"Last-Event-ID": str(start)})
        assert answer.status_code == 400
        assert f"the oldest that is kept is {events[2].id}" in answer.json()["detail"]
        with Listening(client, last_id=events[1].id) as stream:
            assert [each.id for each in stream.wait_for_events(3)] == [events[1].id + number for number in (1, 2, 3)]
        run_sql(migrated_url, f"UPDATE changes SET created_at = '{old}'")
        stream.wait_for(lambda: run_sql(migrated_url, count)[0][0] == 0)
        assert client.get(STREAM, headers={"Last-Event-ID": str(events[3].id)}).status_code == 400
        with Listening(client, last_id=events[3].id + 1) as stream:
            post(client)
            assert stream.wait_for_events(1)[0].id == events[3].id + 2


def test_rows_are_numbered_that_nobody_watches(client: httpx.Client, migrated_url: str) -> None:
    for _ in range(3):
        post(client)
    with Listening(client) as stream:
        assert run_sql(migrated_url, "SELECT position FROM changes ORDER BY position") == [(1,), (2,), (3,)]
        assert stream.last_id == 3


def test_an_idle_stream_says_that_it_lives(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.api.watching.stream.KEEP_ALIVE_S", 0.1)
    with Listening(client, "?user_id=nobody") as stream:
        stream.wait_for(lambda: stream.comments >= 3)
        place = stream.last_id
        post(client)
        # What it has not seen because of its filters it need not look through again.
        stream.wait_for(lambda: stream.last_id == place + 1)
        assert stream.events == []


def test_checks_of_the_caller_put_no_comment_off(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    wait = Listener.wait

    async def noted(listener: Listener, seconds: float) -> bool:
        waits.append(seconds)
        return await wait(listener, seconds)

    monkeypatch.setattr("src.api.watching.stream.MIN_CHECK_S", 0.2)
    monkeypatch.setattr("src.api.watching.stream.KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(Listener, "wait", noted)
    app = create_app(settings_for(migrated_url, credentials_cache_s=0.0))
    with serving(app) as client, Listening(client) as stream:
        stream.wait_for(lambda: stream.comments >= 2)
    assert any(seconds < 0.15 for seconds in waits)


def test_a_comment_names_no_row_that_is_not_sent_yet(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Door.identify_again

    async def check_slowly(door: Door, scope: Scope) -> Principal:
        await asyncio.sleep(0.3)
        return await check(door, scope)

    monkeypatch.setattr(Door, "identify_again", check_slowly)
    monkeypatch.setattr("src.api.watching.stream.MIN_CHECK_S", 0.1)
    monkeypatch.setattr("src.api.watching.stream.KEEP_ALIVE_S", 0.1)
    app = create_app(settings_for(migrated_url, credentials_cache_s=0.0))
    with serving(app) as client, Listening(client) as stream:
        for _ in range(10):
            client.post("/events", json=[event(), event()])
            time.sleep(0.2)
        # Whoever reads it refuses ids that go back.
        stream.wait_for_events(20)


def test_a_stream_tells_how_far_it_has_looked_through_rows_it_does_not_see(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 4 * ROWS_PER_READ
    answer = client.post("/events", json=[event() for _ in range(number)])
    assert answer.status_code == 201, answer.text
    # A stream that begins numbers what is there.
    client.head(STREAM)
    read = Feed.read

    async def read_slowly(feed: Feed, db: Connection, first: int) -> list[NumberedKey]:
        await asyncio.sleep(0.2)
        return await read(feed, db, first)

    monkeypatch.setattr(Feed, "read", read_slowly)
    monkeypatch.setattr("src.api.watching.stream.KEEP_ALIVE_S", 0.01)
    with Listening(client, "?user_id=nobody", last_id=0) as stream:
        stream.wait_for(lambda: 0 < stream.last_id < number)
        stream.wait_for(lambda: stream.last_id == number)


def test_head_has_no_body_and_leaves_nobody_behind(client: httpx.Client) -> None:
    for _ in range(3):
        answer = client.head(STREAM)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.content == b""
    assert client.post(STREAM).status_code == 405


def test_a_stream_is_no_part_of_a_batch(client: httpx.Client) -> None:
    answer = client.post("/batch", json={"requests": [{"method": "GET", "url": STREAM}]})
    assert answer.status_code == 400
    assert "a stream is no part of a batch" in answer.json()["detail"]


def test_more_streams_than_the_limit_are_told_to_wait(migrated_url: str) -> None:
    with serving(create_app(settings_for(migrated_url, max_streams=1))) as client:
        with Listening(client) as stream:
            answer = client.get(STREAM)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
        # The place of one who has gone is free, without waiting for the next sign of life.
        stream.wait_for(lambda: client.head(STREAM).status_code == 200, timeout_s=5)


def test_a_listener_that_takes_nothing_is_cut_off_and_goes_on_without_loss(migrated_url: str) -> None:
    with serving(create_app(settings_for(migrated_url, export_stall_s=1, max_streams=2))) as client:
        text = "x" * 50_000
        with Listening(client) as quick, Listening(client) as slow:
            slow.is_reading.clear()
            for _ in range(30):
                rows = [event(event_data={"text": text}) for _ in range(20)]
                assert client.post("/events", json=rows, headers={"Prefer": "return=minimal"}).status_code == 201
            events = quick.wait_for_events(600)
            slow.wait_for(lambda: client.head(STREAM).status_code == 200)
            slow.is_reading.set()
            slow.wait_for_the_end()
            assert slow.was_cut_off
            seen = slow.events
            assert len(seen) < 600
        with Listening(client, last_id=slow.last_id) as resumed:
            resumed.wait_for_events(600 - len(seen))
            assert [each.id for each in seen + resumed.events] == [each.id for each in events]


@contextmanager
def held_open(url: str, key: str) -> Iterator[None]:
    """Hold a transaction open that has inserted an event, and noted it an hour ago; it commits at the end."""
    has_inserted, is_over = threading.Event(), threading.Event()

    async def hold() -> None:
        connection: Any = await asyncpg.connect(url)
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO event_log (event_id, event_type, ts, created_at, updated_at) "
                "VALUES ($1, 'late', now(), now(), now())",
                key,
            )
            early = f"{round((time.time() - 3600) * 1000):012x}"
            await connection.execute(
                "INSERT INTO changes (change_id, table_name, count, row_keys, created_at) "
                "VALUES ($1, 'event_log', 1, $2, now())",
                f"{early[:8]}-{early[8:]}-7000-8000-{key[-12:]}",
                f'{{"keys": ["{key}"]}}',
            )
            has_inserted.set()
            await asyncio.to_thread(is_over.wait)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    assert has_inserted.wait(10)
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_change_that_commits_late_comes_late(client: httpx.Client, migrated_url: str) -> None:
    """Its row was inserted first; nobody who has seen the others may have missed it."""
    if is_sqlite(migrated_url):
        pytest.skip("SQLite has one writer at a time, so nothing is committed out of order")
    with Listening(client) as stream:
        late = new_uuid()
        with held_open(migrated_url, late):
            first = [post(client)["event_id"] for _ in range(3)]
            stream.wait_for_events(3)
            assert stream.keys == first
            # Whoever comes now starts before the late one, too.
            with Listening(client) as other:
                place = other.last_id
        stream.wait_for_events(4)
        last = post(client)["event_id"]
        events = stream.wait_for_events(5)
        assert stream.keys == [*first, late, last]
        ids = [each.id for each in events]
        assert ids == sorted(set(ids))
    with Listening(client, last_id=place) as stream:
        stream.wait_for_events(2)
        assert stream.keys == [late, last]
