"""One place for a worker process: it starts one there, and another whenever that one has died."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

SHORTEST_DELAY_S = 0.25
LONGEST_DELAY_S = 5.0
# What a worker takes as the word to leave because another one has come. The supervisor's own signals reach it too,
# from a terminal.
RETIRE = signal.SIGUSR2
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
    metrics_dir: str
    """The folder in which the workers leave their figures for each other; empty where none could be made."""

    def start(self) -> "Worker":
        """Start a fresh interpreter: it shares nothing with this one but three file descriptors."""
        news, teller = os.pipe()
        os.set_blocking(news, False)
        handed = (self.listener, self.lifeline, teller)
        # With -P, a `src` in the working directory does not win over ours.
        command = [sys.executable, "-P", "-m", "src.serve.worker", *map(str, handed), self.app]
        path = os.pathsep.join(filter(None, (self.root, os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path, "METRICS_DIR": self.metrics_dir}
        # Ctrl-C and the end of a terminal reach every process there. Only the supervisor shall act on them, so its
        # children inherit a mask that blocks them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            process = subprocess.Popen(command, env=environment, pass_fds=handed)  # noqa: S603 - no word from outside
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(teller)
        return Worker(process, news)


class Worker(NamedTuple):
    """A worker process."""

    process: subprocess.Popen[bytes]
    news: int
    """The reading end of a pipe into which it writes once it serves."""


class WorkerSlot:
    """Holds one worker at a time. A worker that dies soon is replaced after a growing delay, for ever."""

    def __init__(self, number: int, command: WorkerCommand) -> None:
        self.number = number
        self.command = command
        self._worker: Worker | None = None
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
        return self._worker is not None and self._worker.process.poll() is None

    @property
    def waits_s(self) -> float:
        """Seconds until the next worker is due."""
        return max(0.0, self._starts_at - time.monotonic())

    def tend(self) -> None:
        """Notice a death, and start a worker if one is due."""
        if self.is_alive:
            return
        if self._worker is not None:
            self._bury(self._worker)
        if self.waits_s == 0:
            self._worker = self.command.start()
            self._started_at = time.monotonic()

    def has_served(self) -> bool:
        """Whether the worker has said that it serves; it says so once."""
        if self._worker is not None:
            with contextlib.suppress(BlockingIOError):
                self._has_worked = self._has_worked or bool(os.read(self._worker.news, 1))
        return self._has_worked

    def drain(self) -> None:
        """Ask the worker to finish what it does and to leave, as the whole service does."""
        if self._worker is not None:
            self._worker.process.terminate()

    def retire(self) -> None:
        """Ask the worker to finish what it does and to leave, while others serve on."""
        if self._worker is not None:
            self._worker.process.send_signal(RETIRE)

    def end(self) -> None:
        """End the worker at once, if it has not ended."""
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.wait()
            os.close(self._worker.news)
            self._worker = None

    def _bury(self, worker: Worker) -> None:
        self._worker = None
        process = worker.process
        os.close(worker.news)
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
