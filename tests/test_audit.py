"""The audit: who was denied what, and who has read how many rows of other people; never what stood in them."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from src.core.logging import FIELDS
from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers
from tests.server import serving, settings_for

SECRET = "bodies-are-nobodys-business"
EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


class Audit(logging.Handler):
    """Keeps what the audit says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append({"message": record.getMessage(), **getattr(record, FIELDS)})

    def of(self, answer: httpx.Response, number: int = 1) -> list[dict[str, Any]]:
        """What was written about one request, which may have its answer a moment before as many lines are written."""
        deadline = time.monotonic() + 5
        while True:
            found = [line for line in self.lines if line["request_id"] == answer.headers["x-request-id"]]
            if len(found) >= number or time.monotonic() > deadline:
                return found
            time.sleep(0.005)


@pytest.fixture(scope="module")
def audit() -> Iterator[Audit]:
    handler = Audit()
    logging.getLogger("audit").addHandler(handler)
    yield handler
    logging.getLogger("audit").removeHandler(handler)


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as made:
        for person in ("ada", "ben"):
            made.admin.post("/users", json={"user_id": person, "body_data": {"note": SECRET}})
            sessions = [{"session_id": f"{person}-{number}", "user_id": person} for number in range(3)]
            made.admin.post("/sessions", json=sessions)
            made.admin.post("/events", json=[EVENT | {"user_id": person}] * 2)
        yield made


READS = {
    "read": ("GET", "/users/ada", None, 1),
    "list": ("GET", "/sessions?size=2", None, 2),
    "head of a list": ("HEAD", "/sessions?size=2", None, 2),
    "empty list": ("GET", "/sessions?user_id=nobody", None, 0),
    "long query": ("POST", "/sessions/-/query", {"user_id": "ada"}, 3),
    "QUERY": ("QUERY", "/sessions", {"user_id": "ada"}, 3),
    "aggregate": ("GET", "/sessions/-/aggregate?group=user_id", None, 2),
    "aggregate by QUERY": ("QUERY", "/sessions/-/aggregate", {"group": "user_id"}, 2),
    "export of lines": ("GET", "/sessions?format=ndjson", None, 6),
    "export as CSV": ("GET", "/sessions?format=csv", None, 6),
    "export as Parquet": ("GET", "/sessions?format=parquet", None, 6),
    "export of groups": ("GET", "/sessions/-/aggregate?group=user_id&format=csv", None, 2),
    "expansion": ("GET", "/users?user_id_in=ada,ben&expand=sessions", None, 2),
    "archive": ("GET", "/users/ada/archive", None, 6),
    "part of a batch": ("POST", "/batch", {"requests": [{"method": "GET", "url": "/sessions?user_id=ada"}]}, 3),
}


@pytest.mark.parametrize("who", ["researcher", "service *:read", "admin", "researcher by grant"])
@pytest.mark.parametrize("read", READS)
def test_look_at_other_peoples_rows_is_written_down(callers: Callers, audit: Audit, read: str, who: str) -> None:
    method, path, body, rows = READS[read]
    answer = callers.client_of(who).request(method, path, json=body)
    assert answer.status_code == 200, answer.text
    (line,) = audit.of(answer)
    role = who.partition(" ")[0]
    assert (line["message"], line["role"], line["rows"]) == ("read", role, rows)
    names = {"researcher": "some-researcher", "admin": "some-admin", "researcher by grant": "rita"}
    if role != "service":
        assert line["who"] == names[who]
    else:
        key = callers.client_of(who).headers["X-API-Key"]
        assert line["who"] == key[5:13]
        assert key[13:] not in str(line)
    assert line["table"] == ("users" if "users" in path else "sessions")
    assert line.get("key") == ("ada" if "/users/ada" in path else None)
    assert SECRET not in str(line)


def test_unchanged_row_was_looked_at_too(callers: Callers, audit: Audit) -> None:
    researcher = callers.client_of("researcher")
    tag = researcher.get("/users/ada").headers["etag"]
    answer = researcher.get("/users/ada", headers={"If-None-Match": tag})
    assert answer.status_code == 304
    assert [line["rows"] for line in audit.of(answer)] == [1]


def test_batch_has_a_line_for_each_of_its_reads(callers: Callers, audit: Audit) -> None:
    parts = [{"method": "GET", "url": url} for url in ("/users/ada", "/sessions?size=2", "/algos")]
    answer = callers.client_of("researcher").post("/batch", json={"requests": parts})
    assert [(line["table"], line["rows"]) for line in audit.of(answer, 2)] == [("users", 1), ("sessions", 2)]


def test_own_rows_and_rows_of_nobody_are_not_watched(callers: Callers, audit: Audit) -> None:
    answers = []
    for path in ("/users/ada", "/users", "/events?format=ndjson", "/users/ada/archive", "/algos", "/sessions/ben-0"):
        answer = callers.person("ada").get(path)
        assert answer.status_code in (200, 404)
        answers.append(answer)
    answers.append(callers.client_of("researcher").get("/algos"))
    assert audit.of(callers.client_of("researcher").get("/users"))
    assert [audit.of(answer, 0) for answer in answers] == [[]] * len(answers)


DENIED: dict[str, tuple[str, str, str, dict[str, Any], int]] = {
    "no credentials": ("nobody", "GET", "/users/ada", {}, 401),
    "a wrong key": ("nobody", "GET", "/users", {"headers": {"X-API-Key": f"bapi_{SECRET}"}}, 401),
    "a wrong token": ("nobody", "GET", "/users", {"headers": {"Authorization": f"Bearer {SECRET}"}}, 401),
    "a basic password": ("nobody", "GET", "/users", {"headers": {"Authorization": f"Basic {SECRET}"}}, 401),
    "an action": ("researcher", "POST", "/users", {"json": {"user_id": SECRET}}, 403),
    "a table": ("service events:read", "GET", "/users", {}, 403),
    "a row of another": ("ada", "POST", "/sessions", {"json": {"session_id": SECRET, "user_id": "ben"}}, 403),
    "a row of another among many": ("ada", "POST", "/events", {"json": [EVENT | {"user_id": "ben"}]}, 403),
    "a part of a batch": (
        "researcher",
        "POST",
        "/batch",
        {"json": {"requests": [{"method": "POST", "url": "/users", "body": {"user_id": SECRET}}]}},
        403,
    ),
    "an archive": ("service users:read", "GET", "/users/ada/archive", {}, 403),
    "an erasure": ("service users:write", "DELETE", "/users/ada?cascade=true", {}, 403),
}


@pytest.mark.parametrize("what", DENIED)
def test_denied_request_is_written_down(callers: Callers, audit: Audit, what: str) -> None:
    who, method, path, more, status = DENIED[what]
    answer = callers.client_of(who).request(method, path, **more)
    assert answer.status_code == status, answer.text
    (line,) = audit.of(answer)
    assert (line["message"], line["status"], line["method"]) == ("denied", status, method)
    assert line["address"] == "127.0.0.1"
    assert line["role"] == ("user" if who == "ada" else who.partition(" ")[0])
    assert bool(line["who"]) == (who != "nobody")
    assert line["reason"]
    assert SECRET not in str(line)
    if what.startswith("a wrong"):
        assert line["reason"] != "no credentials"


def test_whoever_asks_too_often_is_named(shared_url: str, audit: Audit) -> None:
    limits = {"rate_limit_per_principal": 2, "rate_limit_per_address": 5, "rate_limit_window_s": 3600}
    with serving_callers(create_app, shared_url, **AUTHENTICATED, **limits) as callers:
        ada = callers.person("ada")
        by_principal = [ada.get("/algos") for _ in range(3)][-1]
        by_address = [callers.client().get("/algos") for _ in range(3)][-1]
    assert (by_principal.status_code, by_address.status_code) == (429, 429)
    (line,) = audit.of(by_principal)
    assert (line["status"], line["role"], line["who"]) == (429, "user", "ada")
    # Whoever is refused by their address is not asked who they are.
    (line,) = audit.of(by_address)
    assert (line["status"], line["role"], line["who"]) == (429, "nobody", "")


def test_failed_authentications_from_one_address_are_written_down(shared_url: str, audit: Audit) -> None:
    with serving_callers(create_app, shared_url, **AUTHENTICATED | {"auth_failures_per_address": 1}) as callers:
        wrong = callers.client(headers={"X-API-Key": "x"})
        answers = [wrong.get("/algos") for _ in range(2)]
    assert [line["status"] for answer in answers for line in audit.of(answer)] == [401, 429]


def test_request_that_is_not_local_is_written_down(shared_url: str, audit: Audit) -> None:
    with serving(create_app(settings_for(shared_url))) as client:
        answer = client.get("/users", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status_code == 503
    (line,) = audit.of(answer)
    assert (line["status"], line["role"]) == (503, "nobody")
    assert "x-forwarded-for" in line["reason"]


def test_audit_is_kept_when_the_log_is_quiet(shared_url: str, audit: Audit) -> None:
    with serving_callers(create_app, shared_url, **AUTHENTICATED, log_level="ERROR") as callers:
        assert len(audit.of(callers.client_of("researcher").get("/users"))) == 1
        assert len(audit.of(callers.client().get("/users"))) == 1
