"""Who may do what: every principal, every operation of every table, on their own row, another's and a missing one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers

TABLES = {
    "users": "user_id",
    "sessions": "session_id",
    "recordings": "recording_id",
    "algos": "algo_id",
    "events": "event_id",
    "receipts": "receipt_id",
    "session-clocks": "session_id",
}
PEOPLE = ("ada", "ben")
# Tables whose keys are UUIDs.
HAVE_UUIDS = ("events", "receipts")
MISSING = dict.fromkeys(HAVE_UUIDS, "01994d5e-6f1c-7c3a-9d5b-000000000999")
UUIDS = {"ada": "01994d5e-6f1c-7c3a-9d5b-000000000001", "ben": "01994d5e-6f1c-7c3a-9d5b-000000000002"}


def key_of(table: str, person: str) -> str:
    if table == "users":
        return person
    return UUIDS[person] if table in HAVE_UUIDS else f"{person}-{table}"


def row_of(table: str, person: str, key: str) -> dict[str, Any]:
    """A row of a table that belongs to a person."""
    return {
        "users": {"user_id": key},
        "sessions": {"session_id": key, "user_id": person},
        "recordings": {"recording_id": key, "user_id": person, "recording_link": "gs://x", "recording_type": "gait"},
        "algos": {"algo_id": key, "recording_type": "gait", "location": "https://x.example", "version": "1"},
        "events": {"event_id": key, "user_id": person, "event_type": "tap", "ts": "2026-01-01T00:00:00Z"},
        "receipts": {"receipt_id": key, "user_id": person, "device_id": "d", "missing": {"ranges": []}, **RECEIVED},
        "session-clocks": {"session_id": key, "user_id": person, "clock_offset_ms": 5},
    }[table]


RECEIVED = {"contiguous_through": 5, "received_through": 5}


class Operation(NamedTuple):
    """A request, with the person whose row it is about."""

    method: str
    path: str
    body: Any = None


def operations(table: str, person: str, key: str) -> dict[str, Operation]:
    """Every operation on the rows of a table, by name; what creates rows takes a key that nobody has."""
    row, changed = row_of(table, person, key), {"created_session_id": "s"} if table == "recordings" else {}
    plain = {name: value for name, value in row.items() if name not in (TABLES[table],)}
    return {
        "list": Operation("GET", f"/{table}?{TABLES[table]}={key}&count=exact"),
        "query": Operation("POST", f"/{table}/-/query", {TABLES[table]: key}),
        "QUERY": Operation("QUERY", f"/{table}", {TABLES[table]: key}),
        "aggregate": Operation("GET", f"/{table}/-/aggregate?{TABLES[table]}={key}"),
        "export": Operation("GET", f"/{table}?{TABLES[table]}={key}&format=ndjson"),
        "read": Operation("GET", f"/{table}/{key}"),
        "create": Operation("POST", f"/{table}", lambda new: row_of(table, person, new)),
        "create many": Operation("POST", f"/{table}", lambda new: [row_of(table, person, new)]),
        "replace": Operation("PUT", f"/{table}/{key}", plain),
        "change": Operation("PATCH", f"/{table}/{key}", changed or {"updated_at": None}),
        "change many": Operation("PATCH", f"/{table}?{TABLES[table]}={key}", _other_column(table)),
        "delete many": Operation("DELETE", f"/{table}?{TABLES[table]}={key}"),
        "delete": Operation("DELETE", f"/{table}/{key}"),
    }


def _other_column(table: str) -> dict[str, Any]:
    return {
        "users": {"body_data": {"height": 170}},
        "sessions": {"started_at": None},
        "recordings": {"created_session_id": "s"},
        "algos": {"version": "2"},
        "events": {"log_level": "info"},
        "receipts": {"received_through": 6},
        "session-clocks": {"clock_offset_ms": 6},
    }[table]


READS = ("list", "query", "QUERY", "aggregate", "export", "read")
CREATES = ("create", "create many")
CHANGES = ("replace", "change", "change many", "delete many", "delete")
# What an operation answers who may do it: on a row that is there, and on one that is not, or that one may not see.
FOUND = {"create": 201, "create many": 201, "delete": 204}
ABSENT = {"read": 404, "replace": 404, "change": 404, "delete": 404, "create": 201, "create many": 201}

ALL, NONE = (*READS, *CREATES, *CHANGES), ()
SCOPES = {
    **{
        f"{table}:{word}": {table: operations}
        for table in TABLES
        for word, operations in (("read", READS), ("append", CREATES), ("write", (*CREATES, *CHANGES)))
    },
    "*:read": dict.fromkeys(TABLES, READS),
    "*:append": dict.fromkeys(TABLES, CREATES),
    "*:write": dict.fromkeys(TABLES, (*CREATES, *CHANGES)),
    "metrics": {},
    "researcher": dict.fromkeys(TABLES, READS),
    "admin": dict.fromkeys(TABLES, ALL),
}
USER = {"users": ALL, "sessions": ALL, "recordings": ALL, "algos": READS, "events": (*READS, *CREATES)}
USER |= {"receipts": READS, "session-clocks": READS}
# Per principal what they may do with the rows of each table.
MAY: dict[str, dict[str, tuple[str, ...]]] = {
    "nobody": {},
    "ada": USER,
    "ben": USER,
    "researcher": dict.fromkeys(TABLES, READS),
    "researcher by grant": dict.fromkeys(TABLES, READS),
    "admin": dict.fromkeys(TABLES, ALL),
    "admin by grant": dict.fromkeys(TABLES, ALL),
    **{f"service {scope}": may for scope, may in SCOPES.items()},
}
# The pages of no row show as much as nothing.
SHOWN = {"list": 1, "query": 1, "QUERY": 1, "aggregate": 1, "export": 1, "change many": 1, "delete many": 1}


def expected(principal: str, table: str, operation: str, row: str) -> tuple[int, int | None]:
    """The status, and for what answers numbers of rows, how many."""
    if principal == "nobody":
        return 401, None
    if operation not in MAY[principal].get(table, NONE):
        return 403, None
    is_user = principal in PEOPLE
    sees = row != "missing" and (not is_user or table == "algos" or row == principal)
    if operation in CREATES and is_user and (table == "users" or row == "missing"):
        # Whoever creates a user creates themselves, and the row of a missing person is somebody else's.
        return (403, None)
    if operation in CREATES and is_user and row != principal:
        return 403, None
    if operation in CREATES and row == "missing" and table in ("sessions", "recordings"):
        return 409, None
    status = (FOUND if sees else ABSENT).get(operation, 200)
    return status, (1 if sees else 0) if operation in SHOWN else None


def number_of(operation: str, answer: httpx.Response) -> int:
    if operation == "export":
        return len(answer.text.splitlines())
    if operation in ("change many", "delete many"):
        count: int = answer.json()["count"]
        return count
    rows = answer.json()
    return rows[0]["count"] if operation == "aggregate" else len(rows)


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as made:
        yield made


def fill(callers: Callers, table: str) -> None:
    """Store the rows of both people that are not there."""
    for name in ("sessions", "recordings") if table == "users" else ():
        callers.admin.delete(f"/{name}?user_id_in=ada,ben")
    for name in {"users": 0, table: 1}:
        for person in PEOPLE:
            key = key_of(name, person)
            row = row_of(name, person, key)
            answer = callers.admin.put(f"/{name}/{key}", json=row, headers={"Prefer": "resolution=merge-duplicates"})
            assert answer.status_code in (200, 201), answer.text


SIZE = 9282
CELLS = [(principal, table) for principal in MAY for table in TABLES]


@pytest.mark.parametrize(("principal", "table"), CELLS, ids=[f"{p}-{t}" for p, t in CELLS])
def test_matrix(callers: Callers, principal: str, table: str) -> None:
    client = callers.client_of(principal)
    changes = bool({"delete", "delete many"} & set(MAY[principal].get(table, ())))
    for row in (*PEOPLE, "missing"):
        fill(callers, table)
        key = key_of(table, row) if row in PEOPLE else MISSING.get(table, "missing")
        for name, operation in operations(table, row, key).items():
            if changes and name == "delete":
                fill(callers, table)
            body = operation.body(callers.new_key(table)) if callable(operation.body) else operation.body
            answer = client.request(operation.method, operation.path, json=body)
            status, number = expected(principal, table, name, row)
            place = f"{principal}: {name} of {table}, {row}: {answer.status_code} {answer.text[:200]}"
            assert answer.status_code == status, place
            if number is not None:
                assert number_of(name, answer) == number, place


def test_size_of_the_matrix(callers: Callers) -> None:
    assert len(MAY) * len(TABLES) * len(operations("users", "ada", "ada")) * 3 == SIZE
