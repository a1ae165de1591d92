"""Filters: column=value, bounds, repeated values; all of them must hold."""

import httpx
import pytest

EVENTS = [
    {"event_type": "tap", "user_id": "ada", "session_id": "s1", "event_source": "app", "ts": "2026-01-01T00:00:00Z"},
    {"event_type": "tap", "user_id": "eve", "session_id": "s2", "event_source": "web", "ts": "2026-01-02T00:00:00Z"},
    {"event_type": "open", "user_id": "ada", "session_id": "s2", "log_level": "info", "ts": "2026-01-03T12:00:00.5Z"},
    {"event_type": "Tap", "user_id": None, "session_id": "", "event_source": "a,b", "ts": "2026-01-04T00:00:00+02:00"},
]


@pytest.fixture
def service(client: httpx.Client) -> httpx.Client:
    for event in EVENTS:
        assert client.post("/events", json=event).status_code == 201
    return client


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("", [1, 2, 3, 4]),
        ("user_id=ada", [1, 3]),
        ("user_id=ada&event_type=tap", [1]),
        ("event_type=tap", [1, 2]),
        ("event_type=tap&event_type=open", [1, 2, 3]),
        ("event_type=tap&event_type=tap", [1, 2]),
        ("event_type__eq=tap", [1, 2]),
        ("session_id=", [4]),
        ("session_id=s2&user_id=eve&user_id=ada", [2, 3]),
        ("event_source=a,b", [4]),
        ("log_level=info", [3]),
        ("user_id=nobody", []),
        ("user_id=null", []),
        ("user_id=ad%61", [1, 3]),
        ("user_id_gte=b", [2]),
        ("user_id_lte=b", [1, 3]),
        ("ts=2026-01-01", [1]),
        ("ts=2026-01-01T01:00:00%2B01:00", [1]),
        ("ts=2026-01-01T01:00:00+01:00", [1]),
        ("ts=2026-01-01T00:00:00", [1]),
        ("ts=2026-01-01&ts=2026-01-02", [1, 2]),
        ("ts_gte=2026-01-02", [2, 3, 4]),
        ("ts_gte=2026-01-02T00:00:00.000001Z", [3, 4]),
        ("ts_lte=2026-01-03T12:00:00.5Z", [1, 2, 3]),
        ("ts_lte=2026-01-03T12:00:00.499999Z", [1, 2]),
        ("ts__gte=2026-01-02&ts__lte=2026-01-03", [2]),
        ("ts_gte=2026-01-02&ts_gte=2026-01-03", [3, 4]),
        ("ts_gte=2026-01-03T22:00:00Z", [4]),
        ("ts_gte=2026-02-01", []),
    ],
)
def test_filter_finds_its_rows(service: httpx.Client, query: str, days: list[int]) -> None:
    response = service.get(f"/events?sort=ts&{query}")
    assert response.status_code == 200, response.text
    # The fourth event is told by its offset: it is the third of January in UTC.
    found = [4 if row["ts"].startswith("2026-01-03T22") else int(row["ts"][8:10]) for row in response.json()]
    assert found == days


def test_event_is_found_by_its_id_in_any_case(service: httpx.Client) -> None:
    event_id = service.get("/events").json()[0]["event_id"]
    for spelled in (event_id, event_id.upper()):
        assert [row["event_id"] for row in service.get("/events", params={"event_id": spelled}).json()] == [event_id]
        assert service.get(f"/events/{spelled}").status_code == 200


def test_filters_of_the_contract_exist_on_their_tables(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    client.post("/sessions", json={"session_id": "s", "user_id": "ada"})
    recording = {"recording_id": "r", "recording_link": "x", "recording_type": "gait", "user_id": "ada"}
    client.post("/recordings", json=recording)
    client.post("/algos", json={"algo_id": "a", "recording_type": "gait", "location": "x", "version": "1"})
    for query in (
        "/sessions?user_id=ada",
        "/recordings?user_id=ada",
        "/recordings?recording_type=gait",
        "/algos?recording_type=gait",
        "/algos?version=1",
    ):
        assert len(client.get(query).json()) == 1
        assert client.get(query.replace("=", "=x")).json() == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("user=ada", "did you mean user_id?"),
        ("siez=10", "did you mean size?"),
        ("ts_get=2026-01-01", "did you mean ts_gt?"),
        ("sort=-tss", "did you mean ts?"),
        ("size=500", "largest page, 100"),
        ("ts_gte=soon", "ts_gte=soon: takes a time of the calendar"),
        ("event_data=1", "JSON document"),
    ],
)
def test_error_names_the_parameter_and_what_would_have_been_right(client: httpx.Client, query: str, said: str) -> None:
    refused = client.get(f"/events?{query}")
    assert refused.status_code == 400
    assert said in refused.json()["detail"]
    assert refused.json()["errors"][0]["in"] == "query"
    assert refused.json()["errors"][0]["pointer"] == query.partition("=")[0]
