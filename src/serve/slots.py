"""One place for a worker process: it starts one there, and another whenever that one has died."""

import logging
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

SHORTEST_DELAY_S = 0.25
LONGEST_DELAY_S = 5.0
# A worker that lived so long was sound: its death is an accident, and the next one starts at once.
SOUND_AFTER_S = 10.0

log = logging.getLogger("serve")


class WorkerCommand(NamedTuple):
    """What a worker process is started with."""

    listener: int
    """The file descriptor of the listening socket."""
    lifeline: int
    """The reading end of a pipe that reads as closed once the supervisor is gone."""
    app: str
    """The ASGI application, as `module:attribute`."""
    root: str
    """The folder from which `src` can be imported; the working directory may be another."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start a fresh interpreter: it shares nothing with this one but the two file descriptors."""
        # With -P, a `src` in the working directory does not win over ours.
        command = [sys.executable, "-P", "-m", "src.serve.worker", str(self.listener), str(self.lifeline), self.app]
        path = os.pathsep.join(filter(None, (self.root, os.environ.get("PYTHONPATH"))))
        # Ctrl-C reaches every process of the terminal. Only the supervisor shall act on it, so its children
        # inherit a mask that blocks it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return subprocess.Popen(  # noqa: S603 - no word of the command comes from outside
                command, env=os.environ | {"PYTHONPATH": path}, pass_fds=(self.listener, self.lifeline)
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class WorkerSlot:
    """Holds one worker at a time. A worker that dies soon is replaced after a growing delay, for ever."""

    def __init__(self, number: int, command: WorkerCommand) -> None:
        self.number = number
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._starts_at = 0.0
        self._delay_s = 0.0
        self._has_failed = False
        self._has_worked = False

    @property
    def is_hopeless(self) -> bool:
        """Whether every worker so far ended because of the configuration; the next would do the same."""
        return self._has_failed and not self._has_worked and not self.is_alive

    @property
    def is_alive(self) -> bool:
        """Whether a worker runs here now."""
        return self._process is not None and self._process.poll() is None

    @property
    def waits_s(self) -> float:
        """Seconds until the next worker is due."""
        return max(0.0, self._starts_at - time.monotonic())

    def tend(self) -> None:
        """Notice a death, and start a worker if one is due."""
        if self.is_alive:
            return
        if self._process is not None:
            self._bury(self._process)
        if self.waits_s == 0:
            self._process = self._command.start()
            self._started_at = time.monotonic()

    def drain(self) -> None:
        """Ask the worker to finish what it does and to leave."""
        if self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        """End the worker at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        lived_s = time.monotonic() - self._started_at
        if process.returncode == os.EX_CONFIG:
            self._has_failed = True
        else:
            self._has_worked = True
        self._delay_s = (
            0.0 if lived_s > SOUND_AFTER_S else min(LONGEST_DELAY_S, max(SHORTEST_DELAY_S, 2 * self._delay_s))
        )
        self._starts_at = time.monotonic() + self._delay_s
        cause = f"code {process.returncode}" if process.returncode >= 0 else f"signal {-process.returncode}"
        log.warning("Worker %d (pid %d) ended with %s", self.number, process.pid, cause)
