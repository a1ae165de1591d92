"""`Idempotency-Key`: a request is carried out once, however often it arrives, and whatever happens in between."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.engine import make_url

from scripts.service_process import ServiceProcess
from src.api.idempotency import MAX_KEY_LENGTH
from src.core.access import SCOPES
from src.db.migration import upgrade
from src.main import create_app
from tests.callers import AUTHENTICATED, make_key, serving_callers
from tests.databases import run_sql
from tests.postgres import PostgresServer
from tests.server import serving, serving_database, settings_for

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}
KEY = {"Idempotency-Key": "7e5f0b51-2d4c-4c5e-8a49-0d1f1a2b3c4d"}
REPLAYED = "idempotency-replayed"


def count(url: str, table: str) -> int:
    return int(run_sql(url, f"SELECT count(*) FROM {table}")[0][0])


def same_but_for_the_request(first: httpx.Response, second: httpx.Response) -> bool:
    def kept(answer: httpx.Response) -> dict[str, str]:
        own = ("x-request-id", REPLAYED, "date", "server")
        return {name: value for name, value in answer.headers.items() if name not in own}

    return (first.status_code, first.content, kept(first)) == (second.status_code, second.content, kept(second))


BATCH = {
    "requests": [
        {"method": "POST", "url": "/users", "body": {"user_id": "ada"}},
        {"method": "POST", "url": "/events", "body": [EVENT, EVENT]},
        {"method": "GET", "url": "/events?fields=event_type"},
    ]
}
# What is sent, and how many events it leaves.
REQUESTS: list[tuple[str, str, bytes, dict[str, str], int]] = [
    ("one", "/events", json.dumps(EVENT).encode(), {}, 1),
    ("many", "/events", json.dumps([EVENT] * 30).encode(), {}, 30),
    ("many, no body", "/events", json.dumps([EVENT] * 3).encode(), {"Prefer": "return=minimal"}, 3),
    ("lines", "/events", (json.dumps(EVENT) + "\n").encode() * 2, {"Content-Type": "application/x-ndjson"}, 2),
    ("csv", "/events", b"event_type,ts\ntap,2026-01-31T09:30:00Z\n", {"Content-Type": "text/csv"}, 1),
    ("empty", "/events", b"[]", {}, 0),
    ("batch", "/batch", json.dumps(BATCH).encode(), {}, 2),
]


@pytest.mark.parametrize(
    ("path", "body", "headers", "events"), [each[1:] for each in REQUESTS], ids=[each[0] for each in REQUESTS]
)
def test_the_same_request_is_answered_again(
    migrated_url: str, path: str, body: bytes, headers: dict[str, str], events: int
) -> None:
    with serving_database(migrated_url) as client:
        headers = {"Content-Type": "application/json"} | KEY | headers
        first = client.post(path, content=body, headers=headers)
        again = [
            client.post(path, content=body, headers=headers | coding) for coding in ({}, {"Accept-Encoding": "gzip"})
        ]
        assert first.status_code in (200, 201), first.text
        assert REPLAYED not in first.headers
        assert all(each.headers[REPLAYED] == "true" for each in again)
        assert same_but_for_the_request(first, client.post(path, content=body, headers=headers))
        assert again[1].content == first.content
        assert again[0].headers["x-request-id"] != first.headers["x-request-id"]
        assert count(migrated_url, "event_log") == events


def test_location_and_tag_are_those_of_the_row(client: httpx.Client) -> None:
    first = client.post("/users", json={"user_id": 'zo\u00eb "x"'}, headers=KEY)
    second = client.post("/users", json={"user_id": 'zo\u00eb "x"'}, headers=KEY)
    assert same_but_for_the_request(first, second)
    row = client.get(second.headers["location"])
    assert (row.content, row.headers["etag"]) == (second.content, second.headers["etag"])


@pytest.mark.parametrize(
    "other",
    [
        {"json": EVENT | {"event_type": "swipe"}},
        {"json": [EVENT]},
        {"json": EVENT, "headers": {"Prefer": "return=minimal"}},
        {"json": EVENT, "headers": {"Content-Type": "application/json; charset=utf-8"}},
        {"json": EVENT, "headers": {"If-Match": '"x"'}},
        {"json": {"user_id": "ada"}, "url": "/users"},
        {"json": EVENT, "url": "/events?x=1"},
        {"json": {"requests": []}, "url": "/batch"},
    ],
    ids=str,
)
def test_another_request_under_the_same_key_is_refused(client: httpx.Client, other: dict[str, Any]) -> None:
    assert client.post("/events", json=EVENT, headers=KEY).status_code == 201
    request: dict[str, Any] = {"url": "/events"} | other
    answer = client.post(**request | {"headers": KEY | request.get("headers", {})})
    assert answer.status_code == 409
    assert "Idempotency-Key" in answer.json()["detail"]
    assert len(client.get("/events").json()) == 1
    assert client.get("/users").json() == []


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_LENGTH + 1), "a\tb", "zo\u00eb"])
def test_a_bad_key_is_refused(client: httpx.Client, key: str) -> None:
    for path, body in (("/events", EVENT), ("/batch", {"requests": []})):
        answer = client.post(path, json=body, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert client.get("/events").json() == []


def test_two_keys_are_refused_and_the_longest_is_taken(client: httpx.Client) -> None:
    two = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    assert client.post("/events", json=EVENT, headers=two).status_code == 400
    longest = {"Idempotency-Key": "~ " * 127 + "x"}
    assert client.post("/events", json=EVENT, headers=longest).status_code == 201
    assert client.post("/events", json=EVENT, headers=longest).headers[REPLAYED] == "true"


def test_it_means_nothing_where_a_request_can_be_repeated_anyway(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"}, headers=KEY)
    bad = {"Idempotency-Key": ""}
    for method, url, body in (
        ("GET", "/users", None),
        ("POST", "/users/-/query", {"size": 1}),
        ("PUT", "/users/ada", {}),
        ("PATCH", "/users/ada", {"body_data": {}}),
        ("DELETE", "/users/ada", None),
    ):
        for headers in (KEY, bad):
            answer = client.request(method, url, json=body, headers=headers)
            assert (answer.status_code < 300) or (method == "DELETE" and answer.status_code == 404)
            assert REPLAYED not in answer.headers


def test_an_error_leaves_no_key(migrated_url: str) -> None:
    with serving_database(migrated_url) as client:
        session = {"session_id": "s", "user_id": "ada"}
        for body in (session, [session]):
            assert client.post("/sessions", json=body, headers=KEY).status_code == 409
            assert "user_id" in client.post("/sessions", json=body, headers=KEY).json()["detail"]
        assert client.post("/sessions", json={"session_id": 7}, headers=KEY).status_code == 400
        assert client.post("/sessions", content=b"{}", headers=KEY).status_code == 415
        assert count(migrated_url, "idempotency_keys") == 0
        client.post("/users", json={"user_id": "ada"})
        assert client.post("/sessions", json=session, headers=KEY).status_code == 201
        again = client.post("/sessions", json=session, headers=KEY)
        assert (again.status_code, again.headers[REPLAYED]) == (201, "true")


def test_a_failed_batch_leaves_nothing(migrated_url: str) -> None:
    with serving_database(migrated_url) as client:
        parts = [{"method": "POST", "url": "/events", "body": EVENT}, {"method": "GET", "url": "/users/ada"}]
        assert client.post("/batch", json={"requests": parts}, headers=KEY).status_code == 404
        assert (count(migrated_url, "event_log"), count(migrated_url, "idempotency_keys")) == (0, 0)
        client.post("/users", json={"user_id": "ada"})
        assert client.post("/batch", json={"requests": parts}, headers=KEY).status_code == 200
        assert client.post("/batch", json={"requests": parts}, headers=KEY).headers[REPLAYED] == "true"
        assert count(migrated_url, "event_log") == 1


def test_a_rehearsal_is_not_kept(migrated_url: str) -> None:
    with serving_database(migrated_url) as client:
        for path, body in (("/events", EVENT), ("/events", [EVENT]), ("/batch", BATCH)):
            for _ in range(2):
                tried = client.post(path, json=body, headers=KEY | {"Prefer": "tx=rollback"})
                assert tried.status_code in (200, 201)
                assert REPLAYED not in tried.headers
        assert (count(migrated_url, "event_log"), count(migrated_url, "idempotency_keys")) == (0, 0)
        assert client.post("/events", json=EVENT, headers=KEY).status_code == 201
        assert count(migrated_url, "event_log") == 1


def test_an_answer_that_is_too_long_is_refused_and_nothing_is_stored(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.api.idempotency.MAX_ANSWER_BYTES", 1000)
    with serving_database(migrated_url) as client:
        answer = client.post("/events", json=[EVENT] * 10, headers=KEY)
        assert answer.status_code == 400
        assert "return=minimal" in answer.json()["detail"]
        assert count(migrated_url, "event_log") == 0
        assert client.post("/events", json=[EVENT] * 10, headers=KEY | {"Prefer": "return=minimal"}).status_code == 201


def test_a_body_over_the_limit_is_refused_before_it_is_read(client: httpx.Client) -> None:
    answer = client.post(
        "/events", content=b"[" + b" " * 9_000_000 + b"]", headers=KEY | {"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    one = json.dumps(EVENT | {"event_data": {"x": "y" * 1_100_000}})
    assert client.post("/events", content=one, headers=KEY | {"Content-Type": "application/json"}).status_code == 413
    assert (
        client.post("/events", content=f"[{one}]", headers=KEY | {"Content-Type": "application/json"}).status_code
        == 201
    )
    assert client.post("/events", content=f"[{one}]", headers=KEY | {"Content-Type": "application/json"}).headers[
        REPLAYED
    ]


def test_every_caller_has_keys_of_their_own(migrated_url: str) -> None:
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        ada, eve = callers.person("ada"), callers.person("eve")
        service, other = callers.service("events:append"), callers.service("events:write")
        for caller in (ada, eve, service, other):
            assert caller.post("/events", json=EVENT, headers=KEY).status_code == 201
            assert caller.post("/events", json=EVENT, headers=KEY).headers[REPLAYED] == "true"
        assert [row["user_id"] for row in callers.admin.get("/events?sort=user_id").json()] == [
            "ada",
            "eve",
            None,
            None,
        ]
        assert callers.client().post("/events", json=EVENT, headers=KEY).status_code == 401


def test_who_may_not_ask_any_more_gets_nothing(migrated_url: str) -> None:
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        ada = callers.person("ada")
        assert callers.admin.post("/users", json={"user_id": "ada"}).status_code == 201
        assert ada.post("/events", json=EVENT, headers=KEY).status_code == 201
        callers.admin.patch("/users/ada", json={"disabled": True})
        assert ada.post("/events", json=EVENT, headers=KEY).status_code == 401
        callers.admin.patch("/users/ada", json={"disabled": None, "role": "researcher"})
        assert ada.post("/events", json=EVENT, headers=KEY).status_code == 403
        reader = callers.service("events:read")
        assert reader.post("/events", json=EVENT, headers=KEY).status_code == 403


def test_a_table_that_is_closed_meanwhile_answers_nothing_again(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version of the service may take away from a role what it may do."""
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        service = callers.service("events:append")
        assert service.post("/events", json=EVENT, headers=KEY).status_code == 201
        monkeypatch.setitem(cast("dict[str, Any]", SCOPES), "append", frozenset())
        with serving_callers(create_app, migrated_url, **AUTHENTICATED) as later:
            later_service = later.client(headers=service.headers)
            assert later_service.post("/events", json=EVENT, headers=KEY).status_code == 403


def audit_lines(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("logger") == "audit" and line.get("message") == "read"]


def test_an_answer_with_other_peoples_rows_is_audited_each_time(migrated_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    key = make_key(migrated_url, "events:read events:append")
    batch = {"requests": [{"method": "POST", "url": "/events", "body": EVENT}, {"method": "GET", "url": "/events"}]}
    environment = {"DATABASE_URL": migrated_url, "AUTHENTICATION": "on", "LOG_FORMAT": "json", "WEB_CONCURRENCY": "1"}
    with ServiceProcess(environment, log=log) as service:
        service.start()
        service.wait_until_up()
        url = f"http://127.0.0.1:{service.port}/batch"
        for _ in range(3):
            assert httpx.post(url, json=batch, headers=KEY | {"X-API-Key": key}).status_code == 200
        service.signal(signal.SIGTERM)
        service.exit_code(30)
    lines = audit_lines(log.read_text())
    assert [(line["table"], line["rows"], line["method"], line["route"]) for line in lines] == [
        ("event_log", 1, "GET", "/events")
    ] * 3
    assert len({line["request_id"] for line in lines}) == 3
    assert count(migrated_url, "event_log") == 1


def test_an_erasure_forgets_answers_that_mention_the_person(migrated_url: str) -> None:
    with serving_database(migrated_url) as client:
        names = iter(range(100))

        def send(path: str, body: Any, **headers: str) -> Callable[[], httpx.Response]:
            key = {"Idempotency-Key": f"key-{next(names)}"} | headers
            assert client.post(path, json=body, headers=key).status_code in (200, 201)
            return lambda: client.post(path, json=body, headers=key)

        odd = 'zo\u00eb "%_*'
        user = send("/users", {"user_id": odd}, Prefer="return=minimal")
        event = send("/events", EVENT | {"user_id": odd})
        events = send("/events", [EVENT, EVENT | {"user_id": odd}])
        batch = send("/batch", {"requests": [{"method": "POST", "url": "/events", "body": EVENT | {"user_id": odd}}]})
        minimal = {"Prefer": "return=minimal"}
        made = {"method": "POST", "url": "/users", "headers": minimal, "body": {"user_id": "zed"}}
        other_batch = send("/batch", {"requests": [made]})
        read = {"requests": [{"method": "GET", "url": "/events?fields=event_data"}]}
        reading = send("/batch", read)
        other = send("/events", EVENT | {"user_id": "zo\u00eb"})
        address = f"/users/{quote(odd, safe='')}?cascade=true"
        assert client.delete(address).status_code == 200
        stored = [str(row) for row in run_sql(migrated_url, "SELECT answer FROM idempotency_keys")]
        assert not any("%_*" in answer or "zo%C3%AB%20" in answer for answer in stored)
        events_before = count(migrated_url, "event_log")
        for replay in (user, event, events, batch, reading):
            answer = replay()
            assert (answer.status_code, REPLAYED in answer.headers) == (410, False), answer.text
        for replay in (other, other_batch):
            assert replay().headers[REPLAYED] == "true"
        assert count(migrated_url, "event_log") == events_before
        assert client.delete("/users/zed?cascade=true").status_code == 200
        assert other_batch().status_code == 410


def test_a_rehearsed_erasure_forgets_nothing(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"}, headers=KEY)
    assert client.delete("/users/ada?cascade=true", headers={"Prefer": "tx=rollback"}).status_code == 200
    assert client.post("/users", json={"user_id": "ada"}, headers=KEY).headers[REPLAYED] == "true"


def old(url: str, hours: float) -> None:
    """Make every stored key older."""
    ago = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - hours * 3600))
    run_sql(url, f"UPDATE idempotency_keys SET created_at = '{ago}'")


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_old_keys_are_cleaned_up(migrated_url: str) -> None:
    app = create_app(settings_for(migrated_url, housekeeping_s=0.1))
    with serving(app) as client:
        for number in range(1, 4):
            client.post("/events", json=EVENT, headers={"Idempotency-Key": f"key-{number}"})
        old(migrated_url, hours=23.9)
        time.sleep(0.6)
        assert count(migrated_url, "idempotency_keys") == 3
        old(migrated_url, hours=24.1)
        wait_for(lambda: count(migrated_url, "idempotency_keys") == 0)
        again = client.post("/events", json=EVENT, headers={"Idempotency-Key": "key-1"})
        assert (again.status_code, REPLAYED in again.headers) == (201, False)


def test_many_old_keys_are_cleaned_up_by_several_processes(migrated_url: str) -> None:
    values = ", ".join(f"('key-{number}', 'x', '2026-01-01T00:00:00+00:00')" for number in range(2600))
    run_sql(migrated_url, f"INSERT INTO idempotency_keys (key_hash, fingerprint, created_at) VALUES {values}")
    environment = {"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": "2", "HOUSEKEEPING_S": "0.1"}
    with ServiceProcess(environment) as service:
        service.start()
        service.wait_until_up()
        wait_for(lambda: count(migrated_url, "idempotency_keys") == 0)
        assert post(service.port, EVENT)[0] == 201


def post(port: int, body: Any, key: str = KEY["Idempotency-Key"], path: str = "/events") -> tuple[int, bool, bytes]:
    answer = httpx.post(f"http://127.0.0.1:{port}{path}", json=body, headers={"Idempotency-Key": key}, timeout=60)
    return answer.status_code, REPLAYED in answer.headers, answer.content


@pytest.fixture
def two_workers(migrated_url: str) -> Iterator[ServiceProcess]:
    with ServiceProcess({"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": "2"}) as service:
        service.start()
        service.wait_until_up()
        yield service


def test_of_fifty_at_once_one_is_carried_out(two_workers: ServiceProcess, migrated_url: str) -> None:
    rows = [EVENT] * 200
    for body, events in ((EVENT, 1), (rows, 201), (EVENT, 202)):
        key = str(uuid4())
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _, body=body, key=key: post(two_workers.port, body, key), range(50)))
        assert {status for status, _, _ in answers} == {201}
        assert sorted(replayed for _, replayed, _ in answers) == [False] + [True] * 49
        assert len({content for _, _, content in answers}) == 1
        assert count(migrated_url, "event_log") == events


def test_of_different_requests_at_once_one_is_carried_out(two_workers: ServiceProcess, migrated_url: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        bodies = [EVENT | {"event_data": {"number": number}} for number in range(20)]
        answers = list(pool.map(lambda body: post(two_workers.port, body), bodies))
    assert sorted(status for status, _, _ in answers) == [201] + [409] * 19
    assert count(migrated_url, "event_log") == 1


def test_failures_at_once_let_the_next_one_try(two_workers: ServiceProcess, migrated_url: str) -> None:
    """Each of them waits for the key, finds that it was given back, and takes it."""
    session = {"session_id": "s", "user_id": "ghost"}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(two_workers.port, session, path="/sessions"), range(20)))
    assert {(status, replayed) for status, replayed, _ in answers} == {(409, False)}
    assert count(migrated_url, "idempotency_keys") == 0


def test_an_answer_is_there_after_a_kill(migrated_url: str) -> None:
    """The service is killed when the row is there, and its client has not read the answer."""
    with ServiceProcess({"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": "2"}) as service:
        for number in range(1, 5):
            service.start()
            service.wait_until_up()
            row = EVENT | {"event_data": {"number": number}}
            body = httpx.Request("POST", "http://x", json=row).content.decode()
            head = "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            head += f"Idempotency-Key: key-{number}\r\n"
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                wait_for(lambda number=number: count(migrated_url, "event_log") == number)  # type: ignore[misc]
                service.kill_group()
            service.start()
            service.wait_until_up()
            status, replayed, content = post(service.port, row, f"key-{number}")
            assert (status, replayed) == (201, True)
            assert json.loads(content)["event_data"] == {"number": number}
            assert count(migrated_url, "event_log") == number
            service.kill_group()


def test_a_kill_at_any_moment_carries_out_once(migrated_url: str) -> None:
    """Clients repeat each request until it is answered, while the service is killed again and again."""
    ended = threading.Event()
    with ServiceProcess({"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": "2"}) as service:
        service.start()
        service.wait_until_up()

        def deliver(client: int) -> int:
            done = 0
            while not ended.is_set():
                body = [EVENT | {"event_data": {"client": client, "number": done}}] * 2
                while True:
                    try:
                        answer = post(service.port, body, f"{client}-{done}")
                    except httpx.HTTPError:
                        time.sleep(0.02)
                        continue
                    assert answer[0] in (201, 503)
                    if answer[0] == 201:
                        break
                done += 1
            return done

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(deliver, client) for client in range(4)]
            for _ in range(4):
                time.sleep(0.5)
                service.kill_group()
                service.start()
                service.wait_until_up()
            ended.set()
            done = [each.result(60) for each in running]
    assert count(migrated_url, "event_log") == 2 * sum(done)
    assert min(done) > 0


def test_while_the_database_is_away_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # One that this test may stop.
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    server = PostgresServer().start()
    try:
        url = server.create_database()
        upgrade(make_url(url))
        with serving(create_app(settings_for(url))) as client:
            server.stop()
            away = client.post("/events", json=EVENT, headers=KEY)
            assert (away.status_code, "retry-after" in away.headers) == (503, True)
            server.start()
            wait_for(lambda: client.get("/health/ready").status_code == 200)
            answers = [client.post("/events", json=EVENT, headers=KEY) for _ in range(2)]
            assert [REPLAYED in answer.headers for answer in answers] == [False, True]
            assert len(client.get("/events").json()) == 1
    finally:
        server.close()


def test_a_database_without_the_table_is_unavailable(database_url: str) -> None:
    with serving(create_app(settings_for(database_url))) as client:
        assert client.post("/events", json=EVENT, headers=KEY).status_code == 503
        upgrade(make_url(database_url))
        answers = [client.post("/events", json=EVENT, headers=KEY) for _ in range(2)]
        assert [REPLAYED in answer.headers for answer in answers] == [False, True]
