"""Measure streams: how late new rows arrive, and what a thousand idle listeners cost.

python -m scripts.stream_test                                   on SQLite, in a folder of its own
python -m scripts.stream_test --database-url postgresql://...   on a migrated PostgreSQL database that may be filled

A generator stores `--rate` events a second over `--seconds` seconds through two workers, while listeners at both read
along; then one worker holds `--listeners` idle streams. Exit code 1 when a bar is missed. Needs psutil.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from scripts.service_process import ServiceProcess
from src.core.config import load_settings
from src.core.values import new_uuid
from src.db.migration import upgrade
from src.serve.listener import raise_file_limit

STREAM = "GET /events/-/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
WATCHERS = 8
WRITERS = 16
MAX_P99_S = 0.2
MAX_BYTES = 150_000_000
IDLE_LOOK_S = 5.0
SETTLE_S = 3.0


class Lateness(NamedTuple):
    """How late rows arrived."""

    stored: int
    seconds: float
    late_s: list[float]
    """Per listener and row, from the answer to whoever stored it until it was read; sorted."""
    lost: int
    doubled: int

    def at(self, share: float) -> float:
        """What this share of the rows stayed within, in seconds."""
        return self.late_s[min(len(self.late_s) - 1, int(share * len(self.late_s)))]


class Idleness(NamedTuple):
    """What idle listeners cost the worker that holds them."""

    listeners: int
    bytes_before: int
    bytes_with: int
    cpu_share: float
    """Of one core."""


def main(arguments: list[str] | None = None) -> int:
    """Run both measurements and print them; the exit code."""
    options = _parser().parse_args(arguments)
    raise_file_limit()
    with _database(options.database_url) as url:
        lateness = asyncio.run(_measure_lateness(url, options.rate, options.seconds))
        idleness = asyncio.run(_measure_idleness(url, options.listeners))
    print(
        f"{lateness.stored} events in {lateness.seconds:.1f} s ({lateness.stored / lateness.seconds:.0f} a second), "
        f"2 workers, {WATCHERS} listeners: {len(lateness.late_s)} arrivals, lost {lateness.lost}, "
        f"double {lateness.doubled}\n"
        f"from the commit's answer to the listener: p50 {lateness.at(0.5) * 1000:.0f} ms, "
        f"p99 {lateness.at(0.99) * 1000:.0f} ms, most {lateness.late_s[-1] * 1000:.0f} ms\n"
        f"{idleness.listeners} idle listeners on one worker: {idleness.bytes_with / 1e6:.0f} MB of RSS "
        f"({idleness.bytes_before / 1e6:.0f} MB without them), {idleness.cpu_share:.1%} of a core"
    )
    missed = list(_misses(lateness, idleness))
    print("\n".join(missed) or "All bars hold.")
    return 1 if missed else 0


def _misses(lateness: Lateness, idleness: Idleness) -> Iterator[str]:
    if lateness.lost or lateness.doubled:
        yield f"missed: {lateness.lost} rows lost, {lateness.doubled} double"
    if lateness.at(0.99) > MAX_P99_S:
        yield f"missed: p99 is {lateness.at(0.99):.3f} s, not {MAX_P99_S}"
    if idleness.bytes_with > MAX_BYTES:
        yield f"missed: {idleness.bytes_with} bytes, not {MAX_BYTES}"


@contextlib.contextmanager
def _database(url: str | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        url = url or f"sqlite:///{Path(folder) / 'stream.db'}"
        upgrade(load_settings().model_copy(update={"database_url": url}).url)
        yield url


@contextlib.contextmanager
def _service(url: str, workers: int) -> Iterator[ServiceProcess]:
    environment = {"DATABASE_URL": url, "WEB_CONCURRENCY": str(workers), "LOG_LEVEL": "WARNING"}
    with ServiceProcess(environment | {"MAX_STREAMS": "5000"}) as service:
        service.start()
        service.wait_until_up("/health/ready")
        yield service


async def _measure_lateness(url: str, rate: int, seconds: float) -> Lateness:
    with _service(url, workers=2) as service:
        arrivals: list[dict[str, float]] = [{} for _ in range(WATCHERS)]
        doubled = [0]
        tasks = [asyncio.create_task(_watch(service.port, seen, doubled)) for seen in arrivals]
        await asyncio.sleep(1)
        began = time.monotonic()
        stored = await _store(service.port, rate, seconds)
        took_s = time.monotonic() - began
        await asyncio.sleep(SETTLE_S)
        for task in tasks:
            task.cancel()
        late_s = sorted(max(0.0, seen[key] - at) for seen in arrivals for key, at in stored.items() if key in seen)
        lost = sum(key not in seen for seen in arrivals for key in stored)
        return Lateness(len(stored), took_s, late_s, lost, doubled[0])


async def _store(port: int, rate: int, seconds: float) -> dict[str, float]:
    """Store events at an even rate, by several clients; per key, when its answer came."""
    stored: dict[str, float] = {}
    numbers = iter(range(round(rate * seconds)))
    began = time.monotonic()

    async def write() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            key = new_uuid()
            row = {"event_id": key, "event_type": "tap", "ts": "2026-01-31T09:30:00Z", "event_data": {"n": number}}
            body = json.dumps(row)
            head = f"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nPrefer: return=minimal"
            writer.write(f"{head}\r\nContent-Type: application/json\r\n\r\n{body}".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            if answer.startswith(b"HTTP/1.1 201"):
                stored[key] = time.monotonic()
        writer.close()

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return stored


async def _watch(port: int, seen: dict[str, float], doubled: list[int]) -> None:
    async for line in _lines(port):
        if line.startswith(b"data: "):
            key = json.loads(line[6:])["event_id"]
            doubled[0] += key in seen
            seen.setdefault(key, time.monotonic())


async def _lines(port: int) -> AsyncIterator[bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    writer.write(STREAM.encode())
    try:
        await reader.readuntil(b"\r\n\r\n")
        rest = b""
        while size := int(await reader.readline(), 16):
            *lines, rest = (rest + (await reader.readexactly(size + 2))[:-2]).split(b"\n")
            for line in lines:
                yield line
    finally:
        writer.close()


async def _measure_idleness(url: str, number: int) -> Idleness:
    with _service(url, workers=1) as service:
        (worker,) = psutil.Process(service.pid).children()
        before = worker.memory_info().rss
        connections = []
        for _ in range(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(STREAM.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise RuntimeError(answer.decode())
            connections.append(writer)
        # Past the first sign of life, which each of them is sent.
        await asyncio.sleep(16)
        worker.cpu_percent()
        await asyncio.sleep(IDLE_LOOK_S)
        cpu_share = worker.cpu_percent() / 100
        found = Idleness(number, before, worker.memory_info().rss, cpu_share)
        for writer in connections:
            writer.close()
        return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--database-url", help="a database that may be filled; SQLite in a folder of its own if left out"
    )
    parser.add_argument("--rate", type=int, default=500, help="events a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--listeners", type=int, default=1000)
    return parser


if __name__ == "__main__":
    sys.exit(main())
