"""A connection to the service as phones have it: kept alive, easily broken, and patient."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlsplit

NDJSON = "application/x-ndjson"
TIMEOUT_S = 30.0
LONGEST_WAIT_S = 5.0
# What is worth trying again: nothing was promised. Too many requests, a database that is away, a gateway alone.
TRY_AGAIN = {408, 429, 502, 503, 504}


class NoAnswer(Exception):
    """The connection broke; whether the service did what it was asked is unknown."""


class Answer(NamedTuple):
    """A status, the body as JSON (None without one), the row's tag, and how long to wait if the service says so."""

    status: int
    content: Any
    etag: str | None
    retry_after_s: float


class Wire:
    """One connection to the service."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        parts = urlsplit(base_url)
        type_ = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = type_(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_S)
        self._root = parts.path.rstrip("/")
        self._headers = {"X-API-Key": api_key} if api_key else {}

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask once.

        Raises:
            NoAnswer: none came, or only a part of it.
        """
        try:
            self._connection.request(method, self._root + path, body, self._headers | dict(headers or {}))
            response = self._connection.getresponse()
            # http.client takes the end of a broken head for the end of the head.
            if response.length is None and not response.chunked:
                raise HTTPException("the answer's head ends too early")
            content = response.read()
            parsed = json.loads(content) if content else None
        except (OSError, HTTPException, ValueError) as error:
            self._connection.close()
            raise NoAnswer(str(error)) from error
        head = response.headers
        return Answer(response.status, parsed, head.get("ETag"), float(head.get("Retry-After", 0)))

    def abandon(self, method: str, path: str, body: bytes, headers: Mapping[str, str], share: float) -> None:
        """Send this share of the body and end the connection, as an app does that is killed."""
        try:
            self._connection.putrequest(method, self._root + path)
            for name, value in {**self._headers, **headers, "Content-Length": str(len(body))}.items():
                self._connection.putheader(name, value)
            self._connection.endheaders(body[: int(share * len(body))])
        except (OSError, HTTPException):
            pass
        finally:
            self._connection.close()

    def lines(self, path: str) -> Iterator[Any]:
        """Ask for lines of JSON.

        Raises:
            NoAnswer: the service refuses, or the lines end before their end.
        """
        try:
            self._connection.request("GET", self._root + path, headers=self._headers | {"Accept": NDJSON})
            response = self._connection.getresponse()
            if response.status != 200:
                raise NoAnswer(f"GET {path}: {response.status} {response.read(500)!r}")
            rest = b""
            # Not by readline, which takes a broken chunk for a clean end.
            while block := response.read(1 << 20):
                *whole, rest = (rest + block).split(b"\n")
                yield from map(json.loads, whole)
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise NoAnswer(f"GET {path}: {error!r}") from error

    def close(self) -> None:
        self._connection.close()


class Patience:
    """Waits longer after each failure in a row, by chance up to the limit, and as long as the service asks for."""

    def __init__(self, chance: Random, shortest_s: float, sleep: Callable[[float], object] = time.sleep) -> None:
        self._chance = chance
        self._shortest_s = shortest_s
        self._sleep = sleep
        self._failures = 0

    def wait(self, at_least_s: float = 0.0) -> None:
        self._failures += 1
        limit_s = min(LONGEST_WAIT_S, self._shortest_s * 2**self._failures)
        self._sleep(max(at_least_s, self._chance.uniform(0, limit_s)))

    def rest(self) -> None:
        """Something has worked."""
        self._failures = 0
