"""Load on a server: wrk where it is installed, else a small generator of our own."""

import asyncio
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = 16
WRK = shutil.which("wrk")
SCRIPT = """
local paths = {%s}
local body = %s
math.randomseed(1)
request = function()
  if body then return wrk.format("POST", paths[1], {["Content-Type"] = "application/json"}, body) end
  return wrk.format("GET", paths[math.random(#paths)])
end
"""


class Measure(NamedTuple):
    """What a round of load showed."""

    rate: float
    """Requests per second."""
    p50_ms: float
    p99_ms: float


class Requests(NamedTuple):
    """GETs of random paths, or POSTs of one body to the first path."""

    paths: list[str]
    body: str | None = None


def measure(port: int, requests: Requests, seconds: float) -> Measure:
    """Load a server for some seconds.

    Raises:
        RuntimeError: an answer was no success.
    """
    return _by_wrk(port, requests, seconds) if WRK else asyncio.run(_by_ourselves(port, requests, seconds))


def _by_wrk(port: int, requests: Requests, seconds: float) -> Measure:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        body = json.dumps(requests.body) if requests.body else "nil"
        script.write_text(SCRIPT % (",".join(map(json.dumps, requests.paths)), body))
        url = f"http://127.0.0.1:{port}"
        command = [str(WRK), "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--latency", "-s", str(script), url]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(report)
    return Measure(_number(r"Requests/sec:\s+([\d.]+)", report), _ms(r"50%", report), _ms(r"99%", report))


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


async def _by_ourselves(port: int, requests: Requests, seconds: float) -> Measure:
    durations: list[float] = []
    end = time.perf_counter() + seconds
    began = time.perf_counter()
    await asyncio.gather(*(_client(port, requests, end, durations, seed) for seed in range(CONNECTIONS)))
    elapsed = time.perf_counter() - began
    durations.sort()
    at = [durations[int(len(durations) * share)] * 1000 for share in (0.5, 0.99)]
    return Measure(len(durations) / elapsed, at[0], at[1])


async def _client(port: int, requests: Requests, end: float, durations: list[float], seed: int) -> None:
    chance = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (began := time.perf_counter()) < end:
        if requests.body:
            head = f"POST {requests.paths[0]} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
            writer.write(f"{head}{len(requests.body)}\r\n\r\n{requests.body}".encode())
        else:
            writer.write(f"GET {chance.choice(requests.paths)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not answer.startswith((b"http/1.1 200", b"http/1.1 201")):
            raise RuntimeError(answer.decode())
        length = re.search(rb"content-length: (\d+)", answer)
        await reader.readexactly(int(length.group(1)) if length else 0)
        durations.append(time.perf_counter() - began)
    writer.close()
