"""All phones of a study at once, and how far they are."""

import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import NamedTuple

from scripts.simulation.life import Life
from scripts.simulation.pace import Pace
from scripts.simulation.phone import Phone
from scripts.simulation.study import Study
from scripts.simulation.truth import Truth
from scripts.simulation.wire import Wire

TICK_S = 0.5
TICKS_PER_LINE = 20


class Service(NamedTuple):
    """Where the phones deliver."""

    base_url: str
    api_key: str | None = None

    def connect(self) -> Wire:
        return Wire(self.base_url, self.api_key)


class Load:
    """Threads, each of which lives the lives of phones, one after the other."""

    def __init__(self, study: Study, service: Service, truth: Truth, pace: Pace, clients: int) -> None:
        self._study, self._service, self._truth, self._pace = study, service, truth, pace
        self._waiting: SimpleQueue[int] = SimpleQueue()
        for number in range(study.participants):
            self._waiting.put(number)
        self._done = 0
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(clients)]

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Wait until all phones have lived, and show how far they are."""
        tick = 0
        while any(thread.is_alive() for thread in self._threads):
            next((thread for thread in self._threads if thread.is_alive()), self._threads[0]).join(TICK_S)
            self._show(tick)
            tick += 1
        print(("\r\033[K" if sys.stderr.isatty() else "") + self.progress(), file=sys.stderr)
        self.check()

    def check(self) -> None:
        """Raise what a phone stumbled over, which is a defect of the simulator."""
        for failure in self._failures:
            raise failure

    def progress(self) -> str:
        """How far the phones are, in one line."""
        seconds = time.monotonic() - self._began
        pace = self._pace
        return (
            f"{self._done} of {self._study.participants} phones are done, {pace.acknowledged:,} events acknowledged, "
            f"{pace.acknowledged / max(seconds, 0.001):,.0f} a second, {pace.retries:,} requests sent again"
        )

    def _show(self, tick: int) -> None:
        if sys.stderr.isatty():
            print("\r\033[K" + self.progress(), end="", file=sys.stderr, flush=True)
        elif tick % TICKS_PER_LINE == TICKS_PER_LINE - 1:
            print(self.progress(), file=sys.stderr, flush=True)

    def _work(self) -> None:
        wire = self._service.connect()
        try:
            while True:
                number = self._waiting.get_nowait()
                life = Life(self._study, number)
                Phone(life, self._study, wire, self._truth, self._pace).live(self._study.days)
                self._done += 1
        except Empty:
            pass
        except BaseException as error:
            self._failures.append(error)
        finally:
            wire.close()
