"""The parent process: it owns the port and keeps the workers alive, and never loads the application.

    supervisor ── listening socket ──▶ worker 1, worker 2, ...      they accept; the supervisor never does
               ── SIGTERM ───────────▶ each worker drains and exits
               ── SIGUSR2 ───────────▶ one worker leaves, because a new one has come
               ◀─ news (a pipe each) ─ a worker serves
               ── lifeline (a pipe) ─▶ reads as closed once the supervisor is gone, however it went

SIGTERM or SIGINT drains: the workers announce it for DRAIN_NOTICE_S seconds, the port closes, and requests and
streams get DRAIN_S seconds to end. A second signal ends everything at once. SIGHUP replaces the workers one after the
other (`rolling.py`).
"""

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from src.core.config import Settings
from src.serve.listener import CannotListen, open_listener, raise_file_limit
from src.serve.rolling import STEP_S, RollingRestart
from src.serve.slots import WorkerCommand, WorkerSlot

APP = "src.main:app"
STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
# How long a worker may take after its drain for closing the database and for leaving; then it is killed.
LAST_WORDS_S = 8.0

log = logging.getLogger("serve")


def serve(settings: Settings, app: str = APP) -> int:
    """Serve until a signal asks for the end.

    Returns:
        The exit code: 0 after a drain, 1 when the address cannot be served, and `os.EX_CONFIG` when no worker
        could start because of the configuration.
    """
    try:
        listener = open_listener(settings.host, settings.port)
    except CannotListen as error:
        log.error("%s", error)
        return 1
    raise_file_limit()
    _greet(settings)
    with _metrics_folder(settings) as folder:
        return Supervisor(listener, app, settings, folder).run()


def _greet(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port}"
    workers = f"{settings.workers} worker{'s' if settings.workers > 1 else ''}"
    log.info("Serving %s with %s on %s; documentation at %s/docs", settings.safe_url, workers, address, address)


@contextlib.contextmanager
def _metrics_folder(settings: Settings) -> Iterator[str]:
    """Make the folder that the workers share, where the settings name none; empty where that cannot be."""
    if settings.metrics_dir:
        yield settings.metrics_dir
        return
    try:
        folder = tempfile.mkdtemp(prefix="backendapi-metrics-")
    except OSError as error:
        log.warning("No folder for /metrics, which tells of one worker only; set METRICS_DIR: %s", error)
        yield ""
        return
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


class Signals:
    """Signals as something to wait for: their handlers do nothing but wake the waiter."""

    def __init__(self, *numbers: int) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno())
        for number in numbers:
            signal.signal(number, lambda *_: None)

    def wait(self, timeout_s: float | None) -> bytes:
        """The numbers of the signals that came, as bytes; empty after the timeout."""
        ready, _, _ = select.select([self._reader], [], [], timeout_s)
        return self._reader.recv(4096) if ready else b""


class Supervisor:
    """Workers on one listening socket, replaced whenever one dies."""

    def __init__(self, listener: socket.socket, app: str, settings: Settings, metrics_dir: str) -> None:
        self.listener = listener
        self.patience_s = settings.drain_notice_s + settings.drain_s + LAST_WORDS_S
        # Only this process holds the writing end, so the kernel closes it when the process ends in any way.
        lifeline, self._held = os.pipe()
        root = Path(__file__).resolve().parents[2]
        command = WorkerCommand(listener.fileno(), lifeline, app, str(root), metrics_dir)
        self.slots = [WorkerSlot(number, command) for number in range(1, settings.workers + 1)]
        self.rolling = RollingRestart(self.slots, self.patience_s)
        # Closing a terminal sends SIGHUP as well, and means the end. Under nohup it shall mean nothing.
        self.ends_with_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
        self.signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def run(self) -> int:
        """Keep the workers alive until a signal comes, then drain; the exit code."""
        while True:
            for slot in self.slots:
                slot.tend()
            self.rolling.step()
            if all(slot.is_hopeless for slot in self.slots):
                log.error("No worker could start; what is wrong stands above")
                return os.EX_CONFIG
            if self._is_told_to_stop(self._next_look_s()):
                break
        self._drain()
        return 0

    def _next_look_s(self) -> float | None:
        """Seconds until there is something to do; None where a signal will tell."""
        waits_s = [slot.waits_s for slot in self.slots if not slot.is_alive]
        return min([*waits_s, STEP_S] if self.rolling.is_under_way else waits_s, default=None)

    def _is_told_to_stop(self, timeout_s: float | None) -> bool:
        received = set(self.signals.wait(timeout_s))
        if signal.SIGHUP not in received:
            return not received.isdisjoint(STOPS)
        if self.ends_with_terminal and not has_terminal():
            return True
        self.rolling.begin()
        return not received.isdisjoint(STOPS)

    @property
    def _all_slots(self) -> list[WorkerSlot]:
        return self.slots + self.rolling.others

    def _drain(self) -> None:
        log.info("Stopping: requests in flight may finish; a second signal ends them")
        # The port stays open until the last worker lets go of the socket as well.
        self.listener.close()
        for slot in self._all_slots:
            slot.drain()
        if not self._outlives_workers():
            log.warning("Workers are ended before they were done")
            for slot in self._all_slots:
                slot.end()
        log.info("Stopped")

    def _outlives_workers(self) -> bool:
        """Wait for the workers' end; False when time is up or another signal came first."""
        deadline = time.monotonic() + self.patience_s
        while any(slot.is_alive for slot in self._all_slots):
            remaining_s = deadline - time.monotonic()
            # Shells send a second SIGHUP when a terminal closes: here it says nothing new.
            if remaining_s <= 0 or not STOPS.isdisjoint(self.signals.wait(remaining_s)):
                return False
        return True


if __name__ == "__main__":
    sys.exit("Start the service with: python main.py")
