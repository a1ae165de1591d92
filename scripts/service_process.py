"""The service as a process group of its own, for whoever wants to kill it: `prove.py` and the tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
MAIN = (sys.executable, str(ROOT / "main.py"))


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServiceProcess:
    """One service on a free port of the loopback. `with` starts nothing, but leaves no process behind."""

    def __init__(
        self, environment: Mapping[str, str], command: tuple[str, ...] = MAIN, log: Path | None = None
    ) -> None:
        self.port = free_port()
        self.environment = dict(environment)
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.kill_group()

    @property
    def pid(self) -> int:
        """The supervisor's process id, which is also the id of the process group."""
        assert self._process is not None, "the service was not started"
        return self._process.pid

    def start(self) -> None:
        """Start the service; it may need a moment until it answers."""
        environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(self.port), "PYTHONPATH": str(ROOT)}
        with Path(self._log or os.devnull).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                self._command, env=environment | self.environment, stderr=log, stdout=log, start_new_session=True
            )

    def wait_until_up(self, path: str = "/health/live", timeout_s: float = 60.0) -> None:
        """Wait for the first answer.

        Raises:
            TimeoutError: none came, or the service ended instead.
        """
        deadline = time.monotonic() + timeout_s
        while not self._answers(path):
            if time.monotonic() > deadline or self.exit_code() is not None:
                raise TimeoutError(f"the service did not come up (exit code {self.exit_code()})")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        os.kill(self.pid, number)

    def kill_group(self) -> None:
        """End supervisor and workers at once, as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def exit_code(self, timeout_s: float = 0.0) -> int | None:
        """The supervisor's exit code, or None when it still runs after the timeout."""
        assert self._process is not None, "the service was not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def _answers(self, path: str) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status > 0
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
