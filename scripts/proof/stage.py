"""A database, the service on it with two workers, and phones that deliver to it without end."""

import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from types import TracebackType

from scripts.proof.proxy import CuttingProxy
from scripts.proof.target import Target
from scripts.service_process import ServiceProcess
from scripts.simulation.load import Load, Service
from scripts.simulation.pace import Pace
from scripts.simulation.study import Study
from scripts.simulation.truth import Truth
from scripts.simulation.verify import Findings, verify

RECOVERY_TIMEOUT_S = 120.0


class Stage:
    """Where a trial happens. `with` starts the service and the phones, and leaves no process behind."""

    def __init__(self, target: Target, study: Study, pace: Pace, folder: Path, *, is_cut: bool) -> None:
        self.target = target
        self.chance = Random(f"trial-{study.seed}")  # noqa: S311 - not for secrets
        self.pace = pace
        environment = {"DATABASE_URL": target.url, "LOG_LEVEL": "WARNING", "WEB_CONCURRENCY": "2"}
        self.service = ServiceProcess(environment, log=folder / "service.log")
        self.proxy = CuttingProxy(self.service.port, study.seed) if is_cut else None
        self._study = study
        self._path = folder / "truth.jsonl"
        self._truth = Truth(self._path, study.describe())
        self._load: Load | None = None

    def __enter__(self) -> "Stage":
        self.service.start()
        self.service.wait_until_up("/health/ready")
        port = self.proxy.start() if self.proxy else self.service.port
        phones = Service(f"http://127.0.0.1:{port}")
        self._load = Load(self._study, phones, self._truth, self.pace, self._study.participants)
        self._load.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.pace.end()
        self.service.kill_group()
        if self.proxy:
            self.proxy.close()
        self._truth.close()

    def finish(self, clock_tolerance_ms: int) -> Findings:
        """Let the phones deliver what they hold, and compare the service with what it has acknowledged."""
        assert self._load is not None, "the phones have not been started"
        self.pace.end()
        self._load.wait()
        self._truth.close()
        return verify(Service(f"http://127.0.0.1:{self.service.port}").connect(), self._path, clock_tolerance_ms)

    def pause(self, longest_s: float) -> None:
        """Let the phones deliver for a random time."""
        time.sleep(self.chance.uniform(0.02, longest_s))

    def wait_until_ready(self) -> None:
        """Wait until the service can serve; nobody restarts it here.

        Raises:
            TimeoutError: it does not.
        """
        self._wait(self._is_ready, "the service did not become ready")

    def wait_until_acknowledged(self) -> None:
        """Wait until the service confirms events again.

        Raises:
            TimeoutError: it does not.
        """
        before = self.pace.acknowledged
        self._wait(lambda: self.pace.acknowledged > before, "no event was acknowledged any more")

    def _wait(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        while not holds():
            if self._load is not None:
                self._load.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{otherwise} for {RECOVERY_TIMEOUT_S:.0f} s")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.service.port, timeout=10)
        with suppress(OSError, HTTPException):
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        return False
