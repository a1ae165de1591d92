"""Clients of streams: they read server-sent events in the background, as browsers do."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

import httpx

STREAM = "/events/-/stream"


class Event(NamedTuple):
    """A new row as a client is told of it."""

    id: int
    row: dict[str, Any]


class Refused(AssertionError):
    """A stream that was answered by something else."""


class Listening:
    """One stream, read in the background from when the service has answered."""

    def __init__(self, client: httpx.Client, query: str = "", last_id: int | None = None, **headers: str) -> None:
        given = {name: client.headers[name] for name in ("authorization", "x-api-key") if name in client.headers}
        given |= headers | ({} if last_id is None else {"last-event-id": str(last_id)})
        self.events: list[Event] = []
        self.comments = 0
        self.last_id = -1
        """The last id, also of a block without an event."""
        self.has_ended = False
        self.was_cut_off = False
        self.is_reading = threading.Event()
        self.is_reading.set()
        host, port = client.base_url.host, client.base_url.port or 80
        self._socket = socket.create_connection((host, port), timeout=60)
        head = "".join(f"{name}: {value}\r\n" for name, value in ({"host": host} | given).items())
        self._socket.sendall(f"GET {STREAM}{query} HTTP/1.1\r\n{head}\r\n".encode())
        self._file = self._socket.makefile("rb")
        status = self._file.readline().decode()
        self.headers = dict(self._read_head())
        if " 200 " not in status:
            raise Refused(status, self._file.read(int(self.headers["content-length"])))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.wait_for(lambda: self.last_id >= 0 or self.has_ended)

    def __enter__(self) -> "Listening":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Go away."""
        self.is_reading.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._file.close()
        self._socket.close()

    @property
    def keys(self) -> list[str]:
        return [event.row["event_id"] for event in self.events]

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{len(self.events)} events, ended: {self.has_ended}"
            time.sleep(0.01)

    def wait_for_events(self, number: int, timeout_s: float = 30) -> list[Event]:
        """Wait for this many events, and a little for one too many."""
        self.wait_for(lambda: len(self.events) >= number, timeout_s)
        time.sleep(0.15)
        assert len(self.events) == number
        return self.events

    def wait_for_the_end(self, timeout_s: float = 30) -> None:
        self.wait_for(lambda: self.has_ended, timeout_s)

    def _read_head(self) -> Iterator[tuple[str, str]]:
        while line := self._file.readline().decode("latin-1").strip():
            name, _, value = line.partition(": ")
            yield name.lower(), value

    def _read(self) -> None:
        block: list[str] = []
        try:
            for line in _lines(self._chunks()):
                if line:
                    block.append(line)
                    continue
                self._take(block)
                block = []
        except OSError:
            self.was_cut_off = True
        finally:
            self.has_ended = True

    def _chunks(self) -> Iterator[bytes]:
        """Yield what comes, chunk by chunk; a stream that ends without its last one was cut off."""
        while size := int(self._file.readline().strip() or b"-1", 16):
            if size < 0:
                raise ConnectionError("cut off")
            self.is_reading.wait()
            chunk = self._file.read(size)
            self._file.readline()
            yield chunk

    def _take(self, block: list[str]) -> None:
        fields = dict(line.split(": ", 1) for line in block if not line.startswith(":"))
        self.comments += sum(line.startswith(":") for line in block)
        if "data" in fields:
            assert fields["event"] == "insert"
            self.events.append(Event(int(fields["id"]), json.loads(fields["data"])))
        if "id" in fields:
            assert int(fields["id"]) >= self.last_id
            self.last_id = int(fields["id"])


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()
