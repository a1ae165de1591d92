"""GET /users/{key}/archive: everything that the service holds about a person, for those who may read all of it."""

import json
from collections.abc import Iterator

import httpx
import pytest

from src.api.dependencies import MODEL_MAP
from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers
from tests.server import serving_database

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}
RECORDING = {"recording_link": "gs://x", "recording_type": "gait"}
EMAIL = "ada@example.org"


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as made:
        for person in ("ada", "ben"):
            store(made.admin, person)
        counted = {"device_id": "d", "seq": 1, "session_id": "ada-0", "sent_at": EVENT["ts"], "user_id": "ada"}
        assert made.person("ada").post("/events", json=EVENT | counted).status_code == 201
        # Somebody of whom only events are left.
        made.admin.post("/events", json=EVENT | {"user_id": "ghost"})
        yield made


def store(client: httpx.Client, person: str, events: int = 3) -> None:
    user = {"user_id": person, "firebase_data": {"email": EMAIL}, "body_data": {"height": 170}}
    assert client.post("/users", json=user).status_code == 201
    client.post("/sessions", json=[{"session_id": f"{person}-{number}", "user_id": person} for number in range(2)])
    client.post("/recordings", json=[RECORDING | {"recording_id": f"{person}-r", "user_id": person}])
    rows = [EVENT | {"user_id": person, "event_data": {"text": "zoë\n\u2028"}}] * 1000
    for begin in range(0, events, 1000):
        assert client.post("/events", json=rows[: events - begin]).status_code == 201


def lines_of(answer: httpx.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.content.endswith(b"\n")
    return [json.loads(line) for line in answer.content.split(b"\n")[:-1]]


@pytest.mark.parametrize("who", ["ada", "admin", "service *:read"])
def test_archive_has_every_row_of_the_person_as_it_is_read(callers: Callers, who: str) -> None:
    client = callers.client_of(who)
    lines = lines_of(client.get("/users/ada/archive"))
    assert all(set(line) == {"table", "row"} for line in lines)
    found = sorted((line["table"], json.dumps(line["row"])) for line in lines)
    paths = {"users": "users", "sessions": "sessions", "recordings": "recordings", "event_log": "events"}
    paths |= {"receipts": "receipts", "session_clocks": "session-clocks"}
    # A table that is added with a user_id is to be in the archive too.
    assert set(paths) == {name for name, models in MODEL_MAP.items() if "user_id" in models.info.by_name}
    read = [
        (table, json.dumps(row))
        for table, path in paths.items()
        for row in client.get(f"/{path}?user_id=ada&size=100").json()
    ]
    assert found == sorted(read)
    assert len(found) == 10


def test_researcher_gets_what_they_may_read(callers: Callers) -> None:
    answer = callers.client_of("researcher").get("/users/ada/archive")
    assert len(lines_of(answer)) == 10
    assert EMAIL not in answer.text
    assert "firebase_data" not in answer.text
    assert EMAIL in callers.admin.get("/users/ada/archive").text


def test_service_needs_to_be_allowed_to_read_all_of_it(callers: Callers) -> None:
    scopes = ["users:read", "sessions:read", "recordings:read", "events:read", "receipts:read", "session-clocks:read"]
    assert len(lines_of(callers.service(*scopes).get("/users/ada/archive"))) == 10
    for missing in scopes:
        rest = [scope for scope in scopes if scope != missing]
        assert callers.service(*rest).get("/users/ada/archive").status_code == 403, missing
    assert callers.service("*:write").get("/users/ada/archive").status_code == 403
    assert callers.client().get("/users/ada/archive").status_code == 401


def test_archive_of_another_and_of_nobody_give_the_same_bytes(callers: Callers) -> None:
    ada = callers.person("ada")
    answers = [ada.get(f"/users/{name}/archive") for name in ("ben", "nob", "ghost"[:3])]
    texts = set()
    for answer, name in zip(answers, ("ben", "nob", "gho"), strict=True):
        assert answer.status_code == 404
        texts.add(answer.text.replace(answer.json()["request_id"], "").replace(name, "???"))
        assert answer.headers["content-type"] == "application/problem+json"
    assert len(texts) == 1


def test_whoever_left_only_rows_behind_has_an_archive_too(callers: Callers) -> None:
    (line,) = lines_of(callers.admin.get("/users/ghost/archive"))
    assert line["table"] == "event_log"
    assert lines_of(callers.person("ghost").get("/users/ghost/archive")) == [line]
    for method in ("GET", "HEAD"):
        assert callers.admin.request(method, "/users/nobody/archive").status_code == 404
        assert callers.admin.request(method, "/users/ghost/archive").status_code == 200


def test_archive_takes_no_parameters_and_is_a_download(callers: Callers) -> None:
    assert callers.admin.get("/users/ada/archive?fields=user_id").status_code == 400
    assert callers.admin.post("/users/ada/archive").status_code == 405
    assert "archive.ndjson" in callers.admin.get("/users/ada/archive").headers["content-disposition"]
    assert callers.admin.get("/sessions/ada-0/archive").status_code == 404


def test_archive_of_many_rows_is_whole(migrated_url: str) -> None:
    with serving_database(migrated_url) as client:
        store(client, "ada", events=2500)
        lines = lines_of(client.get("/users/ada/archive"))
        assert len(lines) == 2504
        assert len({json.dumps(line) for line in lines}) == 2504
        assert client.delete("/users/ada?cascade=true").status_code == 200
        assert client.get("/users/ada/archive").status_code == 404
