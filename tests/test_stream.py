"""Watching: new rows as server-sent events, each once, in the order of their commits, to whoever may read them."""

from typing import Any

import httpx
import pytest

from src.core.values import new_uuid
from tests.streams import Listening


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


def many(client: httpx.Client, rows: list[dict[str, Any]]) -> None:
    assert client.post("/events", json=rows).status_code == 201


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
