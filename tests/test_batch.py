"""POST /batch: requests over any resources in one transaction."""

from typing import Any

import httpx
import pytest

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


def part(method: str, url: str, body: Any = None, **headers: str) -> dict[str, Any]:
    made: dict[str, Any] = {"method": method, "url": url}
    if body is not None:
        made["body"] = body
    if headers:
        made["headers"] = {name.replace("_", "-"): value for name, value in headers.items()}
    return made


def run(client: httpx.Client, *parts: dict[str, Any], **headers: str) -> httpx.Response:
    return client.post("/batch", json={"requests": list(parts)}, headers=headers)


def test_requests_over_several_resources(client: httpx.Client) -> None:
    answer = run(
        client,
        part("POST", "/users", {"user_id": "ada", "body_data": {"height": 1.10}}),
        part("POST", "/sessions", {"session_id": "s 1", "user_id": "ada"}),
        part("POST", "/events", [EVENT, EVENT | {"user_id": "ada"}]),
        part("PATCH", "/users/ada", {"body_data": {"weight": 60}}),
        part("GET", "/users?user_id=ada&expand=sessions(fields:session_id)&count=exact"),
        part("PUT", "/sessions/s%201", {"user_id": "ada", "ended_at": "2026-01-31T10:00:00Z"}),
        part("DELETE", "/events?user_id=ada"),
        part("GET", "/events/-/aggregate"),
        part("DELETE", "/sessions/s%201"),
    )
    assert answer.status_code == 200
    answers = answer.json()
    assert [each["status"] for each in answers] == [201, 201, 201, 200, 200, 200, 200, 200, 204]
    assert answers[0]["headers"]["Location"] == "/users/ada"
    assert answers[1]["headers"]["Location"] == "/sessions/s%201"
    assert answers[3]["body"] == client.get("/users/ada").json()
    assert answers[3]["headers"]["ETag"] == client.get("/users/ada").headers["etag"]
    assert answers[4]["body"][0]["sessions"] == [{"session_id": "s 1"}]
    assert answers[4]["headers"]["X-Total-Count"] == "1"
    assert (answers[6]["body"], answers[7]["body"], answers[8]["body"]) == ({"count": 1}, [{"count": 1}], None)
    assert len(client.get("/events").json()) == 1


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        (part("POST", "/users", {"user_id": "ada"}), 409),
        (part("POST", "/sessions", {"session_id": "s", "user_id": "ghost"}), 409),
        (part("POST", "/users", {"user_id": 7}), 400),
        (part("POST", "/users", [{"user_id": "x"}, {"user_id": "ada"}]), 409),
        (part("DELETE", "/users/nobody"), 404),
        (part("GET", "/users/nobody"), 404),
        (part("PATCH", "/users/ada", {}, If_Match='"old"'), 412),
        (part("PUT", "/users/ada", {}, If_None_Match="*"), 412),
        (part("DELETE", "/users"), 400),
        (part("DELETE", "/events?event_type=tap", Prefer="max-affected=0"), 400),
        (part("TRACE", "/users"), 400),
        (part("post", "/users", {"user_id": "x"}), 400),
        (part("POST", "/nothing", {}), 400),
        (part("GET", "/health/live"), 400),
        (part("GET", "/openapi.json"), 400),
        (part("GET", "/events?format=csv"), 400),
        (part("GET", "/users", Accept="text/csv"), 400),
        (part("POST", "/users", {"user_id": "x"}, Content_Type="text/plain"), 400),
        (part("POST", "/users", {"user_id": "x"}, Content_Type="text/csv"), 400),
        (part("POST", "/users"), 400),
        (part("POST", "/batch", {"requests": []}), 400),
        (part("POST", "/%62atch", {"requests": []}), 400),
        (part("POST", "/batch/", {"requests": []}), 400),
        (part("POST", "/users", {"user_id": "x"}, Authorization="Bearer x"), 400),
        (part("POST", "/users", {"user_id": "x"}, Prefer="tx=rollback"), 400),
        (part("POST", "/users", {"user_id": "x"}, Prefer="a\nb"), 400),
        (part("POST", "users", {"user_id": "x"}), 400),
        (part("POST", "http://example.org/users", {"user_id": "x"}), 400),
        (part("POST", "/üsers", {"user_id": "x"}), 400),
    ],
)
def test_first_failure_undoes_all_and_is_named(client: httpx.Client, failing: dict[str, Any], status: int) -> None:
    client.post("/users", json={"user_id": "ada"})
    client.post("/events", json=EVENT)
    before = client.get("/users").content + client.get("/events").content
    answer = run(
        client,
        part("POST", "/users", {"user_id": "eve"}),
        part("DELETE", "/events?event_type=tap"),
        failing,
        part("POST", "/users", {"user_id": "bob"}),
    )
    problem = answer.json()
    assert answer.status_code == status, answer.text
    assert "request 2" in problem["detail"]
    assert problem["errors"][0]["pointer"].startswith("/requests/2")
    assert client.get("/users").content + client.get("/events").content == before


def test_error_inside_of_a_part_points_into_it(client: httpx.Client) -> None:
    rows = [{"session_id": "1", "user_id": "new"}, {"session_id": "2", "user_id": "ghost"}]
    problem = run(client, part("POST", "/users", {"user_id": "new"}), part("POST", "/sessions", rows)).json()
    assert problem["errors"][0]["pointer"] == "/requests/1/body/1/user_id"
    assert "index 1" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"requests": {}},
        {"requests": [1]},
        {"requests": [{"method": "GET"}]},
        {"requests": [{"method": "GET", "url": 1}]},
        {"requests": [{"method": "GET", "url": "/users", "headers": {"Prefer": 1}}]},
        {"requests": [{"method": "GET", "url": "/users", "other": 1}]},
        {"requests": [], "more": 1},
        {"requests": [{"method": "GET", "url": "/users"}] * 101},
    ],
)
def test_what_is_no_batch_is_refused(client: httpx.Client, body: Any) -> None:
    answer = client.post("/batch", json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["in"] == "body"


def test_hundred_requests_and_none(client: httpx.Client) -> None:
    answer = run(client, *(part("POST", "/users", {"user_id": str(number)}) for number in range(100)))
    assert [each["status"] for each in answer.json()] == [201] * 100
    assert run(client).json() == []
    assert client.get("/batch").status_code == 405


def test_other_media_types_inside_stand_in_a_text(client: httpx.Client) -> None:
    lines = part("POST", "/users", '{"user_id":"a"}\n{"user_id":"b"}', Content_Type="application/x-ndjson")
    table = part("POST", "/users", "user_id\nc\n", content_type="text/csv", prefer="return=minimal")
    first, second = run(client, lines, table).json()
    assert [row["user_id"] for row in first["body"]] == ["a", "b"]
    assert (second["status"], second["body"]) == (201, None)
    assert len(client.get("/users").json()) == 3


def test_documents_in_a_batch_keep_their_text_and_their_limits(client: httpx.Client) -> None:
    def batch(levels: int) -> bytes:
        document = '{"a":' * levels + "1.10" + "}" * levels
        inside = '[{"event_type":"t","ts":"2026-01-31T09:30:00Z","event_data":' + document + "}]"
        return ('{"requests":[{"method":"POST","url":"/events","body":' + inside + "}]}").encode()

    headers = {"Content-Type": "application/json"}
    answer = client.post("/batch", content=batch(64), headers=headers)
    assert (answer.status_code, "1.10" in answer.text) == (200, True)
    for levels in (65, 5000, 100_000):
        assert client.post("/batch", content=batch(levels), headers=headers).status_code == 400


def test_erasure_inside_of_a_batch(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    client.post("/events", json=EVENT | {"user_id": "ada"})
    erasure = part("DELETE", "/users/ada?cascade=true")
    refused = run(client, erasure, part("POST", "/users", {"user_id": "ada"}))
    assert refused.status_code == 410
    assert "request 1" in refused.json()["detail"]
    assert len(client.get("/events").json()) == 1

    first, _ = run(client, erasure, part("POST", "/users", {"user_id": "ben"})).json()
    assert first["body"]["event_log"] == 1
    assert client.get("/events").json() == []
