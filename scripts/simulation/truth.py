"""What the service has promised, written down while it does: the truth that it is compared with later.

One line of JSON each:
    {"simulation": {...}}                                            the arguments that made it
    {"acknowledged": "/events", "key": ..., "row": ..., "sent_at": [...]}    the row has to be there, exactly so
    {"maybe": "/sessions", "key": ..., "row": ...}                   sent later without an answer: it may be there
    {"device": ..., "user_id": ..., "lost": [...]}                   numbers that the phone lost before sending them
    {"clock": "<session>", "least_ms": ..., "most_ms": ...}          between which the clock's offset lies
    {"unexpected": "..."}                                            an answer that no phone should get
"""

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from scripts.simulation.life import Row


class Truth:
    """The file, written by all phones. What stands in it already stays: the same seed says the same again."""

    def __init__(self, path: Path, arguments: Row) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self.unexpected: list[str] = []
        self._write({"simulation": arguments})

    def __enter__(self) -> "Truth":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def note_acknowledged(self, path: str, key: str, row: Row, sent_at: Iterable[str] = ()) -> None:
        """A row whose storing the service has confirmed; `sent_at`: what the phone said at each try."""
        line = {"acknowledged": path, "key": key, "row": row}
        self._write(line | {"sent_at": list(sent_at)} if sent_at else line)

    def note_maybe(self, path: str, key: str, row: Row, sent_at: Iterable[str] = ()) -> None:
        """A row that was sent, and nobody knows what became of it."""
        self._write({"maybe": path, "key": key, "row": row, "sent_at": list(sent_at)})

    def note_device(self, device_id: str, user_id: str, lost: list[int]) -> None:
        """A phone at the end of its days."""
        self._write({"device": device_id, "user_id": user_id, "lost": lost})

    def note_clock(self, session_id: str, least_ms: int, most_ms: int) -> None:
        """Between which values (received - sent) of a session was smallest."""
        self._write({"clock": session_id, "least_ms": least_ms, "most_ms": most_ms})

    def note_unexpected(self, sentence: str) -> None:
        """The service did what it must not."""
        self.unexpected.append(sentence)
        self._write({"unexpected": sentence})

    def _write(self, line: Row) -> None:
        text = json.dumps(line, ensure_ascii=False) + "\n"
        with self._lock:
            self._file.write(text)
