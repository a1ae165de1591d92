"""Load on a server: wrk where it is installed, else a small generator of our own."""

import asyncio
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = 16
WRK = shutil.which("wrk")
SCRIPT = """
local paths, bodies, headers = {%s}, {%s}, {%s}
local formed, turn = {}, 0
init = function()
  for i, body in ipairs(bodies) do formed[i] = wrk.format("POST", paths[1], headers, body) end
  if #bodies > 0 then return end
  for i, path in ipairs(paths) do formed[i] = wrk.format("GET", path, headers) end
end
request = function()
  turn = turn %% #formed + 1
  return formed[turn]
end
"""


class Measure(NamedTuple):
    """What a round of load showed."""

    rate: float
    """Requests per second."""
    p50_ms: float
    p99_ms: float


class Requests(NamedTuple):
    """GETs of the paths, or POSTs of the bodies to the first path; one after the other, and again."""

    paths: list[str]
    bodies: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    def messages(self) -> Iterator[bytes]:
        """Each request as it is sent."""
        head = "".join(f"{name}: {value}\r\n" for name, value in (("Host", "x"), *self.headers))
        if not self.bodies:
            for path in self.paths:
                yield f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
        for body in map(str.encode, self.bodies):
            yield f"POST {self.paths[0]} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def measure(port: int, requests: Requests, seconds: int) -> Measure:
    """Load a server for some seconds.

    Raises:
        RuntimeError: an answer was no success.
    """
    return _by_wrk(port, requests, seconds) if WRK else asyncio.run(_by_ourselves(port, requests, seconds))


def fetch(port: int, path: str, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """One answer's body as it was sent.

    Raises:
        RuntimeError: it was no success.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(body.decode())
        return body
    finally:
        connection.close()


def _by_wrk(port: int, requests: Requests, seconds: int) -> Measure:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        script.write_text(_script(requests))
        url = f"http://127.0.0.1:{port}"
        command = [str(WRK), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), url]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(report)
    return Measure(_number(r"Requests/sec:\s+([\d.]+)", report), _ms(r"50%", report), _ms(r"99%", report))


def _script(requests: Requests) -> str:
    headers = ",".join(f"[{_quote(name)}]={_quote(value)}" for name, value in requests.headers)
    return SCRIPT % (_list(requests.paths), _list(requests.bodies), headers)


def _list(texts: Iterable[str]) -> str:
    return ",".join(map(_quote, texts))


def _quote(text: str) -> str:
    """Write a text as Lua does: it knows the escapes of JSON, but not the one for characters past ASCII."""
    return json.dumps(text, ensure_ascii=False)


def _number(pattern: str, report: str) -> float:
    found = re.search(pattern, report)
    if found is None:
        raise RuntimeError(report)
    return float(found.group(1))


def _ms(percentile: str, report: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)", report)
    if found is None:
        raise RuntimeError(report)
    return float(found.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found.group(2)]


async def _by_ourselves(port: int, requests: Requests, seconds: int) -> Measure:
    durations: list[float] = []
    messages = itertools.cycle(list(requests.messages()))
    began = time.perf_counter()
    await asyncio.gather(*(_client(port, messages, began + seconds, durations) for _ in range(CONNECTIONS)))
    elapsed = time.perf_counter() - began
    durations.sort()
    at = [durations[int(len(durations) * share)] * 1000 for share in (0.5, 0.99)]
    return Measure(len(durations) / elapsed, at[0], at[1])


async def _client(port: int, messages: Iterator[bytes], end: float, durations: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (began := time.perf_counter()) < end:
        writer.write(next(messages))
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not answer.startswith((b"http/1.1 200", b"http/1.1 201")):
            raise RuntimeError(answer.decode())
        length = re.search(rb"content-length: (\d+)", answer)
        await reader.readexactly(int(length.group(1)) if length else 0)
        durations.append(time.perf_counter() - began)
    writer.close()
