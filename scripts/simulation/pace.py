"""How fast all phones together go, how far they are, and when they have to stop."""

import threading
import time

# How long a phone goes on delivering after the end.
LAST_WORDS_S = 120.0


class Pace:
    """What the phones share but for the truth."""

    def __init__(self, events_per_s: float = 0.0, shortest_wait_s: float = 0.05) -> None:
        self.shortest_wait_s = shortest_wait_s
        self.is_over = threading.Event()
        self.acknowledged = 0
        self.retries = 0
        self._gap_s = 1 / events_per_s if events_per_s else 0.0
        self._next = time.monotonic()
        self._late: float | None = None
        self._lock = threading.Lock()

    def end(self) -> None:
        """Let the phones deliver what they hold, and nothing else."""
        self._late = time.monotonic() + LAST_WORDS_S
        self.is_over.set()

    def is_late(self) -> bool:
        """Whether even the last words are over."""
        return self._late is not None and time.monotonic() > self._late

    def wait_for(self, events: int) -> None:
        """Wait until so many events may be sent."""
        if not self._gap_s:
            return
        with self._lock:
            now = time.monotonic()
            wait_s = self._next - now
            self._next = max(now, self._next) + events * self._gap_s
        self.sleep(wait_s)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not past the end: what is left is delivered without waiting."""
        if seconds <= 0:
            return
        if self.is_over.is_set():
            time.sleep(min(seconds, 1.0))
        else:
            self.is_over.wait(seconds)

    def note_acknowledged(self) -> None:
        self.acknowledged += 1

    def note_retry(self) -> None:
        """Count a request that has to be sent again."""
        self.retries += 1
