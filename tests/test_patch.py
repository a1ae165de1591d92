"""PATCH: JSON merge patch (RFC 7396), inside JSON columns too, checked like a new row."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import rows

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z", "event_data": {"step": {"count": 3, "unit": "m"}, "x": [1]}}


@pytest.fixture
def event(client: httpx.Client) -> str:
    return f"/events/{client.post('/events', json=EVENT | {'user_id': 'ada'}).json()['event_id']}"


def test_left_out_columns_stay_and_null_deletes(client: httpx.Client, event: str) -> None:
    before = client.get(event).json()
    answer = client.patch(event, json={"event_type": "open", "user_id": None})
    assert answer.status_code == 200
    after = answer.json()
    assert after == client.get(event).json()
    changed = {"event_type": "open", "user_id": None, "updated_at": after["updated_at"]}
    assert after == before | changed
    assert after["updated_at"] > before["updated_at"]


def test_documents_merge_inside(client: httpx.Client, event: str) -> None:
    patch = {"event_data": {"step": {"count": 4, "unit": None, "new": {"a": None, "b": [None]}}, "y": "z"}}
    merged = client.patch(event, json=patch).json()["event_data"]
    assert merged == {"step": {"count": 4, "new": {"b": [None]}}, "x": [1], "y": "z"}
    assert client.patch(event, json={"event_data": {"x": {"y": 1}}}).json()["event_data"]["x"] == {"y": 1}
    assert client.patch(event, json={"event_data": None}).json()["event_data"] is None
    assert client.patch(event, json={"event_data": {"a": {"b": None}}}).json()["event_data"] == {"a": {}}


@pytest.mark.parametrize("media_type", ["application/merge-patch+json", "application/json; charset=utf-8"])
def test_media_types_of_a_patch(client: httpx.Client, event: str, media_type: str) -> None:
    body = json.dumps({"event_type": "open"})
    assert client.patch(event, content=body, headers={"Content-Type": media_type}).status_code == 200
    assert client.patch(event, content=body, headers={"Content-Type": "application/json-patch+json"}).status_code == 415
    assert client.options(event).headers["accept-patch"] == "application/merge-patch+json, application/json"


def test_numbers_that_a_patch_does_not_touch_keep_their_digits(client: httpx.Client) -> None:
    body = '{"user_id": "ada", "body_data": {"big": 123456789012345678901234567890, "exact": 1.10, "tiny": 5e-324}}'
    headers = {"Content-Type": "application/json"}
    client.post("/users", content=body, headers=headers)
    answer = client.patch("/users/ada", content='{"body_data": {"more": 1e2}}', headers=headers)
    for text in ('"big":123456789012345678901234567890', '"exact":1.10', '"tiny":5e-324', '"more":1e2'):
        assert text in answer.text.replace(" ", "")


def test_empty_patch_changes_nothing(client: httpx.Client, event: str) -> None:
    before = client.get(event)
    for patch in ({}, {"created_at": "1999", "updated_at": None}, {"event_id": before.json()["event_id"].upper()}):
        answer = client.patch(event, json=patch)
        assert answer.status_code == 200
        assert answer.json()["event_type"] == "tap"
    assert client.patch(event, json={}).headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"event_type": None}, "event_type"),
        ({"ts": "yesterday"}, "ts"),
        ({"ts": None}, "ts"),
        ({"event_data": []}, "event_data"),
        ({"event_data": "text"}, "event_data"),
        ({"event_typ": "x"}, "did you mean event_type"),
        ({"event_typ": None}, "did you mean event_type"),
        ({"event_id": None}, "event_id"),
        ({"event_id": "550e8400-e29b-41d4-a716-446655440000"}, "event_id"),
        ({"event_type": "x" * 256}, "255"),
        ([], "object"),
        (None, "object"),
    ],
)
def test_patch_that_would_make_a_bad_row_is_refused(client: httpx.Client, event: str, patch: Any, told: str) -> None:
    before = client.get(event).content
    answer = client.patch(event, content=json.dumps(patch), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert told in answer.text
    assert client.get(event).content == before


def test_what_a_patch_makes_of_a_document_is_checked(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada", "body_data": {"height": 1.7, "weight": 60}})
    answer = client.patch("/users/ada", json={"body_data": {"height": "tall"}})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/body_data/height")
    assert client.patch("/users/ada", json={"body_data": {"weight": None}}).json()["body_data"] == {"height": 1.7}


def test_document_cannot_grow_past_the_limit_of_a_row(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada", "body_data": {"a": "x" * 600_000}})
    assert client.patch("/users/ada", json={"body_data": {"b": "x" * 600_000}}).status_code == 413
    assert client.patch("/users/ada", json={"body_data": {"a": "y" * 600_000}}).status_code == 200


def test_deep_patches(client: httpx.Client, event: str) -> None:
    def nested(levels: int) -> str:
        return '{"event_data":' + '{"a":' * levels + "1" + "}" * levels + "}"

    headers = {"Content-Type": "application/json"}
    assert client.patch(event, content=nested(64), headers=headers).status_code == 200
    for levels in (65, 500, 100_000):
        assert client.patch(event, content=nested(levels), headers=headers).status_code == 400


def test_missing_row_and_missing_reference(client: httpx.Client) -> None:
    assert client.patch("/users/nobody", json={}).status_code == 404
    client.post("/users", json={"user_id": "ada"})
    client.post("/sessions", json={"session_id": "s", "user_id": "ada"})
    answer = client.patch("/sessions/s", json={"user_id": "ghost"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/user_id")


def merge(target: Any, patch: Any) -> Any:
    """The algorithm as RFC 7396 prints it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


NAMES = st.sampled_from(["a", "b", "c", "é", 'q"', ""])
VALUES = st.recursive(
    rows.SCALAR, lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2), max_leaves=8
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=DOCUMENTS, patch=DOCUMENTS)
def test_merging_is_what_the_standard_prints(client: httpx.Client, target: Any, patch: Any) -> None:
    client.put("/users/ada", json={"body_data": target}, headers={"Prefer": "resolution=merge-duplicates"})
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = client.patch("/users/ada", content=rows.as_sent({"body_data": patch}), headers=headers)
    assert answer.status_code == 200
    assert rows.same_json(merge(target, patch), answer.json()["body_data"])
