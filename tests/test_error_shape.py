"""Errors: one object, one sentence, the members of RFC 9457; and what is not the client's fault."""

import io
import json
import logging
import re
from collections.abc import Iterator

import httpx
import pytest

from src.core.logging import configure_logging
from src.main import create_app
from tests.server import serving, settings_for

SECRET = "canary-4711"


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/users?size=0", 400, "Bad Request"),
        ("GET", "/users/nobody", 404, "Not Found"),
        ("GET", "/nothing", 404, "Not Found"),
        ("PUT", "/users", 405, "Method Not Allowed"),
        ("POST", "/users", 415, "Unsupported Media Type"),
    ],
)
def test_error_has_every_member(idle_client: httpx.Client, method: str, path: str, status: int, title: str) -> None:
    answer = idle_client.request(method, path, headers={"X-Request-ID": "phone-7"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "phone-7"
    body = answer.json()
    assert (answer.status_code, body["status"], body["title"]) == (status, status, title)
    assert (body["type"], body["instance"], body["request_id"]) == ("about:blank", path.partition("?")[0], "phone-7")
    assert isinstance(body["detail"], str)


def test_conflict_has_every_member(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    body = client.post("/users", json={"user_id": "ada"}).json()
    assert {"detail", "status", "title", "type", "instance", "request_id"} <= body.keys()


@pytest.mark.parametrize("sent", ["a b", "", "x" * 65, "ä", "a\tb", "{}"])
def test_request_id_that_is_none_is_replaced(idle_client: httpx.Client, sent: str) -> None:
    made = idle_client.get("/health", headers={"X-Request-ID": sent.encode()}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", made)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    yield stream
    configure_logging(settings_for("sqlite:///unused.db"))


def lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.fixture
def logged(migrated_url: str, log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr("sys.stderr", log)
    app = create_app(settings_for(migrated_url, log_format="json"))

    @app.get("/defect")
    async def defect() -> None:
        raise ZeroDivisionError("no input makes this")

    logging.getLogger("httpx").setLevel(logging.WARNING)
    with serving(app) as client:
        yield client


def test_one_line_per_request(logged: httpx.Client, log: io.StringIO) -> None:
    logged.post("/users", json={"user_id": SECRET, "firebase_data": {"email": SECRET}})
    logged.get(f"/users/{SECRET}", headers={"X-Request-ID": "phone-7", "Authorization": f"Bearer {SECRET}"})
    logged.get(f"/users?user_id={SECRET}&size=5")
    logged.get(f"/nothing/{SECRET}")
    logged.put(f"/users/{SECRET}", json={"firebase_data": SECRET})
    requests = [line for line in lines(log) if line["logger"] == "requests" and line["route"] != "/health/live"]
    assert [(line["method"], line["route"], line["status"]) for line in requests] == [
        ("POST", "/users", 201),
        ("GET", "/users/{user_id}", 200),
        ("GET", "/users", 200),
        ("GET", "-", 404),
        ("PUT", "/users/{user_id}", 400),
    ]
    assert requests[1]["request_id"] == "phone-7"
    for line in requests:
        assert line["level"] == "info"
        assert float(str(line["ms"])) >= 0
        assert int(str(line["bytes"])) > 0
        assert str(line["time"]).endswith("+00:00")
    assert SECRET not in log.getvalue()


def test_defect_is_logged_once_with_its_traceback_and_answered_without(logged: httpx.Client, log: io.StringIO) -> None:
    answer = logged.get("/defect", headers={"X-Request-ID": "phone-7"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "ZeroDivisionError" not in answer.text
    assert "no input makes this" not in answer.text
    (defect,) = [line for line in lines(log) if "traceback" in line]
    assert defect["request_id"] == answer.json()["request_id"] == "phone-7"
    assert "ZeroDivisionError" in str(defect["traceback"])
    assert logged.get("/health").status_code == 200


def test_lines_for_a_terminal_are_readable(log: io.StringIO) -> None:
    requests = configure_logging(settings_for("sqlite:///unused.db", log_format="text"), log).requests
    assert requests is not None
    requests.write("request", {"method": "GET", "status": 200})
    logging.getLogger("serve").warning("be careful")
    first, second = log.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} INFO    request method=GET status=200", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} WARNING be careful", second)


def test_requests_are_not_logged_above_info() -> None:
    assert configure_logging(settings_for("sqlite:///unused.db", log_level="WARNING"), io.StringIO()).requests is None
    configure_logging(settings_for("sqlite:///unused.db"))
