"""A walk through the API: a person, a session, a recording, an algorithm and events, over HTTP.

Start the service with `make serve`, then run `python examples/basic_usage.py`. BASE_URL names another one.
"""

import os
import sys
from typing import Any
from uuid import uuid4

import httpx

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")


def show(title: str, response: httpx.Response) -> Any:
    """Print a request and its answer; the answer's JSON, if it has any."""
    request = response.request
    path = request.url.raw_path.decode()
    print(f"\n{title}\n  {request.method} {path}  ->  {response.status_code}")
    if not response.content:
        return None
    content = response.json()
    for row in content if isinstance(content, list) else [content]:
        print(f"  {row}")
    return content


def main() -> int:
    """Walk once around; leaves nothing behind but what it prints."""
    # Keys are chosen by the client; a new person each time lets the walk be repeated.
    person = f"ada-{uuid4().hex[:8]}"
    session, recording, algorithm = f"session-{person}", f"recording-{person}", f"steps-{person}"
    with httpx.Client(base_url=BASE_URL) as api:
        user = {
            "user_id": person,
            "firebase_data": {"email": "ada@example.org", "display_name": "Ada"},
            "body_data": {"height": 168.5, "weight": 61},
        }
        show("A person joins the study", api.post("/users", json=user))
        user["body_data"] = {"height": 168.5, "weight": 60.5}
        show("Her weight changes; PUT replaces the row", api.put(f"/users/{person}", json=user))

        opened = {"session_id": session, "user_id": person, "started_at": "2026-01-31T10:30:00+01:00"}
        show("Her app opens a session; times come back in UTC", api.post("/sessions", json=opened))

        made = {
            "recording_id": recording,
            "recording_link": f"gs://study/{recording}.wav",
            "recording_type": "gait",
            "user_id": person,
            "created_session_id": session,
        }
        show("The app makes a recording", api.post("/recordings", json=made))
        show("Her recordings of one type", api.get("/recordings", params={"user_id": person, "recording_type": "gait"}))

        algo = {
            "algo_id": algorithm,
            "recording_type": "gait",
            "location": "https://git.example/steps",
            "version": "3.1",
        }
        show("A researcher registers an algorithm", api.post("/algos", json=algo))

        events = []
        for second, kind in enumerate(["app_open", "tap", "tap"]):
            event = {
                "user_id": person,
                "session_id": session,
                "event_type": kind,
                "event_data": {"screen": "home", "n": second},
                "event_source": "app",
                "log_level": "info",
                "ts": f"2026-01-31T09:30:0{second}Z",
            }
            events.append(show("An event; the server makes its id", api.post("/events", json=event)))
        taps = api.get("/events", params={"user_id": person, "event_type": "tap", "ts_gte": "2026-01-31", "size": 1})
        show("Her taps since a day, newest first, one per page", taps)
        show("The next page, as the Link header says", api.get(taps.links["next"]["url"]))

        wrong = api.post("/events", json={"event_type": "tap", "ts": "yesterday"})
        show("What is wrong is said in one sentence", wrong)
        show("A person with rows is not deleted", api.delete(f"/users/{person}"))

        for event in events:
            api.delete(f"/events/{event['event_id']}")
        for path in (f"/algos/{algorithm}", f"/recordings/{recording}", f"/sessions/{session}"):
            api.delete(path)
        show("Without rows she is", api.delete(f"/users/{person}"))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except httpx.ConnectError:
        sys.exit(f"Nothing answers at {BASE_URL}; start the service with: make serve")
