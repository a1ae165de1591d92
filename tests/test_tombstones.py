"""After an erasure: rows about the person are answered 410 and stored nowhere, whoever sends them in whatever way."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import httpx
import pytest

from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers
from tests.databases import run_sql
from tests.server import serving, settings_for

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}
RECORDING = {"recording_link": "gs://x", "recording_type": "gait"}
EVENT_ID = "01994d5e-6f1c-7c3a-9d5b-00000000000a"
KEPT_EVENT_ID = "01994d5e-6f1c-7c3a-9d5b-00000000000b"
TABLES = ("users", "sessions", "recordings", "event_log")
# Per resource the key of a row about the erased person, the row, and a row of somebody else that is there.
ROWS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "users": ("user_id", "ada", {}, "eve"),
    "sessions": ("session_id", "new", {"user_id": "ada"}, "kept"),
    "recordings": ("recording_id", "new", RECORDING | {"user_id": "ada"}, "kept"),
    "events": ("event_id", EVENT_ID, EVENT | {"user_id": "ada"}, KEPT_EVENT_ID),
}


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as made:
        admin = made.admin
        for person in ("ada", "eve"):
            assert admin.post("/users", json={"user_id": person}).status_code == 201
        admin.post("/sessions", json={"session_id": "kept", "user_id": "eve"})
        admin.post("/recordings", json=RECORDING | {"recording_id": "kept", "user_id": "eve"})
        admin.post("/events", json=EVENT | {"event_id": KEPT_EVENT_ID, "user_id": "eve"})
        assert admin.delete("/users/ada?cascade=true").status_code == 200
        yield made


def csv_of(row: dict[str, Any]) -> str:
    return f"{','.join(row)}\r\n{','.join(map(str, row.values()))}\r\n"


def sent(table: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every way to send a row about somebody, by name: method, path, and the rest of the request."""
    column, key, rest, kept = ROWS[table]
    row = {column: key} | rest
    merge, ignore = ({"Prefer": f"resolution={word}-duplicates"} for word in ("merge", "ignore"))
    lines = {"Content-Type": "application/x-ndjson"}
    cells = {"Content-Type": "text/csv"}
    part = {"method": "POST", "url": f"/{table}", "body": row}
    ways: dict[str, tuple[str, str, dict[str, Any]]] = {
        "one": ("POST", f"/{table}", {"json": row}),
        "one, merged": ("POST", f"/{table}", {"json": row, "headers": merge}),
        "one, if new": ("POST", f"/{table}", {"json": row, "headers": ignore}),
        "one, tried": ("POST", f"/{table}", {"json": row, "headers": {"Prefer": "tx=rollback"}}),
        "many": ("POST", f"/{table}", {"json": [row]}),
        "many, merged": ("POST", f"/{table}", {"json": [row], "headers": merge}),
        "many, if new": ("POST", f"/{table}", {"json": [row], "headers": ignore}),
        "many, minimal": ("POST", f"/{table}", {"json": [row], "headers": {"Prefer": "return=minimal"}}),
        "lines": (
            "POST",
            f"/{table}",
            {"content": httpx.Request("POST", "http://x", json=row).read(), "headers": lines},
        ),
        "CSV": ("POST", f"/{table}", {"content": csv_of(row), "headers": cells}),
        "CSV, merged": ("POST", f"/{table}", {"content": csv_of(row), "headers": cells | merge}),
        "put, if new": ("PUT", f"/{table}/{key}", {"json": rest, "headers": {"If-None-Match": "*"}}),
        "put, merged": ("PUT", f"/{table}/{key}", {"json": rest, "headers": merge}),
        "batch": ("POST", "/batch", {"json": {"requests": [part]}}),
        "batch of many": ("POST", "/batch", {"json": {"requests": [part | {"body": [row]}]}}),
    }
    if table != "users":
        given = {"json": {"user_id": "ada"}}
        ways |= {
            "put": ("PUT", f"/{table}/{kept}", {"json": rest}),
            "patch": ("PATCH", f"/{table}/{kept}", given),
            "patch many": ("PATCH", f"/{table}?{column}={kept}", given),
            "merge into": ("POST", f"/{table}", {"json": {column: kept} | rest, "headers": merge}),
            "merge many into": ("POST", f"/{table}", {"json": [{column: kept} | rest], "headers": merge}),
            "batch of a patch": (
                "POST",
                "/batch",
                {"json": {"requests": [{"method": "PATCH", "url": f"/{table}/{kept}", "body": {"user_id": "ada"}}]}},
            ),
        }
    return ways


WAYS = [(table, way) for table in ROWS for way in sent(table)]


@pytest.mark.parametrize("who", ["admin", "service", "ada"])
@pytest.mark.parametrize("table", ROWS)
def test_rows_about_an_erased_person_are_gone(callers: Callers, shared_url: str, table: str, who: str) -> None:
    client = callers.admin if who == "admin" else callers.client_of({"service": "service *:write"}.get(who, who))
    before = [run_sql(shared_url, f"SELECT count(*) FROM {name}") for name in TABLES]
    for way, (method, path, more) in sent(table).items():
        answer = client.request(method, path, **more)
        expected = {410}
        if who == "ada":
            # What they could not do before, they cannot do now: change events, or rows of Eve's.
            expected |= {403} if table == "events" else set()
            expected |= {404, 409} if ROWS[table][3] in f"{path}{more}" else set()
        assert answer.status_code in expected, f"{way}: {answer.status_code} {answer.text}"
    assert [run_sql(shared_url, f"SELECT count(*) FROM {name}") for name in TABLES] == before
    for name in TABLES:
        assert run_sql(shared_url, f"SELECT count(*) FROM {name} WHERE user_id = 'ada'") == [(0,)]


def test_erased_person_finds_nothing_and_comes_to_nothing(callers: Callers) -> None:
    ada = callers.person("ada")
    for path in ("/users/ada", "/users/ada/archive", f"/events/{KEPT_EVENT_ID}"):
        assert ada.get(path).status_code == 404
    assert ada.get("/events").json() == ada.get("/users").json() == []
    # A row that is not said to be anybody's is the caller's own.
    assert ada.post("/events", json=EVENT).status_code == 410
    assert ada.post("/events", json=[EVENT]).status_code == 410
    assert ada.put("/users/ada", json={}).status_code == 404
    assert ada.patch("/users/ada", json={"body_data": {"height": 170}}).status_code == 404
    assert ada.delete("/users/ada?cascade=true").status_code == 404
    assert ada.get("/algos").status_code == 200


def test_others_go_on_and_nobody_else_is_taken_for_an_erased_person(callers: Callers) -> None:
    for name in ("ada2", "ad", "ADA", "ada "):
        assert callers.admin.post("/events", json=EVENT | {"user_id": name}).status_code == 201
    assert callers.person("eve").post("/events", json=EVENT).status_code == 201


def test_many_rows_of_which_one_is_about_an_erased_person_leave_nothing(callers: Callers) -> None:
    rows = [EVENT | {"user_id": "eve", "event_source": "with ada"}] * 3 + [EVENT | {"user_id": "ada"}]
    assert callers.admin.post("/events", json=rows).status_code == 410
    parts = [{"method": "POST", "url": "/events", "body": row} for row in rows]
    assert callers.admin.post("/batch", json={"requests": parts}).status_code == 410
    assert callers.admin.get("/events?event_source=with ada").json() == []


def test_tombstone_names_nobody(callers: Callers, shared_url: str) -> None:
    stones = run_sql(shared_url, "SELECT * FROM tombstones")
    assert len(stones) == 1
    # Not as a word of its own: among 64 hexadecimal digits there may well be an "ada".
    assert not re.search(r"\bada\b", str(stones))
    assert len(stones[0][0]) == 64
    # Whoever has the tombstones and not the key cannot try out names: it is no plain hash of one.
    assert stones[0][0] != sha256(b"ada").hexdigest()


def test_repeated_erasure_leaves_one_tombstone(client: httpx.Client, migrated_url: str) -> None:
    client.post("/users", json={"user_id": "ada"})
    assert client.delete("/users/ada?cascade=true").status_code == 200
    # A row that came past the service.
    run_sql(
        migrated_url,
        "INSERT INTO event_log (event_id, user_id, event_type, ts, created_at, updated_at) VALUES "
        f"('{EVENT_ID}', 'ada', 'tap', '2026-01-31T09:30:00+00:00', '2026-01-31T09:30:00+00:00', "
        "'2026-01-31T09:30:00+00:00')",
    )
    assert client.delete("/users/ada?cascade=true").json()["event_log"] == 1
    assert client.delete("/users/ada?cascade=true").status_code == 404
    assert run_sql(migrated_url, "SELECT count(*) FROM tombstones") == [(1,)]


def test_deleting_a_user_alone_is_no_erasure(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    assert client.delete("/users/ada").status_code == 204
    assert client.post("/users", json={"user_id": "ada"}).status_code == 201


def first_writes(client: httpx.Client) -> None:
    """What may be the first that a service ever does with the mark of a person, and is undone."""
    assert client.delete("/users/ada?cascade=true", headers={"Prefer": "tx=rollback"}).status_code == 200
    assert client.delete("/users/nobody?cascade=true").status_code == 404
    assert client.post("/events", json=[EVENT | {"user_id": "ada"}], headers={"Prefer": "tx=rollback"}).is_success
    parts = [{"method": "POST", "url": "/events", "body": EVENT | {"user_id": "ada"}}, {"method": "GET", "url": "/x"}]
    assert client.post("/batch", json={"requests": parts}).status_code == 400


@pytest.mark.parametrize("key", ["", "a-key-of-the-operator-of-32-signs"])
def test_workers_agree_on_who_was_erased(migrated_url: str, key: str) -> None:
    """Also when the first transaction that wanted the key was undone, and with it the key that it had made."""
    run_sql(
        migrated_url,
        "INSERT INTO users (user_id, disabled, created_at, updated_at) VALUES "
        "('ada', false, '2026-01-31T09:30:00+00:00', '2026-01-31T09:30:00+00:00')",
    )
    settings = settings_for(migrated_url, tombstone_key=key)
    with serving(create_app(settings)) as one:
        first_writes(one)
        assert one.delete("/users/ada?cascade=true").status_code == 200
        with serving(create_app(settings)) as two:
            for client in (one, two):
                assert client.post("/users", json={"user_id": "ada"}).status_code == 410
                assert client.post("/events", json=[EVENT | {"user_id": "ada"}]).status_code == 410
    assert len(run_sql(migrated_url, "SELECT * FROM secrets")) == (0 if key else 1)


def test_two_workers_that_begin_at_once_make_one_key(migrated_url: str) -> None:
    settings = settings_for(migrated_url)
    with serving(create_app(settings)) as one, serving(create_app(settings)) as two, ThreadPoolExecutor(8) as threads:
        row = EVENT | {"user_id": "ada"}
        done = list(threads.map(lambda client: client.post("/events", json=row).status_code, [one, two] * 8))
        assert done == [201] * 16
        assert one.delete("/users/ada?cascade=true").status_code == 200
        assert two.post("/events", json=row).status_code == 410
    assert run_sql(migrated_url, "SELECT count(*) FROM secrets") == [(1,)]


def test_what_is_sent_while_a_person_is_erased_is_erased_or_refused(client: httpx.Client, migrated_url: str) -> None:
    """Events refer to nobody by a foreign key, so that only the tombstone keeps them out."""
    client.post("/users", json={"user_id": "ada"})
    client.post("/events", json=EVENT | {"event_id": KEPT_EVENT_ID, "user_id": "eve"})
    row = EVENT | {"user_id": "ada"}
    kinds: list[tuple[str, str, Any]] = [
        ("POST", "/events", row),
        ("POST", "/events", [row] * 5),
        ("POST", "/batch", {"requests": [{"method": "POST", "url": "/events", "body": row}] * 3}),
        ("PATCH", f"/events/{KEPT_EVENT_ID}", {"user_id": "ada"}),
    ]
    begun, erased = [threading.Event() for _ in kinds], threading.Event()

    def send(kind: tuple[str, str, Any], has_begun: threading.Event) -> list[int]:
        method, path, body = kind
        statuses: list[int] = []
        with httpx.Client(base_url=client.base_url, timeout=30) as own:
            while not erased.is_set():
                statuses.append(own.request(method, path, json=body).status_code)
                has_begun.set()
            return [*statuses, own.request(method, path, json=body).status_code]

    with ThreadPoolExecutor(len(kinds)) as threads:
        sending = [threads.submit(send, kind, has_begun) for kind, has_begun in zip(kinds, begun, strict=True)]
        try:
            assert all(each.wait(20) for each in begun)
            assert client.delete("/users/ada?cascade=true").status_code == 200
        finally:
            erased.set()
        answered = [each.result(30) for each in sending]
    for number, statuses in enumerate(answered):
        # Eve's event was made Ada's, and erased with hers.
        gone = {404, 410} if number == 3 else {410}
        assert statuses[0] in (200, 201)
        assert statuses[-1] in gone
        assert set(statuses) <= {statuses[0], *gone}
    assert run_sql(migrated_url, "SELECT count(*) FROM event_log WHERE user_id = 'ada'") == [(0,)]
