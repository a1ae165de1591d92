"""All events in one answer: how long it takes, when it begins, and what it costs the worker in memory."""

import asyncio
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import asyncpg

from benchmarks.report import Found, markdown, median_ratio
from benchmarks.targets import SERVICE, Bench, Server, serve
from src.api.query import parse_list_request
from src.core.tables import Reach
from src.db.engines.postgresql import DIALECT
from src.db.queries import builder
from src.models import event_log

FORMATS = ("ndjson", "csv", "parquet", "arrow")
OF_COPY, OF_COPY_BAR = "of COPY", 0.60
FIRST_BYTE_BAR_MS, GROWTH_BAR_MB = 200, 100
READ_BYTES = 1 << 18
TIMEOUT_S = 1800


class Export(NamedTuple):
    """One export as its reader saw it."""

    seconds: float
    first_byte_ms: float
    size: int
    """Bytes."""


def run(bench: Bench) -> Found:
    """Measure every format, each on a server of its own, whose memory nothing else has touched."""
    found = {}
    for format_ in FORMATS:
        with serve(SERVICE, bench) as server:
            found[format_] = _run_format(format_, server, bench)
    return found


def _run_format(format_: str, server: Server, bench: Bench) -> Found:
    """Read NDJSON in every round, in turn with COPY where there is one; the other formats once."""
    before = _peak_mb(server.worker)
    exports, copies = [], []
    for _ in range(bench.pace.rounds if format_ == "ndjson" else 1):
        exports.append(read_export(server.port, format_))
        if format_ == "ndjson" and bench.kind == "postgresql":
            copies.append(asyncio.run(copy_out(bench.url)))
    growth = _peak_mb(server.worker) - before
    later = [read_first_byte(server.port, format_) for _ in range(3)]
    shown = _figures(exports) | {"first_byte_ms": round(median(later), 1), "growth_mb": round(growth, 1)}
    if copies:
        shown["copy_seconds"] = round(median(copies), 2)
        shown[OF_COPY] = median_ratio(copies, [export.seconds for export in exports])
    return shown


def _figures(exports: list[Export]) -> Found:
    seconds = median(export.seconds for export in exports)
    return {
        "seconds": round(seconds, 2),
        "very_first_byte_ms": round(exports[0].first_byte_ms, 1),
        "mb": round(exports[0].size / 1e6, 1),
        "mb_per_second": round(exports[0].size / 1e6 / seconds, 1),
    }


def read_export(port: int, format_: str) -> Export:
    """Read an export to its end.

    Raises:
        RuntimeError: the service refused.
        IncompleteRead: the export was cut off.
    """
    began = perf_counter()
    connection, answer = _open(port, format_)
    buffer = bytearray(READ_BYTES)
    size = len(answer.read1(1))
    first_byte_ms = (perf_counter() - began) * 1000
    while count := answer.readinto(buffer):
        size += count
    connection.close()
    return Export(perf_counter() - began, first_byte_ms, size)


def read_first_byte(port: int, format_: str) -> float:
    """Milliseconds until an export begins; the rest of it is not taken."""
    began = perf_counter()
    connection, answer = _open(port, format_)
    answer.read1(1)
    elapsed = perf_counter() - began
    connection.close()
    return elapsed * 1000


def _open(port: int, format_: str) -> tuple[HTTPConnection, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    connection.request("GET", f"/events?format={format_}")
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(answer.read().decode())
    return connection, answer


async def copy_out(url: str) -> float:
    """Seconds in which the bare driver reads the rows of the same statement by COPY."""
    table = event_log.TABLE.info
    sql, arguments = builder.select_all(Reach.whole(table), parse_list_request(table, []).query).compile(DIALECT)
    connection: Any = await asyncpg.connect(url, server_settings={"timezone": "UTC"})

    async def take(_: bytes) -> None:
        pass

    began = perf_counter()
    await connection.copy_from_query(sql, *arguments, output=take)
    elapsed = perf_counter() - began
    await connection.close()
    return elapsed


def _peak_mb(process: int) -> float:
    """The most memory that a process has had; not a number where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), float("nan"))


def misses(_: str, found: Found) -> Iterator[str]:
    """The bars that were missed on one kind of database."""
    for format_, shown in found.items():
        if shown["first_byte_ms"] > FIRST_BYTE_BAR_MS:
            yield f"{format_}: first byte after {shown['first_byte_ms']} ms, not {FIRST_BYTE_BAR_MS}"
        if shown["growth_mb"] > GROWTH_BAR_MB:
            yield f"{format_}: the worker grew by {shown['growth_mb']} MB, not {GROWTH_BAR_MB}"
        if shown.get(OF_COPY, OF_COPY_BAR) < OF_COPY_BAR:
            yield f"{format_}: {shown[OF_COPY]} of the rate of COPY, not {OF_COPY_BAR}"


def table(databases: dict[str, Found]) -> str:
    """The formats of all databases."""
    head = ["database", "format", "seconds", "MB", "MB/s", "first byte, ms (of a new worker)", "memory, MB", OF_COPY]
    rows = [_line(kind, format_, shown) for kind, found in databases.items() for format_, shown in found.items()]
    return markdown("Exports of all events:", head, rows)


def _line(kind: str, format_: str, shown: Found) -> list[str]:
    first = f"{shown['first_byte_ms']} ({shown['very_first_byte_ms']})"
    of_copy = f"{shown[OF_COPY]} (COPY: {shown['copy_seconds']} s)" if OF_COPY in shown else "-"
    middle = [str(shown[name]) for name in ("seconds", "mb", "mb_per_second")]
    return [kind, format_, *middle, first, f"+{shown['growth_mb']}", of_copy]
