"""No input makes a 500: what is wrong is a 400 (or 413, 415) with one sentence, and stores nothing."""

import json
import random
from collections.abc import Iterator

import httpx
import pytest

JSON = {"Content-Type": "application/json"}
EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


def nested(levels: int) -> str:
    """A JSON object around objects, `levels` deep."""
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


def event(**members: object) -> bytes:
    return json.dumps(EVENT | members).encode()


def event_with(text: str) -> bytes:
    """An event whose `event_data` is this text, JSON or not."""
    return b'{"event_type":"tap","ts":"2026-01-31T09:30:00Z","event_data":' + text.encode() + b"}"


def assert_refused(response: httpx.Response, status: int = 400) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert len(response.content) < 5000


@pytest.fixture
def untouched(idle_client: httpx.Client) -> Iterator[httpx.Client]:
    """A service in which nothing may be stored."""
    yield idle_client
    for path in ("/users", "/sessions", "/recordings", "/algos", "/events"):
        assert idle_client.get(path).json() == []


BODIES = {
    "empty": b"",
    "only white space": b"  ",
    "malformed": b'{"event_type": "tap",',
    "trailing comma": b'{"event_type": "tap",}',
    "single quotes": b"{'event_type': 'tap'}",
    "comment": b'{"event_type": "tap" /* no */}',
    "text after the object": event() + b"x",
    "two objects": event() + event(),
    "an array of no rows": b"[" + event() + b",7]",
    "a string": b'"tap"',
    "a number": b"1",
    "null": b"null",
    "UTF-16": event().decode().encode("utf-16"),
    "UTF-16 without mark": event().decode().encode("utf-16-le"),
    "byte order mark": b"\xef\xbb\xbf" + event(),
    "Latin-1": '{"event_type":"t\u00e9p","ts":"2026-01-31T09:30:00Z"}'.encode("latin-1"),
    "broken UTF-8": b'{"event_type":"\xc3","ts":"2026-01-31T09:30:00Z"}',
    "overlong UTF-8": b'{"event_type":"\xc0\xaf","ts":"2026-01-31T09:30:00Z"}',
    "surrogate in UTF-8": b'{"event_type":"\xed\xa0\x80","ts":"2026-01-31T09:30:00Z"}',
    "lone surrogate": b'{"event_type":"\\ud800","ts":"2026-01-31T09:30:00Z"}',
    "lone low surrogate": b'{"event_type":"\\udc00x","ts":"2026-01-31T09:30:00Z"}',
    "lone surrogate in a document": event_with('{"a":"\\ud83d"}'),
    "lone surrogate in a member name": event_with('{"\\ud83d":1}'),
    "NUL in a text": b'{"event_type":"a\\u0000b","ts":"2026-01-31T09:30:00Z"}',
    "raw NUL": b'{"event_type":"a\x00b","ts":"2026-01-31T09:30:00Z"}',
    "NUL in a document": event_with('{"a":["\\u0000"]}'),
    "NUL in a member name": event_with('{"a\\u0000":1}'),
    "raw line feed in a text": b'{"event_type":"a\nb","ts":"2026-01-31T09:30:00Z"}',
    "NaN": event_with('{"a":NaN}'),
    "Infinity": event_with('{"a":Infinity}'),
    "-Infinity": event_with('{"a":-Infinity}'),
    "1e400": event_with('{"a":1e400}'),
    "integer of 5,000 digits": event_with('{"a":' + "9" * 5000 + "}"),
    "integer past a double": event_with('{"a":1' + "0" * 309 + "}"),
    "leading zero": event_with('{"a":01}'),
    "duplicate member": b'{"event_type":"a","event_type":"b","ts":"2026-01-31T09:30:00Z"}',
    "duplicate member in a document": event_with('{"a":1,"a":1}'),
    "duplicate member by an escape": event_with('{"a":1,"\\u0061":2}'),
    "duplicate member deep in a document": event_with('{"x":[{"a":1,"b":2,"a":3}]}'),
    "document that is an array": event_with("[1]"),
    "document that is a text": event_with('"{}"'),
    "document that is a number": event_with("1"),
    "nested 65 levels": event_with(nested(65)),
    "nested 66 levels": event_with(nested(66)),
    "nested 250 levels": event_with(nested(250)),
    "nested 1,000 levels": event_with(nested(1000)),
    "nested 100,000 levels": event_with(nested(100_000)),
    "arrays nested 65 levels": event_with('{"a":' + "[" * 64 + "]" * 64 + "}"),
    "arrays nested 100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "unknown member": event(event_tpye="tap"),
    "missing member": b'{"ts":"2026-01-31T09:30:00Z"}',
    "null in a required member": event(event_type=None),
    "number for a text": event(event_type=1),
    "boolean for a text": event(event_type=True),
    "object for a text": event(event_type={}),
    "list for a text": event(user_id=["ada"]),
    "text of 256 characters": event(event_type="x" * 256),
    "text of 1,000 random characters": event(
        event_type="".join(random.Random(1).choices([chr(code) for code in range(0x4E00, 0x9FFF)], k=1000))
    ),
    "number for a time": event(ts=1769851800),
    "text of a number for a time": event(ts="1769851800"),
    "boolean for a time": event(ts=True),
    "time without offset": event(ts="2026-01-31T09:30:00"),
    "time with a space": event(ts="2026-01-31 09:30:00Z"),
    "date for a time": event(ts="2026-01-31"),
    "time in year 1": event(ts="0001-01-01T00:00:00Z"),
    "time in year 1969": event(ts="1969-12-31T23:59:59Z"),
    "time that is 1969 in UTC": event(ts="1970-01-01T00:00:00+01:00"),
    "time in year 2201": event(ts="2201-01-01T00:00:00Z"),
    "time that is 2201 in UTC": event(ts="2200-12-31T23:59:59-01:00"),
    "time in year 9999": event(ts="9999-12-31T23:59:59Z"),
    "time past 23:59": event(ts="2026-01-31T24:00:00Z"),
    "leap second": event(ts="2016-12-31T23:59:60Z"),
    "day that is not": event(ts="2026-02-30T09:30:00Z"),
    "February 29 of another year": event(ts="2026-02-29T09:30:00Z"),
    "offset past a day": event(ts="2026-01-31T09:30:00+24:00"),
    "time in other digits": event(ts="\u0662026-01-31T09:30:00Z"),
    "time with a line feed": event(ts="2026-01-31T09:30:00Z\n"),
    "week date": event(ts="2026-W05-6T09:30:00Z"),
    "id that is no UUID": event(event_id="1"),
    "id as a number": event(event_id=1),
    "UUID without dashes": event(event_id="01994d5e6f1c7c3a9d5b3f2a1b0c4d5e"),
    "UUID in braces": event(event_id="{01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e}"),
    "null id": event(event_id=None),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bad_body_is_refused(untouched: httpx.Client, body: bytes) -> None:
    assert_refused(untouched.post("/events", content=body, headers=JSON))


SENTENCES: dict[str, tuple[dict[str, object], str]] = {
    "text": ({"event_type": 1}, "event_type: takes a text"),
    "long text": ({"user_id": "x" * 256}, "user_id: takes at most 255 characters"),
    "UUID": ({"event_id": "1"}, "event_id: takes a UUID such as 01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"),
    "document": ({"event_data": [1]}, "event_data: takes a JSON object"),
    "integer": ({"seq": 1.5}, "seq: takes an integer"),
    "truth": ({"seq": True}, "seq: takes an integer"),
    "large integer": ({"seq": 2**63}, "seq: takes a number of at most 9223372036854775807"),
    "small integer": ({"seq": -(2**63) - 1}, "seq: takes a number of at least -9223372036854775808"),
    "two": ({"event_type": None, "seq": "1"}, "event_type: takes a text (and 1 more)"),
}


@pytest.mark.parametrize(("members", "detail"), SENTENCES.values(), ids=SENTENCES.keys())
def test_refusal_says_what_would_have_been_right(
    untouched: httpx.Client, members: dict[str, object], detail: str
) -> None:
    answer = untouched.post("/events", content=event(**members), headers=JSON)
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        ("", "user_id: takes at least 1 character"),
        ("x" * 256, "user_id: takes at most 255 characters"),
        ("a/b", "user_id: a key has no slash and no control character, and is not '.', '..' or '-'"),
    ],
)
def test_refusal_of_a_key_says_what_would_have_been_right(untouched: httpx.Client, key: str, detail: str) -> None:
    assert untouched.post("/users", json={"user_id": key}).json()["detail"] == detail


# A replacement may leave its key out; the address has it.
REPLACEMENTS = {name: body for name, body in BODIES.items() if name != "null id"}


def test_bad_replacement_is_refused(client: httpx.Client) -> None:
    path = client.post("/events", json=EVENT).headers["location"]
    before = client.get(path).json()
    for body in REPLACEMENTS.values():
        assert_refused(client.put(path, content=body, headers=JSON))
    assert client.get(path).json() == before


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"user_id": ""},
        {"user_id": "x" * 256},
        {"user_id": "a/b"},
        {"user_id": "."},
        {"user_id": ".."},
        {"user_id": "-"},
        {"user_id": "a\nb"},
        {"user_id": "a\x7f"},
        {"user_id": "a\x85"},
        {"user_id": 1},
        {"user_id": None},
        {"user_id": ["ada"]},
        {"user_id": "ada", "body_data": {"height": "1"}},
        {"user_id": "ada", "body_data": {"height": True}},
        {"user_id": "ada", "body_data": {"height": []}},
        {"user_id": "ada", "body_data": {"weight": 2**53 + 1}},
        {"user_id": "ada", "firebase_data": {"email": 1}},
        {"user_id": "ada", "firebase_data": {"display_name": ["Ada"]}},
        {"user_id": "ada", "firebase_data": "x"},
        {"user_id": "ada", "firebase_data": []},
        {"user_id": "ada", "nickname": "a"},
    ],
)
def test_bad_user_is_refused(untouched: httpx.Client, user: object) -> None:
    assert_refused(untouched.post("/users", json=user))


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=one",
        "page=1.0",
        "page=1_0",
        "page=%2B1",
        "page=",
        f"page={2**62}",
        f"page={2**63}",
        f"page={10**20}",
        "page=" + "9" * 5000,
        "page=1&page=2",
        "size=0",
        "size=101",
        "size=-1",
        "size=ten",
        "size=10&size=10",
        "size=",
        "cursor=",
        "cursor=nonsense",
        "cursor=%00",
        "cursor=" + "A" * 20_000,
        "cursor=e30",
        "page=1&cursor=WyJ4IixmYWxzZSxbXV0",
        "sort=",
        "sort=nothing",
        "sort=-",
        "sort=event_data",
        "sort=ts,",
        "sort=ts;drop",
        "sort=" + ",".join(["ts"] * 20),
        "sort=ts&sort=ts",
        "nothing=1",
        "event_typ=tap",
        "Event_type=tap",
        "event_type__=tap",
        "event_type__foo=tap",
        "event_data=1",
        "event_data_gte=1",
        "ts=yesterday",
        "ts_gte=1",
        "ts_gte=2026-02-30",
        "ts_gte=0001-01-01",
        "ts_lte=9999-12-31",
        "ts_lte=2026-01-31T09:30",
        "ts_gte=2026-01-31T09:30:00Z%00",
        "event_id=1",
        "event_id=01994d5e6f1c7c3a9d5b3f2a1b0c4d5e",
        "user_id=%00",
        "user_id=a%00b",
        "user_id=%FF",
        "user_id=%ED%A0%80",
        "%00=1",
        "%FF=1",
        "=1",
        "&".join(f"user_id={number}" for number in range(500)),
        "a" * 5000 + "=1",
    ],
)
def test_bad_query_is_refused(untouched: httpx.Client, query: str) -> None:
    assert_refused(untouched.get(f"/events?{query}"))


@pytest.mark.parametrize("path", ["/users/ada", "/events/01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_parameter_of_a_row_is_refused(untouched: httpx.Client, method: str, path: str) -> None:
    assert_refused(untouched.request(method, f"{path}?cascades=true", json=None if method != "PUT" else {}))


@pytest.mark.parametrize(
    "key",
    [
        "nonsense",
        "1",
        "01994d5e6f1c7c3a9d5b3f2a1b0c4d5e",
        "%00",
        "a%00b",
        "%FF",
        "%ED%A0%80",
        "x" * 300,
        "x" * 5000,
        "%F0%9F%90%98",
        "..%2F..%2Fetc",
        "-",
        "a%0D%0AX-Evil:%201",
    ],
)
@pytest.mark.parametrize("table", ["users", "events"])
def test_key_that_no_row_has_is_not_found(untouched: httpx.Client, table: str, key: str) -> None:
    body = {} if table == "users" else EVENT
    for response in (
        untouched.get(f"/{table}/{key}"),
        untouched.put(f"/{table}/{key}", json=body),
        untouched.delete(f"/{table}/{key}"),
    ):
        assert_refused(response, 404)
        assert "x-evil" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "\xff"},
    ],
)
def test_other_media_type_is_refused(untouched: httpx.Client, headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert_refused(untouched.post("/events", content=event(), headers=encoded), 415)


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
def test_json_by_any_spelling_is_taken(client: httpx.Client, content_type: str) -> None:
    assert client.post("/events", content=event(), headers={"Content-Type": content_type}).status_code == 201


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 5_000_000])
def test_large_body_is_refused_declared_and_chunked(untouched: httpx.Client, size: int) -> None:
    body = event(event_data={"a": "x" * size})

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    assert_refused(untouched.post("/events", content=body, headers=JSON), 413)
    assert_refused(untouched.post("/events", content=chunks(), headers=JSON), 413)


def test_largest_body_is_taken_declared_and_chunked(client: httpx.Client) -> None:
    empty = event(event_data={"a": ""})
    body = event(event_data={"a": "x" * (1024 * 1024 - len(empty))})
    assert len(body) == 1024 * 1024
    assert client.post("/events", content=body, headers=JSON).status_code == 201
    assert client.post("/events", content=iter([body[:100], body[100:]]), headers=JSON).status_code == 201
    assert [len(row["event_data"]["a"]) for row in client.get("/events").json()] == [1024 * 1024 - len(empty)] * 2


def test_document_of_64_levels_is_taken(client: httpx.Client) -> None:
    created = client.post("/events", content=event_with(nested(64)), headers=JSON)
    assert created.status_code == 201
    assert client.get(created.headers["location"]).json()["event_data"] == json.loads(nested(64))
    assert client.get("/events").json()[0]["event_data"] == json.loads(nested(64))


def test_rejected_value_is_not_echoed_at_length(untouched: httpx.Client) -> None:
    secret = "s3cret-" * 100
    for response in (
        untouched.post("/users", json={"user_id": "ada", "firebase_data": secret}),
        untouched.post("/users", json={"user_id": "ada", secret: 1}),
        untouched.get("/users", params={"size": secret}),
        untouched.get("/users", params={secret: 1}),
        untouched.get(f"/users/{secret}"),
    ):
        assert response.status_code in (400, 404)
        assert secret[:150] not in response.text


@pytest.mark.parametrize("names", [30, 60_000])
def test_row_with_many_unknown_members_is_refused_in_few_words(untouched: httpx.Client, names: int) -> None:
    row = EVENT | {f"k{number}": 1 for number in range(names)}
    for body in (row, [row]):
        answer = untouched.post("/events", json=body)
        assert answer.status_code == 400
        assert answer.json()["detail"].endswith(f"(and {names - 1} more)")
        assert len(answer.json()["errors"]) == 25
