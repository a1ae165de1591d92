"""Creating and replacing rows."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


def test_created_row_is_answered_whole_with_its_address(client: httpx.Client) -> None:
    created = client.post("/users", json={"user_id": "ada", "firebase_data": {"email": "ada@example.org", "x": [1]}})
    assert created.status_code == 201
    assert created.headers["location"] == "/users/ada"
    row = created.json()
    account = ["role", "disabled", "tokens_valid_after"]
    assert list(row) == ["user_id", "firebase_data", "body_data", "created_at", "updated_at", *account]
    assert row["firebase_data"] == {"email": "ada@example.org", "x": [1]}
    assert row["body_data"] is None
    assert client.get("/users/ada").json() == row


def test_server_sets_both_timestamps_in_utc(client: httpx.Client) -> None:
    row = client.post("/users", json={"user_id": "ada"}).json()
    made = datetime.fromisoformat(row["created_at"])
    assert row["created_at"] == row["updated_at"]
    assert row["created_at"].endswith("+00:00")
    assert abs(datetime.now(UTC) - made) < timedelta(seconds=10)
    again = client.put("/users/ada", json={}).json()
    assert again["created_at"] == row["created_at"]
    assert datetime.fromisoformat(again["updated_at"]) > made


def test_columns_of_the_server_are_ignored_in_a_body(client: httpx.Client) -> None:
    past = {"created_at": "1999-01-01T00:00:00Z", "updated_at": "nonsense"}
    row = client.post("/users", json={"user_id": "ada"} | past).json()
    assert row["created_at"] > "2020"
    assert client.put("/users/ada", json=past).json()["created_at"] == row["created_at"]


def test_event_without_id_gets_a_uuid_of_version_7(client: httpx.Client) -> None:
    ids = [client.post("/events", json=EVENT).json()["event_id"] for _ in range(3)]
    assert {UUID(event_id).version for event_id in ids} == {7}
    assert ids == sorted(ids)


def test_event_keeps_the_id_that_the_phone_chose(client: httpx.Client) -> None:
    event_id = "550e8400-e29b-41d4-a716-446655440000"
    first = client.post("/events", json=EVENT | {"event_id": event_id.upper()})
    assert first.json()["event_id"] == event_id
    assert first.headers["location"] == f"/events/{event_id}"
    assert client.post("/events", json=EVENT | {"event_id": event_id}).status_code == 409
    assert len(client.get("/events").json()) == 1


def test_second_row_with_the_same_key_is_refused(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada", "body_data": {"height": 1}})
    refused = client.post("/users", json={"user_id": "ada"})
    assert refused.status_code == 409
    assert "user_id" in refused.json()["detail"]
    assert client.get("/users/ada").json()["body_data"] == {"height": 1}


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/sessions", {"session_id": "s", "user_id": "nobody"}),
        ("/recordings", {"recording_id": "r", "recording_link": "x", "recording_type": "y", "user_id": "nobody"}),
    ],
)
def test_row_that_refers_to_nobody_is_refused_and_the_column_named(
    client: httpx.Client, path: str, row: dict[str, str]
) -> None:
    refused = client.post(path, json=row)
    assert refused.status_code == 409
    assert "user_id" in refused.json()["detail"]
    assert refused.json()["errors"][0]["pointer"] == "/user_id"
    client.post("/users", json={"user_id": "nobody"})
    created = client.post(path, json=row)
    assert created.status_code == 201
    assert client.put(created.headers["location"], json=row | {"user_id": "somebody"}).status_code == 409


def test_recording_and_event_may_arrive_before_their_session(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    recording = {"recording_id": "r", "recording_link": "x", "recording_type": "gait", "user_id": "ada"}
    assert client.post("/recordings", json=recording | {"created_session_id": "later"}).status_code == 201
    assert client.post("/events", json=EVENT | {"session_id": "later", "user_id": "unknown"}).status_code == 201


def test_replacement_sets_what_it_leaves_out_to_null(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada", "firebase_data": {"email": "a"}, "body_data": {"height": 1}})
    replaced = client.put("/users/ada", json={"body_data": {"weight": 61}})
    assert replaced.status_code == 200
    assert (replaced.json()["firebase_data"], replaced.json()["body_data"]) == (None, {"weight": 61})
    assert client.get("/users/ada").json() == replaced.json()


def test_replacement_needs_what_a_row_needs(client: httpx.Client) -> None:
    path = client.post("/events", json=EVENT).headers["location"]
    refused = client.put(path, json={"event_type": "tap"})
    assert refused.status_code == 400
    assert refused.json()["errors"] == [{"in": "body", "pointer": "/ts", "detail": "is required"}]


def test_row_keeps_its_key(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    assert client.put("/users/ada", json={"user_id": "ada"}).status_code == 200
    refused = client.put("/users/ada", json={"user_id": "eve"})
    assert refused.status_code == 400
    assert "user_id" in refused.json()["detail"]
    assert client.get("/users/eve").status_code == 404


def test_row_that_is_not_there_is_not_replaced(client: httpx.Client) -> None:
    missing = client.put("/users/ada", json={"user_id": "ada"})
    assert missing.status_code == 404
    assert "ada" in missing.json()["detail"]
    assert client.get("/users").json() == []


def test_several_mistakes_are_all_named(client: httpx.Client) -> None:
    refused = client.post("/events", json={"ts": "soon", "event_tpe": "tap", "user_id": 1})
    problems = {problem["pointer"]: problem["detail"] for problem in refused.json()["errors"]}
    assert problems.keys() == {"/event_type", "/ts", "/event_tpe", "/user_id"}
    assert problems["/event_tpe"] == "is unknown; did you mean event_type?"
    assert problems["/event_type"] == "is required"
    assert "(and 3 more)" in refused.json()["detail"]
