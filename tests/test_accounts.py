"""People and their accounts: what nobody but an admin decides, and people with odd names or without a row."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as made:
        made.admin.post("/users", json={"user_id": "ada"})
        yield made


CSV = {"Content-Type": "text/csv"}
MERGE = {"Prefer": "resolution=merge-duplicates"}
# Every other way to write one's own row; `{}` is the change.
WAYS_TO_WRITE: list[Callable[[dict[str, Any]], tuple[str, str, dict[str, Any]]]] = [
    lambda change: ("POST", "/users", {"json": {"user_id": "ada"} | change, "headers": MERGE}),
    lambda change: ("POST", "/users", {"json": [{"user_id": "ada"} | change], "headers": MERGE}),
    lambda change: ("POST", "/users", {"json": [{"user_id": "ada"} | change]}),
    lambda change: ("PUT", "/users/ada", {"json": change, "headers": MERGE}),
    lambda change: ("PUT", "/users/ada", {"json": change, "headers": {"If-None-Match": "*"}}),
    lambda change: ("POST", "/users", {"content": _csv({"user_id": "ada"} | change), "headers": CSV}),
    lambda change: ("POST", "/users", {"content": _csv({"user_id": "ada"} | change), "headers": CSV | MERGE}),
    lambda change: _batch("PATCH", "/users/ada", change),
    lambda change: _batch("PATCH", "/users?user_id=ada", change),
    lambda change: _batch("PUT", "/users/ada", change),
    lambda change: _batch("POST", "/users", [{"user_id": "ada"} | change]),
]


def _csv(row: dict[str, Any]) -> str:
    return f"{','.join(row)}\n{','.join(str(value) for value in row.values())}\n"


def _batch(method: str, url: str, body: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/batch", {"json": {"requests": [{"method": method, "url": url, "body": body}]}}


@pytest.mark.parametrize("who", ["ada", "service *:write"])
def test_nobody_but_an_admin_decides_about_an_account(callers: Callers, who: str) -> None:
    """A service that may write users would be more than its scopes say, if it could make an admin of somebody."""
    account = ("role", "disabled", "tokens_valid_after")
    before = {name: callers.admin.get("/users/ada").json()[name] for name in account}
    for column, value in (("role", "admin"), ("disabled", "false"), ("tokens_valid_after", "2020-01-01T00:00:00Z")):
        for way in WAYS_TO_WRITE:
            method, path, more = way({column: value})
            answer = callers.client_of(who).request(method, path, **more)
            assert answer.status_code == 400, (path, more, answer.text)
            assert column in answer.json()["detail"]
    assert {name: callers.admin.get("/users/ada").json()[name] for name in account} == before
    shown = callers.service("*:read").get("/users/ada").json()
    assert not set(account) & set(shown)


ODD_PEOPLE = ["zoë\u2028💥", "x" * 128, "💥" * 128, "a'b\"c", "a/b", "..", "-", "a\nb", "%00", "a;b?c#d", " a "]


@pytest.mark.parametrize("user_id", ODD_PEOPLE)
def test_people_with_odd_names_come_first_and_reach_only_their_own(callers: Callers, user_id: str) -> None:
    """Nobody has stored a row of theirs before. Names that no path could hold are refused as keys, and that is all."""
    person, path = callers.person(user_id), f"/users/{quote(user_id, safe='')}"
    event = {"event_type": "tap", "ts": "2026-01-01T00:00:00Z"}
    created = person.post("/users", json={"user_id": user_id})
    assert created.status_code in (201, 400)
    assert person.get(path).status_code == (200 if created.status_code == 201 else 404)
    assert person.post("/events", json=event).json()["user_id"] == user_id
    assert [row["user_id"] for row in person.get("/events").json()] == [user_id]
    assert len(person.get("/users").json()) == (1 if created.status_code == 201 else 0)
    statuses = [person.request(method, path, json={}).status_code for method in ("PUT", "PATCH")]
    statuses += [person.get(f"{path}/archive").status_code, person.delete(f"{path}?cascade=true").status_code]
    assert set(statuses) <= {200, 404}


def test_person_whose_name_no_database_can_hold_is_nobody(callers: Callers) -> None:
    assert callers.person("a\x00b").get("/algos").status_code == 401


@pytest.mark.parametrize("account", [{"disabled": True}, {"tokens_valid_after": "2020-01-01T00:00:00Z"}, {"role": "x"}])
def test_nobody_but_an_admin_deletes_what_was_decided_about_an_account(
    callers: Callers, account: dict[str, Any]
) -> None:
    """A new row would let in whom the old one kept out."""
    callers.admin.post("/users", json={"user_id": "out"} | account).raise_for_status()
    callers.admin.post("/users", json={"user_id": "plain", "disabled": False}).raise_for_status()
    service = callers.service("users:write")
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("DELETE", "/users/out", {}),
        ("DELETE", "/users/out", {"headers": {"If-Match": "*"}}),
        ("DELETE", "/users/out", {"headers": {"Prefer": "tx=rollback"}}),
        ("DELETE", "/users?user_id_in=plain,out", {}),
        _batch("DELETE", "/users/out", None),
        _batch("DELETE", "/users?user_id_in=plain,out", None),
    ]
    for method, path, more in ways:
        answer = service.request(method, path, **more)
        assert answer.status_code == 403, (path, answer.text)
        assert "only an admin" in answer.json()["detail"]
    assert [row["user_id"] for row in callers.admin.get("/users?user_id_in=plain,out").json()] == ["out", "plain"]
    assert service.delete("/users/plain").status_code == 204
    assert service.delete("/users/nobody").status_code == 404
    # Of others, people learn nothing.
    assert callers.person("eve").delete("/users/out").status_code == 404
    assert callers.admin.delete("/users/out").status_code == 204
