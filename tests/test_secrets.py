"""No secret stands in a log line or in an answer, whatever goes wrong; and the watch over the whole suite sees one."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import make_url

from scripts.service_process import ServiceProcess
from src.api.direct import index_of
from src.api.http import Answer
from src.main import create_app
from tests import canaries
from tests.callers import AUTHENTICATED, Callers, make_key, serving_callers
from tests.databases import is_sqlite
from tests.key_server import PROJECT, KeyServer
from tests.server import serving, settings_for

# It stands in bodies, which no log ever shows; an answer may repeat what its own client has sent.
BODY = "canary-of-a-body-a1b2c3"
EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED | {"auth_failures_per_address": 0}) as made:
        made.admin.post("/users", json={"user_id": "ada", "firebase_data": {"email": canaries.EMAIL}})
        yield made


def wrong_credentials(callers: Callers) -> list[dict[str, str]]:
    key, token = callers.service("events:read").headers["X-API-Key"], callers.keys.sign("ada")
    head, claims, signature = token.split(".")
    return [
        {"X-API-Key": key[:-1] + ("0" if key[-1] != "0" else "1")},
        {"X-API-Key": token},
        {"X-API-Key": f"{key}, {key}"},
        {"Authorization": key},
        {"Authorization": f"Basic {key}"},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Bearer {head}.{claims}.{signature[:-4]}AAAA"},
        {"Authorization": f"Bearer {token} {key}"},
        {"Authorization": f"Bearer {callers.keys.sign('ada', exp=1)}"},
        {"Authorization": f"Bearer {token}", "X-API-Key": key},
        {"Cookie": f"session={token}"},
        {"X-Request-ID": token},
    ]


def test_wrong_credentials_are_repeated_nowhere(callers: Callers) -> None:
    for headers in wrong_credentials(callers):
        for method, path in (("GET", "/users"), ("POST", "/events"), ("GET", "/nowhere"), ("POST", "/batch")):
            answer = callers.client().request(method, path, headers=headers)
            assert answer.status_code in (401, 404), answer.text
    # `canaries` has searched the answers; after the test it searches the logs.


BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/users", {"content": f'{{"user_id": "{BODY}"', "headers": {"Content-Type": "application/json"}}),
    ("POST", "/users", {"json": {"user_id": "ada", "firebase_data": {"email": BODY}}}),
    ("POST", "/users", {"json": {"user_id": BODY, "role": 5, "firebase_data": BODY}}),
    ("POST", "/events", {"json": [EVENT | {"event_data": BODY, "ts": BODY}]}),
    ("POST", "/events", {"content": f"event_type,ts\n{BODY},{BODY}\n", "headers": {"Content-Type": "text/csv"}}),
    ("POST", "/sessions", {"json": {"session_id": BODY, "user_id": BODY}}),
    ("PATCH", "/users/ada", {"json": {"body_data": {"height": BODY}}}),
    ("PUT", "/users/ada", {"json": {"user_id": BODY}}),
    ("POST", "/batch", {"json": {"requests": [{"method": "POST", "url": "/users", "body": {"user_id": [BODY]}}]}}),
    ("POST", "/users/-/query", {"json": {"user_id": BODY, BODY: 1}}),
    ("POST", "/users", {"json": {"user_id": "x" * 300, "firebase_data": {"email": BODY}}}),
    ("POST", "/users", {"json": {"user_id": f"{BODY}\u0000"}}),
    ("GET", f"/users/{BODY}", {}),
    ("GET", f"/users?firebase_data.email={BODY}&{BODY}=1", {}),
]


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(message)s %(fields)s", defaults={"fields": ""}))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in ("httpx", "httpcore"):
            self.lines.append(self.format(record))


def test_bodies_are_logged_nowhere(callers: Callers, capfd: pytest.CaptureFixture[str]) -> None:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    try:
        for method, path, more in BROKEN:
            assert callers.admin.request(method, path, **more).status_code < 500, path
    finally:
        logging.getLogger().removeHandler(handler)
    written = [line for text in capfd.readouterr() for line in text.splitlines() if "HTTP Request: " not in line]
    assert not [line for line in (*handler.lines, *written) if BODY in line]


def test_defect_shows_its_cause_to_the_log_alone(shared_url: str) -> None:
    app = create_app(settings_for(shared_url))
    resource, _ = index_of(app).find({"path": "/algos"})
    assert resource is not None

    async def fail(_: object) -> Answer:
        raise RuntimeError("a defect of ours")

    resource.handlers["GET"] = fail
    with serving(app) as client:
        answer = client.get("/algos", headers={"X-API-Key": make_key(shared_url, "admin")})
    assert answer.status_code == 500
    assert "a defect of ours" not in answer.text


def test_real_process_shows_no_secret(migrated_url: str, tmp_path: Path) -> None:
    """At the most talkative level."""
    keys, log = KeyServer(), tmp_path / "log"
    key = make_key(migrated_url, "admin")
    environment = {
        "DATABASE_URL": migrated_url,
        "AUTHENTICATION": "on",
        "FIREBASE_PROJECT_ID": PROJECT,
        "FIREBASE_KEYS_URL": keys.url,
        "TOMBSTONE_KEY": canaries.TOMBSTONE_KEY,
        "LOG_LEVEL": "DEBUG",
        "WEB_CONCURRENCY": "1",
    }
    shown: list[str] = []
    try:
        with ServiceProcess(environment, log=log) as service:
            service.start()
            service.wait_until_up()
            base_url = f"http://127.0.0.1:{service.port}"
            token = keys.sign("ada")
            row = {"user_id": "ada", "firebase_data": {"email": canaries.EMAIL}}
            for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {token}"}, {"X-API-Key": f"{key}x"}):
                with httpx.Client(base_url=base_url, headers=headers) as client:
                    shown += [client.post("/users", json=row).text for _ in range(2)]
                    shown += [client.request(method, path, **more).text for method, path, more in BROKEN]
                    shown.append(client.delete("/users/ada?cascade=true").text)
    finally:
        keys.close()
    written = log.read_text()
    assert '"requests"' in written
    secrets = [key[13:45], token.split(".")[2], canaries.TOMBSTONE_KEY]
    if not is_sqlite(migrated_url):
        assert make_url(migrated_url).password == canaries.PASSWORD
        secrets.append(canaries.PASSWORD)
    for secret in (*secrets, BODY, canaries.EMAIL):
        assert secret not in written, secret
    for secret in secrets:
        assert secret not in "".join(shown), secret


def test_database_that_is_away_is_named_without_its_password() -> None:
    url = f"postgresql://someone:{canaries.PASSWORD}@127.0.0.1:1/nowhere"
    with serving(create_app(settings_for(url))) as client:
        answers = [client.get("/users"), client.post("/users", json={"user_id": "a"}), client.get("/health/ready")]
    assert [answer.status_code for answer in answers] == [503] * 3


def test_settings_show_no_secret() -> None:
    settings = settings_for(
        f"postgresql://someone:{canaries.PASSWORD}@127.0.0.1:1/nowhere", tombstone_key=canaries.TOMBSTONE_KEY
    )
    assert canaries.TOMBSTONE_KEY not in repr(settings)
    assert canaries.PASSWORD not in settings.safe_url
    assert canaries.PASSWORD not in str(settings.url)


def report_with(text: str) -> pytest.TestReport:
    return pytest.TestReport("x", ("x", 0, "x"), {}, "passed", None, "call", [("Captured stderr call", text)])


@pytest.mark.parametrize("secret", ["key", "token", canaries.PASSWORD, canaries.TOMBSTONE_KEY, canaries.EMAIL])
def test_watch_sees_a_secret_that_is_logged(callers: Callers, secret: str) -> None:
    """The watch over the whole suite is able to fail."""
    made = {"key": callers.admin.headers["X-API-Key"], "token": callers.keys.sign("ada")}.get(secret, secret)
    line = json.dumps({"message": f"somebody came with {made}, and"})
    assert canaries.find_leaks(report_with(f"before\n{line}\nafter")) == [line]
    assert canaries.check(report_with(line)).outcome == "failed"
    assert canaries.check(report_with("nothing")).outcome == "passed"


def test_watch_sees_a_secret_that_is_answered(callers: Callers) -> None:
    key = callers.admin.headers["X-API-Key"]
    answer = httpx.Response(
        200, stream=httpx.ByteStream(f'{{"key": "{key}"}}'.encode()), request=httpx.Request("GET", "http://x")
    )
    answer.read()
    assert len(canaries.find_leaks(report_with(""))) == 1
    assert canaries.find_leaks(report_with("")) == []
