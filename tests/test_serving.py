"""The server process: its port, its workers, and how it ends. On a small application that can be slow at will."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from scripts.service_process import ServiceProcess

SERVE = """
import sys
from src.core.config import load_settings
from src.core.logging import configure_logging
from src.serve.supervisor import serve

settings = load_settings()
configure_logging(settings)
sys.exit(serve(settings, "tests.serving_app:app"))
"""


class Serving(ServiceProcess):
    """The small application behind the real supervisor, with what both have said."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.log = folder / "log"
        self.trace = folder / "trace"
        defaults = {"WEB_CONCURRENCY": "1", "DRAIN_S": "30", "SERVING_TRACE": str(self.trace)}
        super().__init__(defaults | environment, (sys.executable, "-c", SERVE), self.log)

    def get(self, path: str) -> tuple[int, str]:
        """One request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def open_stream(self) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/stream")
        return connection

    def is_port_open(self) -> bool:
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return False
        return True

    def wait_until_port_closes(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.is_port_open():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def start_with(folder: Path, **environment: str) -> Serving:
    serving = Serving(folder, **environment)
    serving.start()
    serving.wait_until_up("/ok")
    return serving


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish_after_readiness_has_turned(
    tmp_path: Path, pool: ThreadPoolExecutor, number: signal.Signals
) -> None:
    with start_with(tmp_path, DRAIN_NOTICE_S="0.7") as serving:
        assert serving.get("/ready")[0] == 200
        idle = serving.connect()
        idle.sendall(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(1000).endswith(b"ok")
        slow = pool.submit(serving.get, "/slow")
        time.sleep(0.3)
        # Ctrl-C reaches the whole group, the end of a container only the supervisor.
        (os.killpg if number == signal.SIGINT else os.kill)(serving.pid, number)
        time.sleep(0.3)
        assert serving.get("/ready")[0] == 503
        assert serving.wait_until_port_closes(5)
        assert slow.result() == (200, "done")
        assert serving.exit_code(10) == 0
        assert idle.recv(1000) == b""
        assert serving.trace.read_text().split() == ["lifespan.startup", "lifespan.shutdown"]


def test_the_end_loses_no_request_of_a_busy_service(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with start_with(tmp_path, WEB_CONCURRENCY="2") as serving:
        ends = [pool.submit(last_word, serving) for _ in range(16)]
        time.sleep(0.5)
        serving.signal(signal.SIGTERM)
        # A connection that no worker has taken yet may be reset: its request was never read.
        assert {end.result() for end in ends} <= {ConnectionRefusedError, ConnectionResetError}
        assert serving.exit_code(10) == 0


def test_a_stream_is_cut_off_visibly_after_the_drain(tmp_path: Path) -> None:
    with start_with(tmp_path, DRAIN_S="1", SERVING_CLOSE_S="0.5") as serving:
        stream = serving.open_stream().getresponse()
        assert stream.read(9) == b"data: 1\n\n"
        serving.signal(signal.SIGTERM)
        began = time.monotonic()
        with pytest.raises((HTTPException, OSError)):
            stream.read()
        assert serving.exit_code(10) == 0
        assert 0.9 < time.monotonic() - began < 5
        assert serving.trace.read_text().splitlines() == ["lifespan.startup", "stream ended", "lifespan.shutdown"]
        assert "Traceback" not in serving.log.read_text()


def test_a_thread_that_still_works_does_not_hold_the_process(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with start_with(tmp_path, DRAIN_S="0.5") as serving:
        answer = pool.submit(serving.get, "/thread")
        time.sleep(0.3)
        serving.signal(signal.SIGTERM)
        assert serving.exit_code(4) == 0
        assert isinstance(answer.exception(5), (OSError, HTTPException)) or answer.result()[0] == 500


def test_an_application_that_does_not_close_is_left_behind(tmp_path: Path) -> None:
    with start_with(tmp_path, SERVING_CLOSE_S="60") as serving:
        serving.signal(signal.SIGTERM)
        assert serving.exit_code(12) == 0
        assert "did not close within" in serving.log.read_text()


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with start_with(tmp_path) as serving:
        stream = serving.open_stream()
        stream.getresponse().read(9)
        serving.signal(signal.SIGTERM)
        assert serving.wait_until_port_closes(5)
        assert serving.exit_code(0.5) is None
        serving.signal(signal.SIGTERM)
        assert serving.exit_code(3) == 0


def test_a_dead_worker_is_replaced_and_no_connection_is_refused(tmp_path: Path) -> None:
    with start_with(tmp_path) as serving:
        _, first = serving.get("/pid")
        os.kill(int(first), signal.SIGKILL)
        status, second = serving.get("/pid")
        assert status == 200
        assert second != first
        assert "ended with signal 9" in serving.log.read_text()


def test_the_other_worker_answers_while_a_dead_one_is_replaced(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with start_with(tmp_path, WEB_CONCURRENCY="2") as serving:
        deadline = time.monotonic() + 30
        pids: set[str] = set()
        while len(pids) < 2:
            assert time.monotonic() < deadline, "only one worker ever answered"
            pids |= {pid for _, pid in pool.map(serving.get, ["/pid"] * 16)}
        victim = pids.pop()
        os.kill(int(victim), signal.SIGKILL)
        began = time.monotonic()
        assert {pid for _, pid in pool.map(serving.get, ["/pid"] * 16)} <= pids
        assert time.monotonic() - began < 1


def test_workers_follow_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with start_with(tmp_path, WEB_CONCURRENCY="2") as serving:
        serving.signal(signal.SIGKILL)
        assert serving.wait_until_port_closes(1.5)


def test_a_restart_right_after_a_kill_gets_the_port(tmp_path: Path) -> None:
    with start_with(tmp_path) as serving:
        serving.signal(signal.SIGKILL)
        serving.start()
        serving.wait_until_up("/ok")


def test_an_application_that_cannot_start_stops_the_service(tmp_path: Path) -> None:
    with Serving(tmp_path, SERVING_FAILS="1") as serving:
        serving.start()
        assert serving.exit_code(30) == os.EX_CONFIG
        assert "no such place" in serving.log.read_text()


def test_a_taken_port_is_named_in_one_sentence(tmp_path: Path) -> None:
    with Serving(tmp_path) as serving, socket.create_server(("127.0.0.1", serving.port)):
        serving.start()
        assert serving.exit_code(30) == 1
        assert f"Port {serving.port} on 127.0.0.1 is taken" in serving.log.read_text()
        assert "Traceback" not in serving.log.read_text()


def test_an_address_of_ipv6_is_served(tmp_path: Path) -> None:
    with Serving(tmp_path, HOST="::1") as serving:
        serving.start()
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("::1", serving.port), timeout=5).close()
                break
            except OSError:
                assert serving.exit_code() is None, serving.log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert f"http://[::1]:{serving.port}/docs" in serving.log.read_text()


def test_heads_that_never_end_are_refused(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with start_with(tmp_path) as serving:
        silent, half = serving.connect(), serving.connect()
        half.sendall(b"GET /ok HTTP/1.1\r\nHost:")
        began = time.monotonic()
        large = pool.submit(send_large_head, serving.connect())
        assert large.result().startswith((b"HTTP/1.1 431", b"refused"))
        assert silent.recv(1000) == b""
        assert half.recv(1000) in (b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        # Four tenths of RECEIVE_TIMEOUT_S are for the head.
        assert 3 < time.monotonic() - began < 10


def test_hundreds_of_idle_connections_leave_room_for_requests(tmp_path: Path) -> None:
    with start_with(tmp_path) as serving:
        connections = [serving.connect() for _ in range(400)]
        assert serving.get("/ok") == (200, "ok")
        for connection in connections:
            connection.close()


def last_word(serving: Serving) -> type[Exception] | int:
    """Send requests until one fails; how it failed."""
    while True:
        try:
            status, _ = serving.get("/ok")
        except Exception as error:
            return type(error)
        if status != 200:
            return status


def send_large_head(connection: socket.socket) -> bytes:
    """Send 20 MB of head; the answer, or `refused` when the connection was ended before it was read."""
    try:
        connection.sendall(b"GET /ok HTTP/1.1\r\nHost: x\r\n")
        for number in range(2_500):
            connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 8_000))
        connection.sendall(b"\r\n")
        return connection.recv(1000) or b"refused"
    except OSError:
        return b"refused"
