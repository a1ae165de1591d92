"""PATCH and DELETE of all rows that pass filters."""

import httpx
import pytest

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


@pytest.fixture
def events(client: httpx.Client) -> httpx.Client:
    rows = [
        EVENT | {"user_id": ("ada", "eve")[number % 2], "event_data": {"n": number, "keep": 1.10}}
        for number in range(10)
    ]
    client.post("/events", json=rows)
    return client


def stored(client: httpx.Client) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = client.get("/events?size=100&sort=event_id").json()
    return rows


def test_rows_that_pass_are_changed_and_counted(events: httpx.Client) -> None:
    before = stored(events)
    answer = events.patch("/events?user_id=ada&event_data.n_gte=4", json={"event_type": "open", "session_id": "s"})
    assert (answer.status_code, answer.json()) == (200, {"count": 3})
    for old, new in zip(before, stored(events), strict=True):
        is_changed = old["user_id"] == "ada" and old["event_data"]["n"] >= 4  # type: ignore[index]
        changes = {"event_type": "open", "session_id": "s", "updated_at": new["updated_at"]} if is_changed else {}
        assert new == old | changes
        assert (new["updated_at"] > old["updated_at"]) == is_changed  # type: ignore[operator]


def test_documents_merge_in_each_row(events: httpx.Client) -> None:
    answer = events.patch("/events?user_id=ada", json={"event_data": {"n": None, "x": {"y": 1}}})
    assert answer.json() == {"count": 5}
    for row in stored(events):
        assert (row["event_data"] == {"keep": 1.10, "x": {"y": 1}}) == (row["user_id"] == "ada")
    assert events.patch("/events?user_id=ada", json={"event_data": None}).json() == {"count": 5}


def test_rows_that_pass_are_deleted_and_counted(events: httpx.Client) -> None:
    assert events.delete('/events?or=(user_id.eq.eve,"event_data.n".eq.0)').json() == {"count": 6}
    assert len(stored(events)) == 4
    assert events.delete("/events?user_id=nobody").json() == {"count": 0}


@pytest.mark.parametrize("query", ["", "?", "?&"])
def test_without_a_filter_nothing_happens(events: httpx.Client, query: str) -> None:
    before = stored(events)
    answers = [events.delete(f"/events{query}"), events.patch(f"/events{query}", json={"event_type": "x"})]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert "filter" in answers[0].json()["detail"]
    assert stored(events) == before


@pytest.mark.parametrize("query", ["size=1", "page=1", "sort=ts", "user=ada", "cascade=true", "user_id=ada&limit=1"])
def test_other_parameters_are_refused(events: httpx.Client, query: str) -> None:
    before = stored(events)
    assert events.delete(f"/events?{query}").status_code == 400
    assert events.patch(f"/events?{query}", json={"event_type": "x"}).status_code == 400
    assert stored(events) == before


def test_past_max_affected_nothing_happens(events: httpx.Client) -> None:
    before = stored(events)
    for most in ("1", "4"):
        headers = {"Prefer": f"max-affected={most}"}
        for patch in ({"event_type": "x"}, {"event_data": {"a": 1}}):
            answer = events.patch("/events?user_id=ada", json=patch, headers=headers)
            assert (answer.status_code, stored(events)) == (400, before)
        assert events.delete("/events?user_id=ada", headers=headers).status_code == 400
    assert stored(events) == before
    answer = events.delete("/events?user_id=ada", headers={"Prefer": "max-affected=5"})
    assert (answer.json(), answer.headers["preference-applied"]) == ({"count": 5}, "max-affected=5")


def test_more_than_a_thousand_rows_have_to_be_allowed(client: httpx.Client) -> None:
    for _ in range(2):
        client.post("/events", json=[EVENT | {"event_data": {}}] * 600, headers={"Prefer": "return=minimal"})
    assert client.delete("/events?event_type=tap").status_code == 400
    assert client.patch("/events?event_type=tap", json={"log_level": "x"}).status_code == 400
    allowed = {"Prefer": "max-affected=999999999"}
    assert client.patch("/events?event_type=tap", json={"event_data": {"a": 1}}, headers=allowed).status_code == 400
    assert client.patch("/events?event_type=tap", json={"log_level": "x"}, headers=allowed).json() == {"count": 1200}
    assert client.delete("/events?event_type=tap", headers=allowed).json() == {"count": 1200}


@pytest.mark.parametrize(
    "patch",
    [
        {"event_type": None},
        {"event_id": "550e8400-e29b-41d4-a716-446655440000"},
        {"event_id": None},
        {"ts": "soon"},
        {"nothing": 1},
        {"event_data": [1]},
        [],
    ],
)
def test_patch_that_no_row_could_have_is_refused(events: httpx.Client, patch: object) -> None:
    before = stored(events)
    assert events.patch("/events?user_id=ada", json=patch).status_code == 400
    assert stored(events) == before


def test_patch_that_one_row_cannot_have_changes_none(client: httpx.Client) -> None:
    client.post("/users", json=[{"user_id": key, "body_data": {"height": 1}} for key in "abc"])
    before = client.get("/users").content
    answer = client.patch("/users?user_id_in=a,b,c", json={"body_data": {"height": {"cm": 1}}})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/body_data/height")
    assert client.get("/users").content == before


def test_references_are_kept(client: httpx.Client) -> None:
    client.post("/users", json=[{"user_id": key} for key in "abc"])
    client.post("/sessions", json=[{"session_id": "1", "user_id": "b"}, {"session_id": "2", "user_id": "b"}])
    answer = client.delete("/users?user_id_in=a,b,c")
    assert (answer.status_code, "2 of sessions" in answer.json()["detail"]) == (409, True)
    assert client.delete("/users?user_id_in=a,c").json() == {"count": 2}
    answer = client.patch("/sessions?user_id=b", json={"user_id": "ghost"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/user_id")
    assert len(client.get("/sessions?user_id=b").json()) == 2


def test_what_no_row_may_have_is_refused_where_no_row_passes(client: httpx.Client) -> None:
    for patch in ({"seq": 2**63}, {"seq": 2**63, "event_data": {"a": 1}}, {"event_type": 5, "event_data": {}}):
        assert client.patch("/events?event_type=nothing", json=patch).status_code == 400, patch
