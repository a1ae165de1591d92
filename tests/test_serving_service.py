"""`python main.py`: whom it lets in, how fast it starts, and that its workers share a database."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from scripts.service_process import MAIN, ROOT, ServiceProcess


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    (tmp_path / "serving.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'serving.db'}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_let_in_without_a_word(tmp_path: Path, host: str) -> None:
    log = tmp_path / "log"
    with ServiceProcess({"HOST": host}, log=log) as service:
        service.start()
        assert service.exit_code(30) == 2
    assert "ALLOW_UNAUTHENTICATED=1" in log.read_text()
    assert len(log.read_text().splitlines()) == 1


def test_other_machines_are_let_in_on_request_and_every_start_warns(tmp_path: Path, sqlite_url: str) -> None:
    log = tmp_path / "log"
    environment = {"HOST": "0.0.0.0", "ALLOW_UNAUTHENTICATED": "1", "DATABASE_URL": sqlite_url}
    with ServiceProcess(environment, log=log) as service:
        service.start()
        service.wait_until_up()
        service.signal(signal.SIGTERM)
        assert service.exit_code(30) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert next(line["level"] for line in lines if line["logger"] == "auth") == "warning"


def test_a_bad_setting_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ServiceProcess({"DRAIN_S": "soon"}, log=log) as service:
        service.start()
        assert service.exit_code(30) == 1
    assert "DRAIN_S" in log.read_text()
    assert len(log.read_text().splitlines()) == 1


def test_a_second_start_takes_less_than_three_seconds(sqlite_url: str) -> None:
    # A machine on which the imports alone take that long (a busy one) is measured by them.
    imports_s = measure([sys.executable, "-c", "import src.main"])
    with ServiceProcess({"DATABASE_URL": sqlite_url}) as service:
        began = time.monotonic()
        service.start()
        service.wait_until_up()
        assert time.monotonic() - began < max(3.0, 2.5 * imports_s)


def test_readiness_turns_before_the_port_closes(sqlite_url: str) -> None:
    with ServiceProcess({"DATABASE_URL": sqlite_url, "DRAIN_NOTICE_S": "1"}) as service:
        service.start()
        service.wait_until_up()
        assert request(service.port, "GET", "/health/ready")[0] == 200
        service.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert request(service.port, "GET", "/health/ready")[0] == 503
        assert service.exit_code(10) == 0


def test_two_workers_write_to_one_database(migrated_url: str) -> None:
    rows = [event(number) for number in range(200)]
    with ServiceProcess({"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": "2"}) as service:
        service.start()
        service.wait_until_up()
        with ThreadPoolExecutor(16) as pool:
            created = list(pool.map(lambda row: request(service.port, "POST", "/events", row)[0], rows))
            read = list(pool.map(lambda row: request(service.port, "GET", f"/events/{row['event_id']}")[1], rows))
    assert set(created) == {201}
    assert [row["event_data"] for row in read] == [row["event_data"] for row in rows]


def measure(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, env={"PYTHONPATH": str(ROOT), "PATH": str(Path(MAIN[0]).parent)})
    return time.monotonic() - began


def request(port: int, method: str, path: str, row: dict[str, Any] | None = None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = None if row is None else json.dumps(row)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "null")
    finally:
        connection.close()


def event(number: int) -> dict[str, Any]:
    return {
        "event_id": str(uuid4()),
        "event_type": "tap",
        "event_data": {"number": number},
        "ts": "2026-01-31T09:30:00+00:00",
    }
