"""What the times of a session's requests say about the clock of its phone."""


class Clock:
    """Between which values the smallest (received - sent) of a session lies.

    An event is received after it was sent at the first try and before its storing is confirmed.
    """

    def __init__(self) -> None:
        self.least_ms: int | None = None
        self.most_ms: int | None = None
        self._sent: dict[str, int] = {}

    def note_sent(self, event_id: str, sent_ms: int, now_ms: int) -> None:
        self.least_ms = smaller(self.least_ms, now_ms - sent_ms)
        self._sent[event_id] = smaller(self._sent.get(event_id), sent_ms)

    def note_stored(self, event_id: str, now_ms: int) -> None:
        self.most_ms = smaller(self.most_ms, now_ms - self._sent.pop(event_id))


def smaller(known: int | None, new: int) -> int:
    """The smaller of two numbers, of which the first may be missing."""
    return new if known is None else min(known, new)
