"""From measures to figures, and from figures to Markdown."""

import asyncio
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import apsw
import asyncpg

from benchmarks.load import WRK, Measure
from benchmarks.targets import Bench

BEGIN, END = "<!-- made by python -m benchmarks -->", "<!-- until here -->"

Found = dict[str, Any]
"""What a part of the benchmark found on one database, ready for JSON."""


def figures(measures: Sequence[Measure]) -> dict[str, float]:
    """The medians over the rounds."""
    names = ("rate", "p50_ms", "p99_ms")
    return {name: round(median(getattr(measure, name) for measure in measures), 2) for name in names}


def ratio(measures: Sequence[Measure], others: Sequence[Measure]) -> float:
    """The median of the ratios of rates, round by round."""
    return median_ratio([measure.rate for measure in measures], [other.rate for other in others])


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios, round by round."""
    return round(median(a / b for a, b in zip(values, others, strict=True)), 2)


def cell(shown: dict[str, float] | None) -> str:
    """Figures as they stand in a table."""
    return f"{shown['rate']:,.0f} ({shown['p50_ms']:.1f} / {shown['p99_ms']:.1f})" if shown else "-"


def markdown(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table under a sentence."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([title, "", *(f"| {' | '.join(line)} |" for line in lines)])


def replace_between_marks(path: Path, text: str) -> None:
    """Put a text between the two marks of a page.

    Raises:
        ValueError: the page has not both of them.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path} has no place for the results, between {BEGIN} and {END}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def machine() -> str:
    """What the figures were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if "MemTotal" in line), 0)
    load = "wrk" if WRK else "our own load generator"
    software = f"Python {platform.python_version()}, granian {version('granian')}"
    return f"{os.cpu_count()} cores ({model}) shared with {load}, {memory} GiB, {software}"


def engine(bench: Bench) -> str:
    """The database's version, and what it does before it acknowledges a write."""
    if bench.kind == "sqlite":
        return f"SQLite {apsw.sqlite_lib_version()}, WAL, synchronous=FULL"
    return asyncio.run(_postgresql(bench.url))


async def _postgresql(url: str) -> str:
    connection: Any = await asyncpg.connect(url)
    settings = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    values = {name: await connection.fetchval(f"SHOW {name}") for name in settings}
    await connection.close()
    said = ", ".join(f"{name}={value}" for name, value in values.items() if name != "server_version")
    return f"PostgreSQL {values['server_version'].split()[0]}, {said}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
