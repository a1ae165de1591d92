"""SIGHUP: new workers take over, and none of 200 requests a second is lost meanwhile."""

import json
import os
import pty
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from scripts.service_process import MAIN, ServiceProcess
from src.serve import rolling
from tests.test_serving import start_with

CLIENTS_OF_A_KIND = 5
PAUSE_S = 0.05
LONG_PAUSES_S = (0.3, 0.7, 1.2)


class Traffic:
    """200 requests a second: half of them over connections that are kept, half over new ones, a third of them writes.

    Some more clients pause for long between two requests of one connection.
    """

    def __init__(self, port: int) -> None:
        self.answers: Counter[int | str] = Counter()
        self.stored: list[str] = []
        self._port = port
        self._ends = threading.Event()
        self._turn = threading.Lock()
        paces = [(kept, PAUSE_S) for kept in (True, False) for _ in range(CLIENTS_OF_A_KIND)]
        paces += [(True, pause_s) for pause_s in LONG_PAUSES_S]
        self._threads = [threading.Thread(target=self._ask, args=pace) for pace in paces]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, is_kept: bool, pause_s: float) -> None:
        connection, number = self._connect(), 0
        due = time.monotonic()
        while not self._ends.is_set():
            number += 1
            try:
                status = self._ask_once(connection, is_write=number % 3 == 0)
            except Exception as error:
                status = repr(error)
                connection.close()
            with self._turn:
                self.answers[status] += 1
            if not is_kept:
                connection.close()
                connection = self._connect()
            # A machine that is too slow for the rate does what it can.
            due = max(due + pause_s, time.monotonic() - 1)
            self._ends.wait(due - time.monotonic())
        connection.close()

    def _connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=30)

    def _ask_once(self, connection: HTTPConnection, *, is_write: bool) -> int | str:
        if not is_write:
            connection.request("GET", "/events?size=1")
        else:
            row = {"event_id": str(uuid4()), "event_type": "tap", "ts": "2026-01-01T00:00:00Z"}
            connection.request("POST", "/events", json.dumps(row), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if is_write and answer.status == 201:
            self.stored.append(row["event_id"])
        return answer.status


def children(pid: int) -> set[int]:
    """The processes that a supervisor has started."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def wait_until(holds: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_rolling_restart_under_load_loses_no_request(migrated_url: str, tmp_path: Path, workers: int) -> None:
    log = tmp_path / "log"
    environment = {"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": str(workers), "RECEIVE_TIMEOUT_S": "5"}
    with ServiceProcess(environment, log=log) as service:
        service.start()
        service.wait_until_up("/health/ready")
        wait_until(lambda: len(children(service.pid)) == workers)
        old = children(service.pid)
        with Traffic(service.port) as traffic:
            time.sleep(1)
            service.signal(signal.SIGHUP)
            wait_until(lambda: "Restarted" in log.read_text())
            time.sleep(1)
        assert set(traffic.answers) == {200, 201}
        assert traffic.answers.total() > 500
        assert len(children(service.pid)) == workers
        assert not children(service.pid) & old
        missing = [key for key in traffic.stored if get(service.port, f"/events/{key}")[0] != 200]
        assert not missing
        assert traffic.stored
        service.signal(signal.SIGTERM)
        assert service.exit_code(20) == 0


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "code"
    path.write_text("old")
    return path


def test_restarted_workers_have_the_code_that_is_there_now(tmp_path: Path, code: Path) -> None:
    with start_with(tmp_path, SERVING_CODE=str(code), WEB_CONCURRENCY="2", DRAIN_S="1") as serving:
        code.write_text("new")
        assert serving.get("/code") == (200, "old")
        serving.signal(signal.SIGHUP)
        wait_until(lambda: "Restarted" in serving.log.read_text())
        assert {serving.get("/code")[1] for _ in range(20)} == {"new"}


def test_readiness_holds_while_workers_are_replaced(tmp_path: Path) -> None:
    with start_with(tmp_path, DRAIN_NOTICE_S="1", DRAIN_S="1") as serving:
        serving.signal(signal.SIGHUP)
        seen = set()
        while "Restarted" not in serving.log.read_text():
            seen.add(serving.get("/ready")[0])
        assert seen == {200}


def test_new_worker_that_cannot_start_changes_nothing(tmp_path: Path, code: Path) -> None:
    with start_with(tmp_path, SERVING_CODE=str(code), DRAIN_S="1") as serving:
        pid = serving.get("/pid")[1]
        code.write_text("broken")
        serving.signal(signal.SIGHUP)
        wait_until(lambda: "given up" in serving.log.read_text())
        assert serving.get("/pid")[1] == pid
        code.write_text("mended")
        serving.signal(signal.SIGHUP)
        wait_until(lambda: "Restarted" in serving.log.read_text())
        assert serving.get("/code")[1] == "mended"


def test_request_and_stream_of_a_replaced_worker_finish(tmp_path: Path) -> None:
    with start_with(tmp_path, DRAIN_S="4") as serving, ThreadPoolExecutor(1) as pool:
        stream = serving.open_stream().getresponse()
        slow = pool.submit(serving.get, "/slow")
        time.sleep(0.3)
        old = serving.get("/pid")[1]
        serving.signal(signal.SIGHUP)
        assert slow.result() == (200, "done")
        wait_until(lambda: serving.get("/pid")[1] != old)
        assert stream.read(9) == b"data: 1\n\n"
        wait_until(lambda: "Restarted" in serving.log.read_text())


def test_second_signal_while_restarting_ends_with_new_workers(tmp_path: Path, code: Path) -> None:
    with start_with(tmp_path, SERVING_CODE=str(code), DRAIN_S="1") as serving:
        code.write_text("new")
        serving.signal(signal.SIGHUP)
        wait_until(lambda: serving.get("/code")[1] == "new")
        code.write_text("newest")
        serving.signal(signal.SIGHUP)
        wait_until(lambda: "Restarted" in serving.log.read_text() and serving.get("/code")[1] == "newest")


class Slot:
    """A worker that serves at once."""

    def __init__(self, number: int, command: object = None) -> None:
        self.number, self.command, self.is_alive = number, command, True

    def has_served(self) -> bool:
        return True

    def tend(self) -> None: ...

    def retire(self) -> None:
        self.is_alive = False

    def end(self) -> None: ...


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_second_signal_replaces_whoever_is_there_when_it_comes(
    monkeypatch: pytest.MonkeyPatch, workers: int, steps: int
) -> None:
    """Also a worker that has started, and has not taken its place yet."""
    monkeypatch.setattr(rolling, "WorkerSlot", Slot)
    slots: Any = [Slot(number) for number in range(workers)]
    restart = rolling.RollingRestart(slots, 1.0)
    restart.begin()
    for _ in range(steps):
        restart.step()
    old = [*slots, *restart.others]
    restart.begin()
    while restart.is_under_way:
        restart.step()
    assert not any(slot in old for slot in slots)
    assert [slot.number for slot in slots] == list(range(workers))


def test_signal_to_restart_changes_nothing_at_the_end(tmp_path: Path) -> None:
    with start_with(tmp_path) as serving, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(serving.get, "/slow")
        time.sleep(0.3)
        serving.signal(signal.SIGTERM)
        time.sleep(0.1)
        serving.signal(signal.SIGHUP)
        assert slow.result() == (200, "done")
        assert serving.exit_code(20) == 0
        assert "Restarting" not in serving.log.read_text()


def test_the_end_comes_in_the_middle_of_a_restart(tmp_path: Path) -> None:
    with start_with(tmp_path, WEB_CONCURRENCY="2") as serving:
        serving.signal(signal.SIGHUP)
        wait_until(lambda: len(children(serving.pid)) == 3)
        serving.signal(signal.SIGTERM)
        assert serving.exit_code(20) == 0
        assert serving.wait_until_port_closes(1)


@pytest.fixture
def terminal(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[int, int, Path]]:
    """A service in the foreground of a terminal: its process, the terminal's other end, and its log."""
    log, port = tmp_path / "log", ServiceProcess({}).port
    log.touch()
    pid, master = pty.fork()
    if pid == 0:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        # These tests may themselves run under nohup, whose children ignore it.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        environment = {"HOST": "127.0.0.1", "PORT": str(port), "DATABASE_URL": f"sqlite:///{sqlite_template}"}
        os.execve(MAIN[0], MAIN, os.environ | environment)
    wait_until(lambda: "Serving" in log.read_text() and bool(children(pid)))
    yield pid, master, log
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)


def test_closing_the_terminal_ends_the_service(terminal: tuple[int, int, Path]) -> None:
    pid, master, log = terminal
    os.close(master)
    ended: list[int] = []
    wait_until(lambda: bool(ended) or _has_ended(pid, ended))
    assert os.waitstatus_to_exitcode(ended[0]) == 0
    assert "Stopping" in log.read_text()


def _has_ended(pid: int, statuses: list[int]) -> bool:
    found, status = os.waitpid(pid, os.WNOHANG)
    if found:
        statuses.append(status)
    return bool(found)


def get(port: int, path: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
