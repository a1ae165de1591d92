"""What was accepted reads back equal, under the address in its `Location`; and can be put back."""

import re
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.rows import ALGOS, EVENTS, RECORDINGS, SESSIONS, USERS, Row, as_sent, equal

CASES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
HEADERS = {"Content-Type": "application/json"}
TABLES = {
    "users": ("user_id", USERS, {}),
    "algos": ("algo_id", ALGOS, {}),
    "events": ("event_id", EVENTS, {}),
    "sessions": ("session_id", SESSIONS, {"user_id": "somebody"}),
    "recordings": ("recording_id", RECORDINGS, {"user_id": "somebody"}),
}


@pytest.fixture
def service(client: httpx.Client) -> httpx.Client:
    client.post("/users", json={"user_id": "somebody"})
    return client


def assert_equal(sent: Row, read: Row) -> None:
    assert set(sent) <= set(read)
    for name, value in read.items():
        if name in sent or name not in ("created_at", "updated_at", "event_id"):
            left_out = {"disabled": False, "utc_offset_min": offset_of(sent.get("ts"))}
            expected = sent.get(name, left_out.get(name))
            assert equal(name, expected, value), (name, expected, value)


def offset_of(text: object) -> int | None:
    """What an event's time says of local time, in minutes."""
    found = re.search(r"([+-])(\d\d):(\d\d)$", str(text))
    ahead = int(found[2]) * 60 + int(found[3]) if found else 0
    return (-ahead if found and found[1] == "-" else ahead) or None


@pytest.mark.parametrize("table", TABLES)
def test_accepted_row_reads_back_equal_and_can_be_put_back(service: httpx.Client, table: str) -> None:
    key, rows, always = TABLES[table]

    @CASES
    @given(rows)
    def check(row: Row) -> None:
        sent = row | always
        created = service.post(f"/{table}", content=as_sent(sent), headers=HEADERS)
        assert created.status_code == 201, created.text
        path = created.headers["location"]
        assert path == f"/{table}/" + quote(created.json()[key], safe="")
        try:
            assert_stored(sent, created, path)
        finally:
            assert service.delete(path).status_code == 204
        assert service.get(path).status_code == 404

    def assert_stored(sent: Row, created: httpx.Response, path: str) -> None:
        assert_equal(sent, created.json())
        read = service.get(path)
        assert read.content == created.content
        listed = service.get(f"/{table}", params={key: created.json()[key]})
        assert listed.json() == [read.json()]
        put = service.put(path, content=as_sent(read.json()), headers=HEADERS)
        assert put.status_code == 200, put.text
        assert {name for name, value in put.json().items() if value != read.json()[name]} <= {"updated_at"}

    check()


DOCUMENTS = {
    "numbers as they were written": '{"a":1e2,"b":1.0,"c":-0,"d":0.10,"e":1E+5,"f":5e-324}',
    "integers past 64 bits": '{"a":9223372036854775808,"b":1000000000000000000000000000000}',
    "a double of 40 digits": '{"a":0.1000000000000000055511151231257827021181}',
    "escapes": '{"a":"\\u00e9\\/\\n\\ud83d\\ude00","\\u0061b":1}',
    "separators of lines": '{"a":"\u2028\u2029\x7f"}',
    "an empty name": '{"":{"":[]}}',
    "names of the prototype": '{"__proto__":1,"constructor":2,"toString":3}',
    "names in their order": '{"b":1,"a":2}',
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_document_is_kept_to_the_letter(client: httpx.Client, document: str) -> None:
    body = f'{{ "event_type" : "x",\n"ts":"2026-01-31T09:30:00Z", "event_data": {document} }}'
    created = client.post("/events", content=body.encode(), headers=HEADERS)
    assert created.status_code == 201, created.text
    assert f'"event_data":{document},' in created.text
    assert f'"event_data":{document},' in client.get("/events").text


def test_white_space_in_a_document_is_not_kept(client: httpx.Client) -> None:
    body = b'{"event_type":"x","ts":"2026-01-31T09:30:00Z","event_data":{ "a" : [ 1 , "b c" ] }}'
    assert '"event_data":{"a":[1,"b c"]},' in client.post("/events", content=body, headers=HEADERS).text
