"""The clients of `kill_test.py`: they write rows and remember what the service has promised to keep."""

import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from typing import Any
from uuid import UUID

Row = dict[str, Any]


class Load:
    """What all clients share: whether they should write now, and whether they should go on at all."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.is_over = threading.Event()
        self.unexpected: list[str] = []


class Client(threading.Thread):
    """Writes rows and remembers, for each address, the rows that may stand there now.

    The first is the one that was acknowledged last; behind it stand those sent later without an answer.
    """

    def __init__(self, number: int, port: int, load: Load, seed: int) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._load = load
        self._random = random.Random(f"{seed}-{number}")  # noqa: S311 - not for secrets
        self._connection = HTTPConnection("127.0.0.1", port, timeout=10)
        self._users: list[str] = []
        self._is_idle = threading.Event()
        self.possible: dict[str, list[Row]] = {}

    def run(self) -> None:
        """Write whenever the load allows."""
        while not self._load.is_over.is_set():
            if self._load.may_write.is_set():
                self._is_idle.clear()
                self._write_one()
            else:
                self._is_idle.set()
                self._load.may_write.wait(0.05)

    def wait_until_idle(self) -> None:
        """Wait until no request of this client is on its way."""
        while not self._is_idle.wait(0.01):
            assert self.is_alive(), "a client has died of a defect of its own"

    def _write_one(self) -> None:
        choice = self._random.random()
        if choice < 0.7:
            self._create("/events", f"{UUID(int=self._random.getrandbits(128), version=4)}", self._event)
        elif choice < 0.8 or not self._users:
            self._create("/users", f"kill-{self._random.getrandbits(64):x}", self._user)
        else:
            self._replace(self._random.choice(self._users))

    def _create(self, collection: str, key: str, make: Callable[[str], Row]) -> None:
        row = make(key)
        if self._send("POST", collection, row, 201):
            self.possible[f"{collection}/{key}"] = [row]
            if collection == "/users":
                self._users.append(key)

    def _replace(self, key: str) -> None:
        row = self._user(key)
        possible = self.possible[f"/users/{key}"]
        possible.append(row)
        if self._send("PUT", f"/users/{key}", row, 200):
            possible[:] = [row]

    def _send(self, method: str, path: str, row: Row, expected: int) -> bool:
        try:
            self._connection.request(method, path, json.dumps(row), {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            time.sleep(0.02)
            return False
        # 503 is what a database that is away answers; nothing was promised then.
        if answer.status not in (expected, 503):
            self._load.unexpected.append(f"{method} {path}: {answer.status} {body[:300]!r}")
        return answer.status == expected

    def _event(self, key: str) -> Row:
        return {
            "event_id": key,
            "user_id": f"user-{self._number}",
            "session_id": f"session-{self._random.randrange(100)}",
            "event_type": "tap",
            "event_data": {"n": self._random.randrange(10**9), "text": "é\u2028" * self._random.randrange(200)},
            "event_source": "kill_test",
            "log_level": "info",
            "ts": datetime.now(UTC).isoformat(),
        }

    def _user(self, key: str) -> Row:
        return {
            "user_id": key,
            "firebase_data": {"email": f"{key}@example.org", "display_name": f"{self._random.getrandbits(64):x}"},
            "body_data": {"height": self._random.randrange(1000, 2200) / 10, "weight": self._random.randrange(30, 200)},
        }


def is_same(stored: Row, sent: Row) -> bool:
    """Whether every column that was sent came back equal; times are equal as instants."""
    if "ts" in sent:
        stored, sent = ({**row, "ts": datetime.fromisoformat(row["ts"])} for row in (stored, sent))
    return all(stored[column] == value for column, value in sent.items())
