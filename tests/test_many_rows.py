"""POST of many rows: all or nothing, from JSON, lines of JSON, or a CSV."""

import csv
import io
import json
from typing import Any

import httpx
import pytest

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00+00:00"}
CSV, LINES, JSON = ({"Content-Type": each} for each in ("text/csv", "application/x-ndjson", "application/json"))
IGNORE, MERGE = ({"Prefer": f"resolution={each}-duplicates"} for each in ("ignore", "merge"))


def keys(client: httpx.Client, path: str = "/users") -> list[str]:
    return [row[path[1:-1] + "_id"] for row in client.get(path, params={"size": 100}).json()]


def test_rows_of_an_array_are_answered_in_order(client: httpx.Client) -> None:
    answer = client.post("/users", json=[{"user_id": key} for key in ("b", "a", "c")])
    assert answer.status_code == 201
    assert [row["user_id"] for row in answer.json()] == ["b", "a", "c"]
    assert answer.json()[0] == client.get("/users/b").json()
    assert client.post("/users", json=[]).json() == []


def test_thousand_rows_are_the_most(client: httpx.Client) -> None:
    many = [EVENT | {"session_id": f"s{number}"} for number in range(1001)]
    answer = client.post("/events", json=many)
    assert (answer.status_code, client.get("/events").json()) == (400, [])
    assert "1001 rows" in answer.json()["detail"]
    answer = client.post("/events", json=many[:1000])
    assert [row["session_id"] for row in answer.json()] == [row["session_id"] for row in many[:1000]]
    lines = "\n".join(map(json.dumps, many))
    assert client.post("/events", content=lines, headers=LINES).status_code == 400
    table = "event_type,ts\n" + "tap,2026-01-31T09:30:00Z\n" * 1001
    assert client.post("/events", content=table, headers=CSV).status_code == 400
    assert client.head("/events?count=exact").headers["x-total-count"] == "1000"


@pytest.mark.parametrize(
    ("rows", "status", "index", "pointer"),
    [
        ([{"user_id": "a"}, {"user_id": "b", "body_data": {"height": "x"}}], 400, 1, "/1/body_data/height"),
        ([{"user_id": "a"}, {"user_id": "b"}, {"user_id": "a"}], 400, 2, "/2/user_id"),
        ([{"user_id": "a"}, {}], 400, 1, "/1/user_id"),
        ([{"user_id": "a"}, 7], 400, 1, "/1"),
        ([{"user_id": "a"}, {"user_id": "b", "nam": 1}], 400, 1, "/1/nam"),
        ([{"user_id": "a"}, {"user_id": "b"}, {"user_id": "there"}], 409, 2, "/2"),
    ],
)
def test_one_bad_row_stops_all_and_is_named(
    client: httpx.Client, rows: list[Any], status: int, index: int, pointer: str
) -> None:
    client.post("/users", json={"user_id": "there"})
    answer = client.post("/users", json=rows)
    problem = answer.json()
    assert (answer.status_code, problem["errors"][0]["pointer"]) == (status, pointer)
    assert f"index {index}" in problem["detail"]
    assert keys(client) == ["there"]


def test_all_that_is_wrong_is_told_at_once(client: httpx.Client) -> None:
    rows: list[Any] = [{"user_id": str(number), "x": number} for number in range(300)]
    problems = client.post("/users", json=rows).json()["errors"]
    assert [problem["pointer"] for problem in problems] == [f"/{number}/x" for number in range(100)]


def test_row_that_refers_to_nothing_is_named(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    rows = [{"session_id": str(number), "user_id": "ada" if number < 700 else "ghost"} for number in range(800)]
    answer = client.post("/sessions", json=rows)
    assert answer.status_code == 409
    assert "index 700" in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "/700/user_id"
    assert keys(client, "/sessions") == []


def test_rows_that_exist_are_ignored(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "b", "body_data": {"height": 1}})
    answer = client.post("/users", json=[{"user_id": key} for key in "abc"], headers=IGNORE)
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "resolution=ignore-duplicates"
    assert [row["user_id"] for row in answer.json()] == ["a", "c"]
    assert client.get("/users/b").json()["body_data"] == {"height": 1}
    again = client.post("/users", json=[{"user_id": key} for key in "abc"], headers=IGNORE)
    assert (again.status_code, again.json()) == (201, [])
    one = client.post("/users", json={"user_id": "b"}, headers=IGNORE)
    assert (one.status_code, one.json()["body_data"]) == (200, {"height": 1})
    assert client.post("/users", json={"user_id": "d"}, headers=IGNORE).status_code == 201


def test_rows_that_exist_get_the_columns_that_are_named(client: httpx.Client) -> None:
    old = client.post("/users", json={"user_id": "b", "body_data": {"a": 1}, "firebase_data": {"email": "x"}}).json()
    rows = [{"user_id": "a"}, {"user_id": "b", "body_data": {"b": 2}}, {"user_id": "c", "firebase_data": None}]
    answer = client.post("/users", json=rows, headers=MERGE)
    assert [row["user_id"] for row in answer.json()] == ["a", "b", "c"]
    row = client.get("/users/b").json()
    assert row == old | {"body_data": {"b": 2}, "updated_at": row["updated_at"]}
    assert row["updated_at"] > old["updated_at"]
    one = client.post("/users", json={"user_id": "b", "firebase_data": None}, headers=MERGE)
    assert (one.status_code, one.json()["firebase_data"], one.json()["body_data"]) == (200, None, {"b": 2})
    assert client.post("/users", json={"user_id": "b"}, headers=MERGE).json()["body_data"] == {"b": 2}
    assert client.post("/users", json={"user_id": "new"}, headers=MERGE).status_code == 201
    twice = [{"user_id": "b"}, {"user_id": "b"}]
    for prefer in (MERGE, IGNORE, {}):
        assert client.post("/users", json=twice, headers=prefer).status_code == 400


def test_event_that_is_sent_again_is_harmless(client: httpx.Client) -> None:
    event = EVENT | {"event_id": "550e8400-e29b-41d4-a716-446655440000"}
    assert [client.post("/events", json=event, headers=IGNORE).status_code for _ in range(3)] == [201, 200, 200]
    other = event | {"event_id": event["event_id"].upper()}
    assert client.post("/events", json=[event, other]).status_code == 400
    assert len(client.get("/events").json()) == 1


def test_minimal_answer_has_no_body(client: httpx.Client) -> None:
    minimal = {"Prefer": "return=minimal"}
    answer = client.post("/users", json=[{"user_id": "a"}], headers=minimal)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (201, b"", "0")
    assert answer.headers["preference-applied"] == "return=minimal"
    one = client.post("/users", json={"user_id": "b"}, headers=minimal)
    assert (one.status_code, one.content, one.headers["location"]) == (201, b"", "/users/b")
    assert one.headers["etag"] == client.get("/users/b").headers["etag"]
    for method in ("PUT", "PATCH"):
        assert client.request(method, "/users/b", json={}, headers=minimal).status_code == 204
    assert client.patch("/users?user_id=a", json={"body_data": {}}, headers=minimal).status_code == 204
    assert client.delete("/users/a", headers={"Prefer": "return=representation"}).json()["user_id"] == "a"


def test_rehearsal_answers_and_stores_nothing(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    before = client.get("/users").content
    dry = {"Prefer": "tx=rollback"}
    for method, path, body, status in (
        ("POST", "/users", {"user_id": "eve"}, 201),
        ("POST", "/users", [{"user_id": "eve"}, {"user_id": "bob"}], 201),
        ("POST", "/users", [{"user_id": "eve"}, {"user_id": "ada"}], 409),
        ("PUT", "/users/ada", {"body_data": {"height": 1}}, 200),
        ("PATCH", "/users/ada", {"body_data": {"height": 1}}, 200),
        ("DELETE", "/users/ada", None, 204),
        ("PATCH", "/users?user_id=ada", {"body_data": {"height": 1}}, 200),
        ("DELETE", "/users?user_id=ada", None, 200),
        ("DELETE", "/users/ada?cascade=true", None, 200),
        ("POST", "/batch", {"requests": [{"method": "DELETE", "url": "/users/ada"}]}, 200),
    ):
        answer = client.request(method, path, json=body, headers=dry)
        assert answer.status_code == status, answer.text
        if status < 400:
            assert answer.headers["preference-applied"] == "tx=rollback"
        assert client.get("/users").content == before


@pytest.mark.parametrize(
    "prefer",
    [
        *("resolution=replace", "resolution", "tx=maybe", "tx=rolback"),
        *("max-affected=0", "max-affected=-1", "max-affected=many", "max-affected=1.5"),
        *("handling=strict, foo=bar", "handling=strict, return=everything"),
    ],
)
def test_preference_that_cannot_be_heeded_is_refused(client: httpx.Client, prefer: str) -> None:
    for method, path, body in (("POST", "/users", {"user_id": "a"}), ("DELETE", "/users?user_id=a", None)):
        answer = client.request(method, path, json=body, headers={"Prefer": prefer})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "Prefer")
    assert keys(client) == []


def test_preferences_that_mean_nothing_here_are_ignored(client: httpx.Client) -> None:
    headers = {"Prefer": 'respond-async, wait=5; x=1, missing="default", return=something'}
    assert client.post("/users", json={"user_id": "a"}, headers=headers).status_code == 201
    headers = httpx.Headers([("Prefer", "return=minimal"), ("Prefer", "tx=rollback")])
    assert client.post("/users", json={"user_id": "b"}, headers=headers).content == b""
    assert keys(client) == ["a"]


def test_lines_of_json(client: httpx.Client) -> None:
    answer = client.post("/users", content='{"user_id":"a"}\r\n\n  {"user_id":"b"}\n', headers=LINES)
    assert [row["user_id"] for row in answer.json()] == ["a", "b"]
    answer = client.post("/users", content='{"user_id":"c"}\n\n{"user_id":"d"', headers=LINES)
    assert (answer.status_code, answer.json()["errors"][0]["line"]) == (400, 3)
    answer = client.post("/users", content='{"user_id":"c"}\n\n{"user_id":7}', headers=LINES)
    assert (answer.json()["errors"][0]["pointer"], answer.json()["errors"][0]["line"]) == ("/1/user_id", 3)
    answer = client.post("/users", content='{"user_id":"c"}\n{"user_id":"a"}', headers=LINES)
    assert answer.status_code == 409
    assert "line 2" in answer.json()["detail"]
    assert keys(client) == ["a", "b"]


def test_what_was_exported_can_be_read_back(client: httpx.Client) -> None:
    data = [{"a": 'quotes " and, commas\r\nand lines'}, {"big": 12345678901234567890, "x": [None, True]}, None, {}]
    texts = ["", "plain", 'say "hi"', "two\nlines", None, "ü🐘", " spaces ", "007"]
    rows = [
        EVENT | {"event_data": data[number % 4], "user_id": texts[number % 8], "session_id": f"s{number}"}
        for number in range(24)
    ]
    stored = {row["event_id"]: row for row in client.post("/events", json=rows).json()}
    for format_, headers in (("csv", CSV), ("ndjson", LINES)):
        export = client.get("/events", params={"format": format_}).content
        assert client.delete("/events?event_type=tap").json() == {"count": 24}
        assert client.post("/events", content=export, headers=headers).status_code == 201
        back = {row["event_id"]: row for row in client.get("/events", params={"size": 100}).json()}
        assert back.keys() == stored.keys()
        for key, row in back.items():
            assert row == stored[key] | {name: row[name] for name in ("created_at", "updated_at")}


def test_csv_says_null_and_empty_text_apart(client: httpx.Client) -> None:
    table = 'event_type,user_id,ts,event_data\r\n"",,2026-01-31T09:30:00Z,{}\r\n x ,"",2026-01-31T09:30:00Z,\r\n'
    first, second = client.post("/events", content=b"\xef\xbb\xbf" + table.encode(), headers=CSV).json()
    assert (first["event_type"], first["user_id"], first["event_data"]) == ("", None, {})
    assert (second["event_type"], second["user_id"], second["event_data"]) == (" x ", "", None)


@pytest.mark.parametrize(
    ("table", "line", "column", "told"),
    [
        ("event_type\ntap\n", 1, None, "ts is missing"),
        ("event_type,ts,ts\na,b,c\n", 1, 3, "ts stands twice"),
        ("event_type,ts,\na,b,c\n", 1, 3, "no column"),
        ("event_type,ts,evnt_data\na,b,c\n", 1, 3, "event_data"),
        ("", 1, None, "missing"),
        ("event_type,ts\ntap,2026-01-31T09:30:00Z\ntap\n", 3, None, "1 cells"),
        ("event_type,ts\ntap,2026-01-31T09:30:00Z,x\n", 2, None, "3 cells"),
        ('event_type,ts\n"a\nb",2026-01-31T09:30:00Z\ntap,soon\n', 4, 2, "takes a time"),
        ('event_type,ts\ntap,"2026\n', 2, 2, "quotes"),
        ('event_type,ts\nta"p,2026\n', 2, 1, "quotes"),
        ("event_type,ts,event_data\ntap,2026-01-31T09:30:00Z,[1]\n", 2, 3, "event_data"),
        ('event_type,ts,event_data\ntap,2026-01-31T09:30:00Z,"{""a"":NaN}"\n', 2, 3, "not JSON"),
        ('event_type,ts,event_data\ntap,2026-01-31T09:30:00Z,{"a":1}\n', 2, 3, "quotes"),
        ("event_type,ts\n,2026-01-31T09:30:00Z\n", 2, 1, "is required"),
    ],
)
def test_bad_csv_is_refused_with_line_and_column(
    client: httpx.Client, table: str, line: int, column: int | None, told: str
) -> None:
    answer = client.post("/events", content=table, headers=CSV)
    problem = answer.json()["errors"][0]
    assert (answer.status_code, problem["line"], problem.get("column")) == (400, line, column)
    assert told in problem["detail"] or told in answer.json()["detail"]
    assert client.get("/events").json() == []


@pytest.mark.parametrize(
    ("table", "detail"),
    [
        (",".join(f"k{number}" for number in range(1900)), "line 1, column 1: 'k0' is no column"),
        ("ts," * 1900 + "ts", "line 1, column 2: ts stands twice"),
        ("ts," * 1_000_000 + "ts", "line 1: a line has at most 2000 cells"),
        ("event_type,ts\n" + '"",' * 1_000_000, "line 2: a line has at most 2000 cells"),
    ],
)
def test_csv_with_too_many_columns_is_refused_before_all_are_looked_at(
    idle_client: httpx.Client, table: str, detail: str
) -> None:
    answer = idle_client.post("/events", content=table, headers=CSV)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(detail)
    assert len(answer.json()["errors"]) <= 100


def test_csv_of_pythons_own_writer(client: httpx.Client) -> None:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["user_id", "body_data"])
    writer.writeheader()
    writer.writerow({"user_id": 'a,"b"', "body_data": json.dumps({"height": 1.5})})
    (row,) = client.post("/users", content=file.getvalue().encode(), headers=CSV).json()
    assert (row["user_id"], row["body_data"]) == ('a,"b"', {"height": 1.5})


def test_bodies_of_many_may_be_larger_than_one_row(client: httpx.Client) -> None:
    big = {"note": "x" * 500_000}
    many = [{"user_id": str(number), "body_data": big} for number in range(10)]
    assert client.post("/users", json=many, headers={"Prefer": "return=minimal"}).status_code == 201
    assert client.post("/users", json={"user_id": "one", "body_data": big | {"more": "y" * 600_000}}).status_code == 413
    too_many = json.dumps([{"user_id": f"b{number}", "body_data": big} for number in range(17)]).encode()
    assert client.post("/users", content=too_many, headers=JSON).status_code == 413
    assert client.post("/users", content=iter([too_many]), headers=JSON).status_code == 413
    assert len(keys(client)) == 10


@pytest.mark.parametrize(
    "text", [b"\xff\xfe", b"[" * 100_000, b'[{"user_id": "a"}', b"[{},]", b'[{"a":1,"a":2}]', b"[NaN]"]
)
def test_malformed_bodies_are_refused(client: httpx.Client, text: bytes) -> None:
    for headers in (JSON, LINES, CSV):
        assert client.post("/users", content=text, headers=headers).status_code == 400
    assert client.post("/users", content=text, headers={"Content-Type": "text/plain"}).status_code == 415
    assert keys(client) == []


def test_doubles_and_long_texts_come_back_equal_from_an_array(client: httpx.Client) -> None:
    numbers = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 123456789.12345679, -0.1, 1e22]
    many = [{"user_id": str(number), "body_data": {"height": number, "note": "é" * 9000}} for number in numbers]
    back = client.post("/users", json=many).json()
    assert [row["body_data"]["height"] for row in back] == numbers
