"""Hold thousands of half-sent requests against the service, and see how others are served meanwhile.

python -m scripts.flood_test                       9,500 of them, half in the head and half in the body
python -m scripts.flood_test --connections 500 --receive-timeout-s 2

Starts the service on SQLite in a folder of its own. Exit code 1 when a bar is missed. Needs a limit of open files
(`ulimit -n`) above twice the number of connections, and psutil.
"""

import argparse
import json
import resource
import select
import socket
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import psutil

from scripts.service_process import ServiceProcess
from src.core.config import load_settings
from src.db.migration import upgrade

HEAD = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
IN_THE_HEAD = HEAD + b"X-Half: "
IN_THE_BODY = HEAD + b'Content-Length: 1000\r\n\r\n{"event_type": '
EVENT = json.dumps({"event_type": "tap", "ts": "2026-01-01T00:00:00Z"})
# What each half-sent request may cost, and how long others may wait.
MAX_BYTES_EACH = 32 * 1024
MAX_P99_S = 0.1
BIG_HEAD_BYTES, MAX_BIG_HEAD_GROWTH = 20_000_000, 10_000_000
# How much later than the deadline a connection may be closed on a machine that is busy with closing the others.
GRACE_S = 3.0


class Measured(NamedTuple):
    """What a flood did."""

    closed: int
    """Half-sent requests that the service ended."""
    first_s: float
    last_s: float
    bytes_each: float
    latencies_s: list[float]
    failures: int
    """Good requests that were not answered well."""
    big_head_growth: int

    def p(self, share: float) -> float:
        """The latency that this share of the good requests stayed within, in seconds."""
        return sorted(self.latencies_s)[min(len(self.latencies_s) - 1, int(share * len(self.latencies_s)))]


def main(arguments: list[str] | None = None) -> int:
    """Run the test and print what was measured; the exit code."""
    options = _parser().parse_args(arguments)
    measured = measure(options.connections, options.receive_timeout_s)
    print(_table(measured, options.connections))
    missed = misses(measured, options.connections, options.receive_timeout_s)
    print("\n".join(missed) or "All bars hold.")
    return 1 if missed else 0


def measure(connections: int, receive_timeout_s: float) -> Measured:
    """Start a service, flood it, and watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'flood.db'}"
        upgrade(load_settings().model_copy(update={"database_url": url}).url)
        environment = {"DATABASE_URL": url, "RECEIVE_TIMEOUT_S": str(receive_timeout_s), "LOG_LEVEL": "WARNING"}
        with ServiceProcess(environment) as service:
            service.start()
            service.wait_until_up()
            try:
                return _flood(service, connections, receive_timeout_s)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _flood(service: ServiceProcess, connections: int, receive_timeout_s: float) -> Measured:
    good = GoodClient(service.port)
    good.warm_up()
    growth = _send_big_head(service)
    before = _memory_of(service)
    good.start()
    attackers = Attackers(service.port, connections)
    held = _memory_of(service) - before
    ended = attackers.wait(receive_timeout_s + GRACE_S)
    good.stop()
    return Measured(
        len(ended),
        min(ended, default=0),
        max(ended, default=0),
        held / connections,
        good.latencies_s,
        good.failures,
        growth,
    )


class Attackers:
    """Many connections that have sent half of a request."""

    def __init__(self, port: int, number: int) -> None:
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, float]] = {}
        for index in range(number):
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            connection.sendall(IN_THE_HEAD if index % 2 else IN_THE_BODY)
            connection.setblocking(False)
            self._poll.register(connection.fileno(), select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)
            self._open[connection.fileno()] = (connection, time.monotonic())

    def wait(self, timeout_s: float) -> list[float]:
        """How long each connection lived that the service ended, in seconds."""
        ended: list[float] = []
        deadline = time.monotonic() + timeout_s
        while self._open and time.monotonic() < deadline:
            for number, _ in self._poll.poll(0.1):
                connection, began = self._open[number]
                if _is_over(connection):
                    ended.append(time.monotonic() - began)
                    self._poll.unregister(number)
                    connection.close()
                    del self._open[number]
        for connection, _ in self._open.values():
            connection.close()
        return ended


def _is_over(connection: socket.socket) -> bool:
    try:
        while True:
            if not connection.recv(65536):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True


class GoodClient(threading.Thread):
    """Reads and writes one row after another, each on the same connection, and measures how long that takes."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.latencies_s: list[float] = []
        self.failures = 0
        self._ends = threading.Event()
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def warm_up(self) -> None:
        """Store the row that is read."""
        self._ask("POST", "/users", json.dumps({"user_id": "ada"}))
        self.latencies_s.clear()

    def run(self) -> None:
        while not self._ends.is_set():
            self._ask("GET", "/users/ada")
            self._ask("POST", "/events", EVENT)
            time.sleep(0.005)

    def stop(self) -> None:
        """End after the request that is under way."""
        self._ends.set()
        self.join()

    def _ask(self, method: str, path: str, body: str | None = None) -> None:
        began = time.perf_counter()
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = self._connection.getresponse()
            answer.read()
            self.failures += answer.status >= 400
        except OSError:
            self.failures += 1
            self._connection.close()
        self.latencies_s.append(time.perf_counter() - began)


def _send_big_head(service: ServiceProcess) -> int:
    """Send a head of 20 MB; by how many bytes the service grew at most."""
    before, most = _memory_of(service), 0
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        try:
            connection.sendall(HEAD)
            for _ in range(BIG_HEAD_BYTES // 100_000):
                connection.sendall(b"X-Big: " + b"x" * 99_991 + b"\r\n")
                most = max(most, _memory_of(service) - before)
        except OSError:
            pass
        else:
            raise SystemExit("a head of 20 MB was taken")
    return most


def _memory_of(service: ServiceProcess) -> int:
    """Resident bytes of the workers."""
    return sum(child.memory_info().rss for child in psutil.Process(service.pid).children())


def misses(measured: Measured, connections: int, receive_timeout_s: float) -> list[str]:
    """Which bars were missed, in sentences."""
    bars = {
        f"only {measured.closed} of {connections} connections were closed": measured.closed == connections,
        f"the last was closed after {measured.last_s:.1f} s": measured.last_s <= receive_timeout_s + GRACE_S,
        f"each cost {measured.bytes_each:,.0f} bytes": measured.bytes_each <= MAX_BYTES_EACH,
        f"the 99th percentile of good requests was {measured.p(0.99):.3f} s": measured.p(0.99) <= MAX_P99_S,
        f"{measured.failures} good requests failed": measured.failures == 0,
        f"a head of 20 MB cost {measured.big_head_growth:,} bytes": measured.big_head_growth <= MAX_BIG_HEAD_GROWTH,
    }
    return [sentence for sentence, holds in bars.items() if not holds]


def _table(measured: Measured, connections: int) -> str:
    return "\n".join(
        [
            f"half-sent requests          {connections}",
            f"closed by the service       {measured.closed}, after {measured.first_s:.1f} to {measured.last_s:.1f} s",
            f"memory for each             {measured.bytes_each / 1024:.1f} KiB",
            f"good requests meanwhile     {len(measured.latencies_s)}, {measured.failures} failed",
            f"their latency               p50 {1000 * measured.p(0.5):.1f} ms, p99 {1000 * measured.p(0.99):.1f} ms",
            f"a head of 20 MB             refused, {measured.big_head_growth / 1e6:.1f} MB of memory",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.flood_test", description="Half-sent requests.")
    parser.add_argument("--connections", type=int, default=9500)
    parser.add_argument("--receive-timeout-s", type=float, default=10.0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
