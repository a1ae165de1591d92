"""Deliveries: who may, what a receipt counts, and bodies that nobody would send on purpose."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.api.deliveries.delivering import NOT_YOURS, TAKEN
from src.api.deliveries.ranges import MAX_RANGES, Received
from src.core.values import new_uuid
from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers
from tests.server import serving, settings_for

TS = "2026-01-31T09:30:00+01:00"
LINES = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
Event = dict[str, Any]


def event(**more: Any) -> Event:
    return {"event_id": new_uuid(), "event_type": "tap", "ts": TS} | more


def numbered(*numbers: int, device: str = "pixel-1", **more: Any) -> list[Event]:
    return [event(device_id=device, seq=number, **more) for number in numbers]


def deliver(client: httpx.Client, body: Any, **more: Any) -> Any:
    answer = client.post("/events/-/batch", json=body, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def verdicts(client: httpx.Client, events: list[Any]) -> list[str]:
    """What becomes of each event, in order."""
    results = deliver(client, events, headers={"Prefer": "return=representation"})["results"]
    return [result["result"] for result in results.values()]


def count(client: httpx.Client) -> int:
    return int(client.head("/events?count=exact").headers["x-total-count"])


def receipt(client: httpx.Client, device: str = "pixel-1") -> Any:
    return client.get(f"/devices/{device}/receipt").json()


def test_one_broken_event_keeps_no_other(client: httpx.Client) -> None:
    good = json.dumps(event())
    start = f'{{"event_type": "tap", "ts": "{TS}"'
    broken = [
        start + ', "event_type": "open"}',
        start + ', "log_level": "\\ud800"}',
        start + ', "log_level": "\\u0000"}',
        start + ', "event_data": {"a": ' + "[" * 70 + "]" * 70 + "}}",
        start + ', "event_data": {"a": NaN}}',
        start + ', "event_data": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
        start + ', "event_data": {"a": 1' + "0" * 400 + "}}",
    ]
    for each in broken:
        for body in (f"[{each}, {json.dumps(event())}]", f'{{"batch": [{each}, {json.dumps(event())}]}}'):
            answer = client.post("/events/-/batch", content=body, headers=JSON)
            assert answer.status_code == 200, (body, answer.text)
            assert (answer.json()["accepted"], answer.json()["results"]["0"]["result"]) == (1, "drop")
    lines = "\n".join([good, '{"event_type": "tap"', "", json.dumps(event()), "not JSON"])
    answer = client.post("/events/-/batch", content=lines, headers=LINES).json()
    assert (answer["accepted"], answer["results"].keys()) == (2, {"1", "3"})
    raw = b'[{"event_type": "\xff", "ts": "%s"}, %s]' % (TS.encode(), json.dumps(event()).encode())
    assert client.post("/events/-/batch", content=raw, headers=JSON).json()["accepted"] == 1


def test_an_answer_that_is_lost_is_asked_for_again(client: httpx.Client) -> None:
    events = numbered(*range(1, 51))
    body = json.dumps(events).encode()
    url = urlsplit(str(client.base_url))
    lines = ["POST /events/-/batch HTTP/1.1", "Host: x", "Content-Type: application/json"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(head.encode() + body)
    answer = deliver(client, events)
    assert (answer["accepted"], answer["receipts"]["pixel-1"]["contiguous_through"], count(client)) == (50, 50, 50)


numbers = st.lists(st.integers(-3, 60), max_size=40)


@given(st.lists(numbers, max_size=5))
def test_receipts_are_sets_of_numbers(lots: list[list[int]]) -> None:
    one, seen = Received(), set[int]()
    for lot in lots:
        one = one.with_numbers(lot)
        seen |= {number for number in lot if number > 0}
        contiguous = next(number for number in range(100) if number + 1 not in seen)
        missing = {number for first, last in one.missing for number in range(first, last + 1)}
        assert (one.contiguous_through, one.through) == (contiguous, max(seen, default=0))
        assert missing == set(range(1, one.through + 1)) - seen
        assert all(a[1] + 1 < b[0] for a, b in zip(one.missing, one.missing[1:], strict=False))


def test_receipts_have_a_bound() -> None:
    one = Received().with_numbers(range(2, 100_000, 2))
    assert (len(one.missing), one.through) == (MAX_RANGES, 2 * MAX_RANGES)
    assert one.with_numbers([200_000]) == one
    assert one.with_numbers(range(1, 20_000, 2)).contiguous_through == 20_000
    # Holes that are split are as many as others.
    split = Received().with_numbers([10**9]).with_numbers(range(2, 60_000, 2))
    assert (len(split.missing), split.through) == (MAX_RANGES, 2 * MAX_RANGES)


@pytest.fixture
def callers(migrated_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as made:
        yield made


def test_people_deliver_their_own_events(callers: Callers) -> None:
    ada, bob = callers.person("ada"), callers.person("bob")
    mine, his = event(), event(user_id="bob")
    answer = deliver(ada, [mine, his])
    assert answer["results"] == {his["event_id"]: {"result": "drop", "detail": f"user_id {NOT_YOURS}"}}
    assert callers.admin.get(f"/events/{mine['event_id']}").json()["user_id"] == "ada"
    taken = deliver(bob, [mine])["results"][mine["event_id"]]
    assert taken == {"result": "drop", "detail": f"event_id {TAKEN}"}
    assert bob.get("/events").json() == []
    phone = callers.service("events:append")
    assert verdicts(phone, [mine | {"user_id": "ada"}, event(user_id="bob")]) == ["duplicate", "ok"]
    assert callers.client().post("/events/-/batch", json=[]).status_code == 401
    assert callers.service("events:read").post("/events/-/batch", json=[]).status_code == 403
    assert phone.get("/events").status_code == 403


def test_receipts_are_of_whom_delivers(callers: Callers) -> None:
    ada, bob, phone = callers.person("ada"), callers.person("bob"), callers.service("events:append")
    deliver(ada, numbered(1, 2, 5))
    assert deliver(bob, numbered(1, 2, 3))["receipts"]["pixel-1"]["received_through"] == 3
    assert receipt(ada)["missing"] == [[3, 4]]
    # What people have delivered covers nothing that a program has not.
    assert phone.get("/devices/pixel-1/receipt").status_code == 404
    deliver(phone, [*numbered(1, 2, user_id="ada"), *numbered(3, 7, user_id="bob")])
    assert receipt(phone) == receipt(callers.admin)
    assert receipt(phone)["missing"] == [[4, 6]]
    assert receipt(ada)["missing"] == [[3, 4]]
    assert callers.person("eve").get("/devices/pixel-1/receipt").status_code == 404
    assert callers.service("users:read").get("/devices/pixel-1/receipt").status_code == 403
    assert callers.client().get("/devices/pixel-1/receipt").status_code == 401


def test_nobody_changes_the_clock_of_another_persons_session(callers: Callers) -> None:
    ada, bob = callers.person("ada"), callers.person("bob")
    deliver(ada, [event(session_id="s", sent_at="2026-01-31T09:30:00Z")])
    before = ada.get("/session-clocks").json()
    deliver(bob, [event(session_id="s", sent_at="2026-01-31T12:30:00Z")])
    assert (ada.get("/session-clocks").json(), bob.get("/session-clocks").json()) == (before, [])


def test_events_of_erased_people_are_dropped(callers: Callers) -> None:
    callers.admin.post("/users", json={"user_id": "ada"}).raise_for_status()
    callers.admin.delete("/users/ada?cascade=true").raise_for_status()
    phone = callers.service("events:append")
    gone, kept = numbered(1, user_id="ada"), numbered(2, user_id="bob")
    answer = deliver(phone, gone + kept)
    assert (answer["accepted"], answer["results"][gone[0]["event_id"]]["result"]) == (1, "drop")
    assert "erased" in answer["results"][gone[0]["event_id"]]["detail"]
    assert [row["user_id"] for row in callers.admin.get("/events").json()] == ["bob"]
    assert [row["received_through"] for row in callers.admin.get("/receipts").json()] == [2]


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(TS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(event())) | st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)
ODD = ("event_id", "ts", "seq", "device_id", "session_id", "sent_at", "event_data", "batch")
odd_events = st.fixed_dictionaries({}, optional=dict.fromkeys(ODD, documents)).map(lambda more: event() | more)


@pytest.fixture(scope="module")
def kept_client(shared_url: str) -> Iterator[httpx.Client]:
    """A client for all bodies."""
    with serving(create_app(settings_for(shared_url))) as client:
        yield client


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=documents | st.lists(odd_events) | odd_events, cut=st.integers(0, 400), sign=st.sampled_from('{}[],:"\\x'))
def test_no_body_is_a_defect(kept_client: httpx.Client, body: Any, cut: int, sign: str) -> None:
    text = json.dumps(body)
    for content in (text, text[:cut], text[:cut] + sign + text[cut:]):
        for headers in (JSON, LINES):
            answer = kept_client.post("/events/-/batch", content=content, headers=headers)
            assert answer.status_code in (200, 400), content
