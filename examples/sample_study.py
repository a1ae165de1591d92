"""Put a small study into a running service: three people, their sessions and recordings, and two days of events.

`docs/querying.md` asks its questions of it. Start the service with `make serve`, then run
`python examples/sample_study.py`; sending it again changes nothing. BASE_URL names another service.
"""

import os
import sys
from typing import Any

import httpx

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")

USERS: list[dict[str, Any]] = [
    {"user_id": "ada", "body_data": {"height": 168.5, "weight": 61}},
    {"user_id": "ben", "body_data": {"height": 181, "weight": 77.5}},
    {"user_id": "eve"},
]
SESSIONS: list[dict[str, Any]] = [
    {"session_id": "ada-1", "user_id": "ada", "started_at": "2026-03-28T21:00:00Z", "ended_at": "2026-03-29T02:00:00Z"},
    {"session_id": "ada-2", "user_id": "ada", "started_at": "2026-03-29T08:00:00Z"},
    {"session_id": "ben-1", "user_id": "ben", "started_at": "2026-03-29T09:00:00Z"},
]
RECORDINGS: list[dict[str, Any]] = [
    {
        "recording_id": f"{person}-{type_}-{number}",
        "recording_link": f"gs://study/{person}/{type_}-{number}.wav",
        "recording_type": type_,
        "user_id": person,
    }
    for person, type_, number in [("ada", "gait", 1), ("ada", "gait", 2), ("ada", "voice", 1), ("ben", "gait", 1)]
]
# Time, person, session, what happened, and what belongs to it.
EVENTS: list[tuple[str, str | None, str | None, str, str, dict[str, Any] | None]] = [
    ("2026-03-28T21:05:00Z", "ada", "ada-1", "open", "app", {"screen": "home"}),
    ("2026-03-28T22:10:00Z", "ada", "ada-1", "tap", "app", {"screen": "home", "dur": 0.25}),
    ("2026-03-28T23:20:00Z", "ada", "ada-1", "tap", "app", {"screen": "Settings", "dur": 1.5}),
    ("2026-03-29T01:30:00Z", "ada", "ada-1", "step", "watch", {"step": {"count": 42}, "indoors": True}),
    ("2026-03-29T08:00:00Z", "ada", "ada-2", "open", "app", {"screen": "home"}),
    ("2026-03-29T08:15:00Z", "ada", "ada-2", "step", "watch", {"step": {"count": 7}, "indoors": False}),
    ("2026-03-29T09:00:00Z", "ben", "ben-1", "open", "app", {"screen": "home"}),
    ("2026-03-29T09:01:00Z", "ben", "ben-1", "tap", "app", {"screen": "help", "dur": 3}),
    ("2026-03-29T09:02:00Z", "ben", "ben-1", "crash", "app", {"screen": "help", "code": "0x2A"}),
    ("2026-03-29T22:30:00Z", None, None, "backup", "server", None),
]


def rows() -> dict[str, list[dict[str, Any]]]:
    """The rows of each resource, in the order in which they refer to each other."""
    names = ("ts", "user_id", "session_id", "event_type", "event_source", "event_data")
    events = [dict(zip(names, event, strict=True)) for event in EVENTS]
    for number, event in enumerate(events, 1):
        event["event_id"] = f"019d0000-0000-7000-8000-{number:012d}"
        event["log_level"] = "error" if event["event_type"] == "crash" else "info"
    return {"users": USERS, "sessions": SESSIONS, "recordings": RECORDINGS, "events": events}


def main() -> int:
    """Send every row; one that is there already is left as it is."""
    with httpx.Client(base_url=BASE_URL) as api:
        for resource, some in rows().items():
            for row in some:
                response = api.post(f"/{resource}", json=row)
                if response.status_code not in (201, 409):
                    print(response.json()["detail"], file=sys.stderr)
                    return 1
            print(f"{resource}: {len(some)} rows")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except httpx.ConnectError:
        print(f"Nothing answers at {BASE_URL}; start the service with: make serve", file=sys.stderr)
        sys.exit(1)
