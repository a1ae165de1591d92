"""Whom a stream answers, what it shows to whom, and that it ends when its caller's credentials do."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from src.api.routes.crud_routes import create_crud_router
from src.auth.firebase import LEEWAY_S
from src.core.access import APPEND, Role
from src.core.tables import Delivery
from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers
from tests.databases import run_sql
from tests.streams import STREAM, Listening

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


@pytest.fixture
def callers(migrated_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as made:
        yield made


def post(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("/events", json=EVENT | more)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


def test_each_sees_what_a_list_would_show(callers: Callers) -> None:
    ada, ben = callers.person("ada"), callers.person("ben")
    researcher, service = callers.client_of("researcher"), callers.service("events:read")
    with (
        Listening(ada) as adas,
        Listening(ben) as bens,
        Listening(ben, "?user_id=ada") as peeking,
        Listening(researcher) as all_rows,
        Listening(researcher, "?user_id=ada") as of_ada,
        Listening(service) as services,
    ):
        rows = [post(ada), post(ben), post(ada), post(callers.admin, user_id="eve"), post(callers.admin)]
        for stream in (all_rows, services):
            assert [each.row for each in stream.wait_for_events(5)] == rows
        assert [each.row for each in adas.wait_for_events(2)] == [rows[0], rows[2]]
        assert [each.row for each in of_ada.wait_for_events(2)] == [rows[0], rows[2]]
        assert [each.row for each in bens.wait_for_events(1)] == [rows[1]]
        assert peeking.wait_for_events(0) == []
        start = all_rows.events[0].id - 1
    with Listening(ada, last_id=start) as adas, Listening(ben, last_id=start) as bens:
        assert [each.row for each in adas.wait_for_events(2)] == [rows[0], rows[2]]
        assert [each.row for each in bens.wait_for_events(1)] == [rows[1]]


@pytest.mark.parametrize(("principal", "status"), [("nobody", 401), ("service events:append", 403)])
def test_whoever_may_not_read_may_not_watch(callers: Callers, principal: str, status: int) -> None:
    client = callers.client_of(principal)
    assert client.get(STREAM).status_code == status
    assert client.get(STREAM, headers={"Last-Event-ID": "0"}).status_code == status


def test_a_hidden_column_stands_in_no_event_and_in_no_filter(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = create_crud_router(
        table_name="event_log",
        prefix="/events",
        tags=["events"],
        owner="user_id",
        users_may=APPEND,
        hidden={Role.RESEARCHER: ("event_data",)},
        delivery=Delivery("device_id", "seq", "sent_at", "session_id", "ts", "utc_offset_min"),
    )
    monkeypatch.setattr("src.api.routes.crud_routes.events_router", router)
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        researcher = callers.client_of("researcher")
        with Listening(researcher) as stream, Listening(callers.admin) as whole:
            post(callers.admin, event_data={"note": "secret"})
            (event,) = stream.wait_for_events(1)
            assert "event_data" not in event.row
            assert whole.wait_for_events(1)[0].row["event_data"] == {"note": "secret"}
        assert researcher.get(f"{STREAM}?event_data.note=secret").status_code == 400


def test_a_stream_ends_with_the_token(callers: Callers) -> None:
    ada = callers.person("ada", exp=int(time.time()) - LEEWAY_S + 3)
    with Listening(ada) as stream:
        row = post(callers.admin, user_id="ada")
        assert [each.row for each in stream.wait_for_events(1)] == [row]
        stream.wait_for_the_end(10)
        assert not stream.was_cut_off
        place = stream.last_id
    row = post(callers.admin, user_id="ada")
    with Listening(callers.person("ada"), last_id=place) as stream:
        assert [each.row for each in stream.wait_for_events(1)] == [row]


def test_a_stream_ends_with_the_api_key(callers: Callers, migrated_url: str) -> None:
    service = callers.service("events:read")
    with Listening(service) as stream, Listening(callers.admin) as other:
        scopes = "scopes = 'events:read'"
        run_sql(migrated_url, f"UPDATE api_keys SET revoked_at = created_at WHERE {scopes}")
        stream.wait_for_the_end(10)
        row = post(callers.admin)
        assert [each.row for each in other.wait_for_events(1)] == [row]
        assert stream.events == []


def test_a_stream_ends_with_the_account(callers: Callers) -> None:
    assert callers.admin.post("/users", json={"user_id": "ada"}).status_code == 201
    with Listening(callers.person("ada")) as stream:
        assert callers.admin.patch("/users/ada", json={"disabled": True}).status_code == 200
        stream.wait_for_the_end(10)


def test_a_stream_ends_when_its_caller_becomes_somebody_else(callers: Callers) -> None:
    """A grant that was taken away shows at once what it no longer shows in lists."""
    row = {"user_id": "rita", "role": "researcher"}
    assert callers.admin.post("/users", json=row).status_code == 201
    rita = callers.person("rita")
    with Listening(rita) as stream:
        assert callers.admin.patch("/users/rita", json={"role": None}).status_code == 200
        stream.wait_for_the_end(10)
    with Listening(rita, last_id=stream.last_id) as stream:
        post(callers.admin, user_id="ada")
        post(callers.admin, user_id="rita")
        assert [each.row["user_id"] for each in stream.wait_for_events(1)] == ["rita"]


def test_the_audit_counts_the_rows_that_others_watched(callers: Callers) -> None:
    lines: list[dict[str, Any]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append({"message": record.getMessage()} | vars(record)["fields"])

    audit = logging.getLogger("audit")
    handler = Keeping()
    audit.addHandler(handler)
    try:
        with Listening(callers.client_of("researcher")) as stream, Listening(callers.person("ada")) as adas:
            for _ in range(3):
                post(callers.admin, user_id="ada")
            stream.wait_for_events(3)
            adas.wait_for_events(3)
        stream.wait_for(lambda: bool(lines), timeout_s=10)
    finally:
        audit.removeHandler(handler)
    (line,) = [line for line in lines if line["message"] == "read"]
    assert line["rows"] == 3
    assert (line["role"], line["who"], line["table"]) == ("researcher", "some-researcher", "event_log")
    assert line["route"] == "/events/-/stream"
