"""A small study to ask questions of: a few people, their sessions and recordings, and an event log with odd values."""

from typing import Any

import httpx

from tests import canaries

Row = dict[str, Any]

USERS: list[Row] = [
    {"user_id": "ada", "body_data": {"height": 168.5, "weight": 61}, "firebase_data": {"email": canaries.EMAIL}},
    {"user_id": "Bob", "body_data": {"height": 180}},
    {"user_id": "eve"},
    {"user_id": "zoë", "body_data": {"shoe_size": 39}},
]
SESSIONS: list[Row] = [
    {"session_id": "s1", "user_id": "ada", "started_at": "2026-03-01T09:00:00Z", "ended_at": "2026-03-01T09:30:00Z"},
    {"session_id": "s2", "user_id": "ada", "started_at": "2026-03-02T09:00:00Z"},
    {"session_id": "s3", "user_id": "eve", "device_data": {"model": "Pixel 9", "os": "Android 16"}},
]
RECORDINGS: list[Row] = [
    {
        "recording_id": f"r{number:02}",
        "recording_link": f"gs://study/{number}",
        "recording_type": "gait" if number % 2 else "voice",
        "user_id": "eve" if number == 12 else "ada",
        "created_session_id": "s1" if number < 5 else None,
    }
    for number in range(1, 13)
]
ALGOS: list[Row] = [
    {"algo_id": "steps-1", "recording_type": "gait", "location": "https://git.example/steps", "version": "1.0"},
    {"algo_id": "steps-2", "recording_type": "gait", "location": "https://git.example/steps", "version": "2.0"},
    {"algo_id": "pitch", "recording_type": "voice", "location": "https://git.example/pitch", "version": "1.0"},
]
# Numbered from 1; the number stands in the id. In the night of the 29th of March Europe's clocks go forward, in that
# of the 25th of October they go back.
EVENTS: list[Row] = [
    {
        "user_id": "ada",
        "event_type": "tap",
        "ts": "2026-03-28T21:00:00Z",
        "event_data": {"screen": "home", "dur": 0.25},
    },
    {"user_id": "ada", "event_type": "tap", "ts": "2026-03-28T23:30:00Z", "event_data": {"screen": "Home", "dur": 3}},
    {
        "user_id": "Bob",
        "event_type": "Tap",
        "ts": "2026-03-29T00:30:00Z",
        "event_data": {"screen": "settings", "dur": "3"},
    },
    {
        "user_id": "Bob",
        "event_type": "swipe",
        "ts": "2026-03-29T01:30:00Z",
        "event_data": {"step": {"count": 7}, "ok": True},
    },
    {
        "user_id": "zoë",
        "event_type": "open",
        "ts": "2026-03-29T22:30:00Z",
        "event_data": {"step": {"count": 7.0}, "ok": False},
    },
    {
        "event_type": "crash",
        "ts": "2026-10-25T00:15:00Z",
        "log_level": "error",
        "event_data": {"ok": None, "codes": [5, 6]},
    },
    {
        "event_type": "crash",
        "ts": "2026-10-25T01:15:00Z",
        "log_level": "error",
        "event_data": {"codes": {"0": 5, "1": 9}},
    },
    {
        "user_id": "a,b",
        "event_type": "open",
        "ts": "2026-10-25T22:59:59.5Z",
        "log_level": "info",
        "event_source": "app",
    },
    {
        "user_id": "_%*",
        "event_type": "100%",
        "ts": "2026-12-31T23:00:00Z",
        "event_data": {"a.b": {"": "x"}, "dur": 1e300},
    },
    {
        "user_id": "ada",
        "event_type": "open",
        "ts": "2027-01-01T00:00:00Z",
        "event_source": "web",
        "event_data": {"screen": "h*me"},
    },
]
for _number, _event in enumerate(EVENTS, 1):
    _event["event_id"] = f"00000000-0000-7000-8000-{_number:012d}"
TABLES = {"users": USERS, "sessions": SESSIONS, "recordings": RECORDINGS, "algos": ALGOS, "events": EVENTS}


def load(client: httpx.Client) -> None:
    """Send the whole study."""
    for path, rows in TABLES.items():
        for row in rows:
            answer = client.post(f"/{path}", json=row)
            assert answer.status_code == 201, answer.text


def number(row: Row) -> int:
    """Which of the events a row is."""
    return int(row["event_id"][-12:])


def numbers(answer: httpx.Response) -> list[int]:
    """Which events an answer has, in their order in it."""
    assert answer.status_code == 200, answer.text
    return [number(row) for row in answer.json()]
