"""Deliveries of events: each stands for itself, what says `ok` is stored, and the same again changes nothing."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from src.core.values import new_uuid
from tests.databases import run_sql
from tests.server import serving_database

TS = "2026-01-31T09:30:00Z"


def event(**more: Any) -> dict[str, Any]:
    return {"event_id": new_uuid(), "event_type": "tap", "ts": TS, "event_data": {"n": 1.5, "s": "ü"}} | more


def deliver(client: httpx.Client, events: Any, **headers: str) -> Any:
    answer = client.post("/events/-/batch", json=events, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def count(client: httpx.Client) -> int:
    return int(client.get("/events?count=exact").headers["x-total-count"])


def results(answer: Any) -> dict[str, str]:
    return {label: each["result"] for label, each in answer["results"].items()}


def test_what_is_ok_is_stored_and_the_same_again_is_a_duplicate(client: httpx.Client) -> None:
    events = [event(user_id="ada", seq=None) for _ in range(5)]
    assert deliver(client, events) == {"accepted": 5, "results": {}, "receipts": {}}
    again = deliver(client, events[::-1])
    assert again["accepted"] == 5
    assert results(again) == {each["event_id"]: "duplicate" for each in events}
    part = deliver(client, [events[0], event()], Prefer="return=representation")
    assert sorted(results(part).values()) == ["duplicate", "ok"]
    assert count(client) == 6


def test_one_bad_event_harms_no_other(client: httpx.Client) -> None:
    good, bad = event(), event(event_type=None)
    body = [
        good,
        bad,
        {"event_type": "tap"},
        5,
        None,
        event(ts="soon"),
        event(colour="red"),
        {**event(), "event_id": 7},
    ]
    answer = deliver(client, body)
    assert answer["accepted"] == 1
    labels = (bad["event_id"], "2", "3", "4", body[5]["event_id"], body[6]["event_id"], "7")
    assert results(answer) == dict.fromkeys(labels, "drop")
    assert "event_type" in answer["results"][bad["event_id"]]["detail"]
    assert count(client) == 1


def test_json_that_is_bad_in_one_event_harms_no_other(client: httpx.Client) -> None:
    good = json.dumps(event())
    begin = f'{{"event_type":"tap","ts":"{TS}",'
    deep = begin + '"event_data":' + '{"a":' * 80 + "1" + "}" * 80 + "}"
    twice, nul = begin + '"event_type":"tap"}', begin + '"user_id":"a\\u0000da"}'
    body = f"[{good},{deep},{twice},{nul}]"
    answer = client.post("/events/-/batch", content=body, headers={"Content-Type": "application/json"}).json()
    assert (answer["accepted"], results(answer)) == (1, {"1": "drop", "2": "drop", "3": "drop"})
    lines = f"{good}\n{{broken\n\n{json.dumps(event())}\n"
    answer = client.post("/events/-/batch", content=lines, headers={"Content-Type": "application/x-ndjson"}).json()
    assert answer["accepted"] == 2
    assert sorted(results(answer).values()) == ["drop", "duplicate"]


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[1,",
            b"{}",
            b'{"batch":{}}',
            b'{"batch":[],"sentAt":"soon"}',
            b'{"batch":[],"sendAt":"x"}',
            b"5",
        ),
        *(b'{"batch":[],"sentAt":5}', b'"x"', b"null", b"\xff\xfe"),
    ],
)
def test_body_that_cannot_be_split_is_refused(idle_client: httpx.Client, body: bytes) -> None:
    answer = idle_client.post("/events/-/batch", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text


def test_mark_of_byte_order_costs_no_event(client: httpx.Client) -> None:
    for media_type, text in (
        ("application/x-ndjson", "\n".join(json.dumps(event()) for _ in range(2))),
        ("application/json", json.dumps([event(), event()])),
        ("application/json", json.dumps({"batch": [event(), event()]})),
    ):
        body = text.encode("utf-8-sig")
        answer = client.post("/events/-/batch", content=body, headers={"Content-Type": media_type})
        assert answer.json()["accepted"] == 2, answer.text
    assert count(client) == 6


def test_reasons_speak_of_the_event(idle_client: httpx.Client) -> None:
    events: list[Any] = [5, event(device_id="x" * 256), event(event_type="x" * 256), event(event_data="x")]
    details = [each["detail"] for each in deliver(idle_client, events)["results"].values()]
    assert details == [
        "the event must be a JSON object",
        "device_id: takes at most 255 characters",
        "event_type: takes at most 255 characters",
        "event_data: takes a JSON object",
    ]


@pytest.mark.parametrize("text", ["\ud83d", "a\ud83d and more", "\ud83d\ud83d"])
def test_half_of_an_emoji_is_called_so(idle_client: httpx.Client, text: str) -> None:
    body = json.dumps([event(event_data={"whole": "\U0001f600", "text": text})])
    answer = idle_client.post("/events/-/batch", content=body, headers={"Content-Type": "application/json"})
    result = answer.json()["results"]["0"]
    assert (result["result"], "half of a surrogate pair" in result["detail"]) == ("drop", True)


def test_same_id_with_other_content_is_dropped_with_the_reason(client: httpx.Client) -> None:
    first = event(user_id="ada")
    deliver(client, [first])
    for change in (
        {"event_type": "swipe"},
        {"event_data": {"n": True}},
        {"ts": "2026-01-31T09:30:01Z"},
        {"user_id": "x"},
    ):
        answer = deliver(client, [first | change])
        assert (answer["accepted"], results(answer)) == (0, {first["event_id"]: "drop"}), change
        assert "other content" in answer["results"][first["event_id"]]["detail"]
    # The same instant and the same document, written in another way.
    same = first | {"ts": "2026-01-31T10:30:00+01:00", "event_data": {"s": "ü", "n": 1.50}}
    assert results(deliver(client, [same])) == {first["event_id"]: "duplicate"}
    assert client.get(f"/events/{first['event_id']}").json()["event_type"] == "tap"


def test_same_id_twice_in_one_batch(client: httpx.Client) -> None:
    one = event()
    answer = deliver(client, [one, one, one | {"event_type": "x"}])
    assert answer["accepted"] == 2
    assert results(answer) == {"1": "duplicate", "2": "drop"}
    assert count(client) == 1


def test_events_without_an_id_get_one(client: httpx.Client) -> None:
    answer = deliver(client, [{"event_type": "tap", "ts": TS}] * 2, Prefer="return=representation")
    assert (answer["accepted"], results(answer)) == (2, {"0": "ok", "1": "ok"})


def test_clocks_are_kept(client: httpx.Client) -> None:
    batch = [event(ts="2026-01-31T10:30:00+05:30"), event(ts=TS), event(ts="2026-01-31T10:30:00-03:00", sent_at=TS)]
    batch.append(event(utc_offset_min=7))
    deliver(client, {"batch": batch, "sentAt": "2026-01-31T09:31:00Z"})
    rows = [client.get(f"/events/{each['event_id']}").json() for each in batch]
    assert [row["utc_offset_min"] for row in rows] == [330, None, -180, 7]
    assert [row["sent_at"] for row in rows] == [
        *["2026-01-31T09:31:00+00:00"] * 2,
        "2026-01-31T09:30:00+00:00",
        "2026-01-31T09:31:00+00:00",
    ]
    one = client.post("/events", json=event(ts="2026-01-31T10:30:00+05:30")).json()
    assert one["utc_offset_min"] == 330
    put = client.put(f"/events/{one['event_id']}", json={**one, "utc_offset_min": None}).json()
    assert put["utc_offset_min"] is None


def test_receipt_says_what_is_missing(client: httpx.Client) -> None:
    def send(*numbers: int) -> Any:
        return deliver(client, [event(device_id="d", seq=number, user_id="ada") for number in numbers])["receipts"]["d"]

    assert send(1, 2, 3) == {"contiguous_through": 3, "received_through": 3, "missing": []}
    assert send(7, 5) == {"contiguous_through": 3, "received_through": 7, "missing": [[4, 4], [6, 6]]}
    assert send(4, 4, 12) == {"contiguous_through": 5, "received_through": 12, "missing": [[6, 6], [8, 11]]}
    assert client.get("/devices/d/receipt").json() == {
        "device_id": "d",
        "contiguous_through": 5,
        "received_through": 12,
        "missing": [[6, 6], [8, 11]],
    }
    client.post("/events", json=event(device_id="d", seq=6, user_id="ada"))
    client.post("/events", json=[event(device_id="d", seq=number, user_id="ada") for number in (8, 9, 10, 11)])
    assert client.get("/devices/d/receipt").json()["contiguous_through"] == 12
    assert client.get("/devices/e/receipt").status_code == 404
    assert client.get("/receipts?device_id=d").json()[0]["missing"] == {"ranges": []}


def test_receipt_covers_nothing_behind_the_holes_that_it_knows(client: httpx.Client) -> None:
    events = [event(device_id="d", seq=seq) for seq in range(1, 20_008, 2)]
    deliver(client, events[:5000])
    receipt = deliver(client, events[5000:])["receipts"]["d"]
    assert (receipt["contiguous_through"], receipt["received_through"], len(receipt["missing"])) == (1, 20_001, 10_000)
    # Where holes close there is room for what lay behind them: sent again, it counts.
    deliver(client, [event(device_id="d", seq=seq) for seq in range(2, 12, 2)])
    again = deliver(client, events[-3:])
    assert set(results(again).values()) == {"duplicate"}
    receipt = again["receipts"]["d"]
    assert (receipt["contiguous_through"], receipt["received_through"]) == (11, 20_007)


def test_resend_leaves_the_receipt_and_answers_it(client: httpx.Client) -> None:
    batch = [event(device_id="d", seq=number) for number in (1, 2)]
    first, again = deliver(client, batch), deliver(client, batch)
    assert (
        first["receipts"] == again["receipts"] == {"d": {"contiguous_through": 2, "received_through": 2, "missing": []}}
    )


def test_smallest_difference_of_clocks_counts(client: httpx.Client) -> None:
    from datetime import UTC, datetime, timedelta

    for behind_s in (100, 50, 80):
        sent = (datetime.now(UTC) - timedelta(seconds=behind_s)).isoformat()
        deliver(client, {"batch": [event(session_id="s", user_id="ada")], "sentAt": sent})
    clock = client.get("/session-clocks/s").json()
    assert 50_000 <= clock["clock_offset_ms"] < 55_000
    assert clock["user_id"] == "ada"
    # Somebody else's session is left alone.
    deliver(client, {"batch": [event(session_id="s", user_id="eve")], "sentAt": datetime.now(UTC).isoformat()})
    assert client.get("/session-clocks/s").json()["clock_offset_ms"] >= 50_000


def test_concurrent_deliveries_of_one_device_merge(client: httpx.Client) -> None:
    batches = [[event(device_id="d", seq=number) for number in range(start, 101, 10)] for start in range(1, 11)]
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda batch: deliver(client, batch), batches * 2))
    assert all(answer["accepted"] == 10 for answer in answers)
    assert client.get("/devices/d/receipt").json()["contiguous_through"] == 100
    assert count(client) == 100


def test_identical_deliveries_at_once_are_stored_once(client: httpx.Client) -> None:
    batch = [event(user_id="ada") for _ in range(200)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda turn: deliver(client, batch[turn:] + batch[:turn]), range(0, 160, 20)))
    assert all(answer["accepted"] == 200 for answer in answers)
    assert sum(200 - len(answer["results"]) for answer in answers) == 200
    assert count(client) == 200


def test_gzip_is_read_and_a_bomb_is_refused(client: httpx.Client) -> None:
    def send(body: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return client.post("/events/-/batch", content=body, headers=headers)

    packed = gzip.compress(json.dumps([event()]).encode())
    assert send(packed).json()["accepted"] == 1
    assert send(packed[:-5]).status_code == 400
    assert send(b"no gzip").status_code == 400
    assert send(packed + b"x").status_code == 400
    headers = {"Content-Type": "application/json", "Content-Encoding": "br"}
    other = client.post("/events/-/batch", content=packed, headers=headers)
    assert (other.status_code, "gzip it" in other.json()["detail"]) == (415, True)
    assert send(gzip.compress(b" " * 200_000_000)).status_code == 413


def test_number_of_events_is_bounded(client: httpx.Client) -> None:
    events = [{"event_type": "tap", "ts": TS}] * 10_000
    assert deliver(client, events)["accepted"] == 10_000
    assert client.post("/events/-/batch", json=[*events, {}]).status_code == 413
    assert deliver(client, []) == {"accepted": 0, "results": {}, "receipts": {}}
    assert count(client) == 10_000


def test_erased_person_is_dropped_and_others_are_stored(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    client.delete("/users/ada?cascade=true")
    gone, here = event(user_id="ada"), event(user_id="ben")
    answer = deliver(client, [gone, here])
    assert (answer["accepted"], results(answer)) == (1, {gone["event_id"]: "drop"})
    assert "erased" in answer["results"][gone["event_id"]]["detail"]
    assert count(client) == 1


def test_value_that_only_the_database_refuses_harms_no_other(migrated_url: str) -> None:
    run_sql(migrated_url, "CREATE UNIQUE INDEX only_once ON event_log (event_source)")
    with serving_database(migrated_url) as client:
        events = [event(event_source="a"), event(event_source="a"), event(event_source="b")]
        answer = deliver(client, events)
        assert answer["accepted"] == 2
        assert list(results(answer).values()) == ["drop"]
        assert count(client) == 2


def test_rehearsal_stores_nothing(client: httpx.Client) -> None:
    assert deliver(client, [event(device_id="d", seq=1)], Prefer="tx=rollback")["accepted"] == 1
    assert count(client) == 0
    assert client.get("/devices/d/receipt").status_code == 404


def test_delivery_is_no_part_of_a_batch(client: httpx.Client) -> None:
    part = {"method": "POST", "url": "/events/-/batch", "body": [event()]}
    assert client.post("/batch", json={"requests": [part]}).status_code == 400
