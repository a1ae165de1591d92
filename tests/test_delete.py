"""Deleting rows."""

import httpx


def test_deleted_row_is_gone(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    deleted = client.delete("/users/ada")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.get("/users/ada").status_code == 404
    assert client.delete("/users/ada").status_code == 404


def test_row_that_was_just_read_is_deleted_and_not_read_again(client: httpx.Client) -> None:
    # A select and a delete of one table once shared a place in the cache of compiled statements.
    client.post("/users", json={"user_id": "ada"})
    for _ in range(2):
        assert client.get("/users/ada").status_code == 200
    assert client.delete("/users/ada").status_code == 204
    assert client.get("/users").json() == []


def test_referred_row_is_not_deleted_and_the_answer_names_who_refers(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    for number in range(2):
        client.post("/sessions", json={"session_id": f"s{number}", "user_id": "ada"})
    recording = {"recording_id": "r", "recording_link": "x", "recording_type": "gait", "user_id": "ada"}
    client.post("/recordings", json=recording)
    refused = client.delete("/users/ada")
    assert refused.status_code == 409
    assert "2 of sessions" in refused.json()["detail"]
    assert "1 of recordings" in refused.json()["detail"]
    assert client.get("/users/ada").status_code == 200


def test_row_of_another_table_may_go_although_events_name_it(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    client.post("/events", json={"user_id": "ada", "event_type": "tap", "ts": "2026-01-31T09:30:00Z"})
    assert client.delete("/users/ada").status_code == 204
