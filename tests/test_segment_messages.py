"""Messages of Segment's API: what becomes of each member, and that the whole message can be made from its row again."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4, uuid5

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.api.segment.messages import NAMESPACE
from src.main import create_app
from tests.databases import run_sql
from tests.rows import DOCUMENT, SCALAR, TEXT, TIME, Row, instant, maybe, same_json
from tests.server import serving, settings_for

TYPES = ("track", "identify", "page", "screen", "group", "alias")
NOW = "2026-01-31T09:30:00.125Z"


@pytest.fixture(scope="module")
def service(shared_url: str) -> Iterator[tuple[httpx.Client, str]]:
    with serving(create_app(settings_for(shared_url))) as client:
        yield client, shared_url


def message(**members: Any) -> Row:
    return {"type": "track", "event": "tap", "messageId": str(uuid4()), "userId": "ada", "timestamp": NOW} | members


def store(service: tuple[httpx.Client, str], sent: Row, sent_at: Any = "2026-01-31T09:31:00Z") -> Row:
    """Send one message; the row that it became."""
    client, url = service
    keys = {str(key) for (key,) in run_sql(url, "SELECT event_id FROM event_log")}
    answer = client.post("/v1/batch", content=json.dumps({"batch": [sent], "sentAt": sent_at}), headers=JSON)
    assert (answer.status_code, answer.json()["success"]) == (200, True), answer.text
    (new,) = {str(key) for (key,) in run_sql(url, "SELECT event_id FROM event_log")} - keys
    row: Row = client.get(f"/events/{new}").json()
    return row


JSON = {"Content-Type": "application/json"}


def rebuilt(row: Row) -> Row:
    """The message that a row was made from, without what it left out or said to be null."""
    made = dict(row["event_data"])
    taken = {"messageId": row["event_id"], "userId": row["user_id"], "timestamp": row["ts"], "sentAt": row["sent_at"]}
    if made["type"] == "track":
        taken["event"] = row["event_type"]
    if made.get("sentAt") is None:
        # It says nothing, and the batch speaks for it.
        made.pop("sentAt", None)
    made = taken | made
    return {name: value for name, value in made.items() if value is not None}


def same_message(sent: Row, made: Row) -> bool:
    said = {name: value for name, value in sent.items() if value is not None}
    # What the batch says of all of its messages.
    said.setdefault("sentAt", "2026-01-31T09:31:00Z")
    return said.keys() == made.keys() and all(same_member(name, said[name], made[name]) for name in said)


def same_member(name: str, sent: Any, made: Any) -> bool:
    if same_json(sent, made):
        return True
    if name not in ("timestamp", "sentAt"):
        return False
    return isinstance(sent, str) and isinstance(made, str) and instant(sent) == instant(made)


LONG = st.text("ab\u00e9", min_size=256, max_size=300)
TIMES = TIME | st.sampled_from(
    [
        *("", "yesterday", "2026-01-31", "2026-01-31T09:30:00", "2026-01-31 09:30:00+02:00", "1931-01-01T00:00:00Z"),
        *("2026-01-31T09:30:00.123456789Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "20260131"),
        *(1769851800, 1769851800.5, True),
    ]
)
NAMES = st.sampled_from(["properties", "traits", "context", "integrations", "anonymousId", "groupId", "previousId"])
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | TEXT.filter(bool)},
    optional={
        "messageId": maybe(
            st.uuids().map(str) | st.uuids().map(lambda each: str(each).upper()) | TEXT | LONG | st.integers()
        ),
        "userId": maybe(TEXT | LONG | st.integers() | st.booleans()),
        "event": maybe(TEXT | LONG | st.integers()),
        "timestamp": maybe(TIMES),
        "sentAt": maybe(TIMES),
        "name": maybe(TEXT),
        "properties": DOCUMENT,
        "context": DOCUMENT | st.fixed_dictionaries({"library": SCALAR | st.fixed_dictionaries({"name": SCALAR})}),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=MESSAGES, more=st.dictionaries(NAMES | TEXT, SCALAR | DOCUMENT, max_size=3))
def test_every_message_can_be_made_from_its_row_again(service: tuple[httpx.Client, str], known: Row, more: Row) -> None:
    sent = more | known
    if isinstance(sent.get("messageId"), str):
        # The same id twice would be the same message.
        sent["messageId"] = f"{uuid4()}" if len(sent["messageId"]) == 36 else f"{uuid4()} {sent['messageId']}"
    elif sent.get("messageId") is not None:
        sent["messageId"] = uuid4().int
    row = store(service, sent)
    assert same_message(sent, rebuilt(row)), (sent, row)


@pytest.mark.parametrize("type_", TYPES)
def test_columns_take_what_they_can_hold(service: tuple[httpx.Client, str], type_: str) -> None:
    sent = message(type=type_, context={"library": {"name": "analytics-ios"}}, properties={"n": 1})
    row = store(service, sent)
    assert row["event_id"] == sent["messageId"]
    assert (row["user_id"], row["ts"]) == ("ada", "2026-01-31T09:30:00.125+00:00")
    assert (row["event_type"], row["event_source"]) == ("tap" if type_ == "track" else type_, "analytics-ios")
    assert row["sent_at"] == "2026-01-31T09:31:00+00:00"
    left = {"type", "context", "properties"} | (set() if type_ == "track" else {"event"})
    assert set(row["event_data"]) == left


@pytest.mark.parametrize(
    ("member", "value", "column", "stored"),
    [
        ("userId", "u" * 256, "user_id", None),
        ("userId", 7, "user_id", "7"),
        ("userId", "", "user_id", None),
        ("event", "e" * 256, "event_type", "track"),
        ("timestamp", "2026-01-31T09:30:00", "ts", "2026-01-31T09:30:00+00:00"),
        ("timestamp", "2026-01-31 09:30:00+02:00", "ts", "2026-01-31T07:30:00+00:00"),
        ("timestamp", "2026-01-31T09:30:00.123456789Z", "ts", "2026-01-31T09:30:00.123456+00:00"),
        ("sentAt", "soon", "sent_at", "2026-01-31T09:31:00+00:00"),
        ("context", {"library": {"name": "l" * 256}}, "event_source", "segment"),
        ("context", "none", "event_source", "segment"),
    ],
)
def test_what_does_not_fit_a_column_stays_in_the_document(
    service: tuple[httpx.Client, str], member: str, value: Any, column: str, stored: Any
) -> None:
    row = store(service, message(**{member: value}))
    assert (row[column], row["event_data"][member]) == (stored, value)


@pytest.mark.parametrize("value", [None, "yesterday", "1931-01-01T00:00:00Z", 1769851800])
def test_without_a_time_it_happened_when_it_arrived(service: tuple[httpx.Client, str], value: Any) -> None:
    row = store(service, message(timestamp=value))
    assert abs((instant(row["ts"]) - instant(row["created_at"])).total_seconds()) < 60
    assert row["event_data"]["timestamp"] == value


def test_without_a_time_the_original_one_counts(service: tuple[httpx.Client, str]) -> None:
    """The SDK of RudderStack for Node says nothing else."""
    row = store(service, message(timestamp=None, originalTimestamp="2026-01-31T10:30:00.125+01:00"))
    assert (instant(row["ts"]), row["utc_offset_min"]) == (instant("2026-01-31T09:30:00.125Z"), 60)
    assert row["event_data"]["originalTimestamp"] == "2026-01-31T10:30:00.125+01:00"


def test_without_a_time_it_is_known_again(service: tuple[httpx.Client, str]) -> None:
    client, _ = service
    sent = message()
    del sent["timestamp"]
    for _ in range(2):
        assert client.post("/v1/track", json=sent).json() == {"success": True}
        assert client.post("/v1/batch", json={"batch": [sent]}).json() == {"success": True}
    assert client.post("/v1/track", json=sent | {"properties": {"other": 1}}).status_code == 400


def test_ids_that_are_no_uuids_become_some(service: tuple[httpx.Client, str]) -> None:
    row = store(service, message(messageId="ajs-1"))
    assert (row["event_id"], row["event_data"]["messageId"]) == (str(uuid5(NAMESPACE, '"ada"\0ajs-1')), "ajs-1")
    # Of somebody else, it is another message.
    other = store(service, message(messageId="ajs-1", userId="ben"))
    assert other["event_id"] != row["event_id"]
    upper = str(uuid4()).upper()
    row = store(service, message(messageId=upper))
    assert (row["event_id"], row["event_data"]["messageId"]) == (upper.lower(), upper)


def test_numbers_keep_every_digit(service: tuple[httpx.Client, str]) -> None:
    client, _ = service
    id_ = str(uuid4())
    numbers = '{"n": 1.10, "m": 123456789012345678901}'
    text = f'{{"type": "track", "event": "x", "messageId": "{id_}", "properties": {numbers}}}'
    assert client.post("/v1/batch", content=f'{{"batch": [{text}]}}', headers=JSON).status_code == 200
    assert '"n":1.10,"m":123456789012345678901' in client.get(f"/events/{id_}").text


def test_a_batch_speaks_for_its_messages(service: tuple[httpx.Client, str]) -> None:
    client, _ = service
    first, second = message(), message(context={"ip": "::2"})
    body = {"batch": [first, second], "context": {"ip": "::1"}, "integrations": {"All": True}, "writeKey": "secret"}
    assert client.post("/v1/batch", json=body).status_code == 200
    stored = [client.get(f"/events/{each['messageId']}").json()["event_data"] for each in (first, second)]
    assert [each["context"] for each in stored] == [{"ip": "::1"}, {"ip": "::2"}]
    assert [each["integrations"] for each in stored] == [{"All": True}] * 2
    assert not any("secret" in json.dumps(each) for each in stored)


@pytest.mark.parametrize("type_", TYPES)
def test_single_messages(service: tuple[httpx.Client, str], type_: str) -> None:
    client, _ = service
    sent = message() | {"sentAt": "2026-01-31T09:31:00Z", "writeKey": "secret"}
    del sent["type"]
    assert client.post(f"/v1/{type_}", json=sent).json() == {"success": True}
    assert client.post(f"/v1/{type_}", json=sent).json()["success"]
    row = client.get(f"/events/{sent['messageId']}").json()
    assert (row["event_data"]["type"], row["sent_at"]) == (type_, "2026-01-31T09:31:00+00:00")


@pytest.mark.parametrize(
    "bad",
    [
        "7",
        "[]",
        '{"event": "x"}',
        '{"type": ""}',
        '{"type": "track", "event": "a\\u0000b"}',
        '{"type": "track", "event": "x", "event": "y"}',
        f'{{"type": "track", "properties": {"[" * 70}{"]" * 70}}}',
        f'{{"type": "{"t" * 256}"}}',
        f'{{"type": "track", "properties": {{"n": 1{"0" * 400}}}}}',
    ],
)
def test_a_message_that_cannot_be_kept_never_costs_the_others(service: tuple[httpx.Client, str], bad: str) -> None:
    client, url = service
    before = run_sql(url, "SELECT count(*) FROM event_log")[0][0]
    one, two = message(), message()
    body = f'{{"batch": [{json.dumps(one)}, {bad}, {json.dumps(two)}]}}'
    answer = client.post("/v1/batch", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    (dropped,) = answer.json()["results"].values()
    assert (dropped["result"], bool(dropped["detail"])) == ("drop", True)
    assert run_sql(url, "SELECT count(*) FROM event_log")[0][0] == before + 2


@pytest.mark.parametrize(
    "body", ["", "{", "7", "[]", '{"batch": 7}', '{"batch": {}}', '{"batch": [{"type": "tr', "\ufeff{}"]
)
def test_what_cannot_be_split_into_messages_is_refused(service: tuple[httpx.Client, str], body: str) -> None:
    client, _ = service
    answer = client.post("/v1/batch", content=body.encode(), headers=JSON)
    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["message"]) == ("bad_request", answer.json()["detail"])
