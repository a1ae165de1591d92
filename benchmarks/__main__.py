"""`python -m benchmarks`: the service against its floor and against what one would write by hand.

Every figure is the median over the rounds, and every ratio the median of the ratios within a round.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import apsw

from benchmarks import data
from benchmarks.load import WRK, Measure, Requests
from benchmarks.targets import BY_HAND, FLOOR, SERVICE, database, measure_in_turn, server
from src.api.cursors import make_cursor
from src.api.query import parse_list_request, split_query
from src.models import event_log

RESULTS = Path("docs/benchmark.json")
EVENT = (
    '{"user_id":"user-1","session_id":"session-1","event_type":"tap","event_data":{"screen":"home","dur":0.25},'
    '"event_source":"app","log_level":"info","ts":"2026-01-31T09:30:00.125+00:00"}'
)
# Per operation: of the floor on PostgreSQL, on SQLite, and over by hand. `docs/speed.md` says why.
BARS = {
    "one row by key": (0.60, 0.50, 5.0),
    "page of 100, filtered and sorted": (0.80, 0.75, 6.0),
    "create": (0.60, 0.60, 3.0),
}
DEEP = "cursor page, deep"
DEEP_BAR = 0.80


def main() -> int:
    """Measure, print the table, write the results; 1 when a bar is missed and --check was given."""
    options = _parser().parse_args()
    results: dict[str, Any] = {"machine": machine(), "rows": options.rows, "databases": {}}
    for kind in options.database or ["postgresql", "sqlite"]:
        results["databases"][kind] = run(kind, options)
    print(table(results))
    if not options.quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    missed = misses(results)
    for text in missed:
        print(f"missed: {text}")
    return 1 if missed and options.check else 0


def run(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure every operation on one kind of database."""
    targets = [FLOOR, SERVICE] if kind == "sqlite" else [FLOOR, SERVICE, BY_HAND]
    with ExitStack() as stack:
        url = stack.enter_context(database(kind))
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "server.log"
        print(f"{kind}: loading {options.rows} events", file=sys.stderr)
        data.load(url, 0, options.rows)
        ports = {target: stack.enter_context(server(target, url, log)) for target in targets}
        found: dict[str, Any] = {}
        for operation, requests in operations(options.rows).items():
            print(f"{kind}: {operation}", file=sys.stderr)
            found[operation] = summary(measure_in_turn(ports, requests, options.rounds, options.seconds))
        found[DEEP] = depth(ports[SERVICE], options)
        return found


def operations(rows: int) -> dict[str, Requests]:
    """The requests of each operation that has a floor."""
    chance = random.Random(1)
    keys = [f"/events/{data.event_id(chance.randrange(rows))}" for _ in range(2000)]
    pages = [
        f"/events?user_id=user-{person}&ts_gte=2026-01-01T00:00:00Z&sort=-ts&size=100" for person in range(data.PEOPLE)
    ]
    return {
        "one row by key": Requests(keys),
        "page of 100, filtered and sorted": Requests(pages),
        "create": Requests(["/events"], EVENT),
    }


def depth(port: int, options: argparse.Namespace) -> dict[str, Any]:
    """Cursor pages at the end of the table against the first page, in the default order."""
    first = Requests(["/events?size=100"])
    found: dict[str, list[Measure]] = {"first": [], "deep": []}
    for _ in range(options.rounds):
        found["first"] += measure_in_turn({"x": port}, first, 1, options.seconds)["x"]
        found["deep"] += measure_in_turn({"x": port}, Requests(deep_pages(options.rows)), 1, options.seconds)["x"]
    shown = {name: figures(measures) for name, measures in found.items()}
    return shown | {"of the first page": ratio(found["deep"], found["first"])}


def deep_pages(rows: int) -> list[str]:
    """Pages behind nearly all rows: the order is newest first, so the oldest events are the deepest."""
    asked = parse_list_request(event_log.TABLE.info, split_query("size=100"))
    pages = []
    for number in range(200, min(2200, rows), 10):
        row = json.dumps({"ts": data.ts(number).isoformat(), "event_id": data.event_id(number)})
        pages.append(f"/events?size=100&cursor={make_cursor(asked.query.sort, row, asked.digest, is_backward=False)}")
    return pages


def summary(found: dict[str, list[Measure]]) -> dict[str, Any]:
    """The figures of each target, and the ratios."""
    shown: dict[str, Any] = {target: figures(measures) for target, measures in found.items()}
    shown["of the floor"] = ratio(found[SERVICE], found[FLOOR])
    if BY_HAND in found:
        shown["over by hand"] = ratio(found[SERVICE], found[BY_HAND])
    return shown


def figures(measures: list[Measure]) -> dict[str, float]:
    """The medians over the rounds."""
    names = ("rate", "p50_ms", "p99_ms")
    return {name: round(median(getattr(measure, name) for measure in measures), 2) for name in names}


def ratio(measures: list[Measure], others: list[Measure]) -> float:
    """The median of the ratios of rates, round by round."""
    return round(median(a.rate / b.rate for a, b in zip(measures, others, strict=True)), 2)


def misses(results: dict[str, Any]) -> list[str]:
    """The bars that were missed."""
    missed = []
    for kind, found in results["databases"].items():
        for operation, (on_postgresql, on_sqlite, over) in BARS.items():
            bar = on_sqlite if kind == "sqlite" else on_postgresql
            if found[operation]["of the floor"] < bar:
                missed.append(f"{kind}, {operation}: {found[operation]['of the floor']} of the floor, not {bar}")
            if found[operation].get("over by hand", over) < over:
                missed.append(f"{kind}, {operation}: {found[operation]['over by hand']} times by hand, not {over}")
        if found[DEEP]["of the first page"] < DEEP_BAR:
            missed.append(f"{kind}, {DEEP}: {found[DEEP]['of the first page']} of the first page, not {DEEP_BAR}")
    return missed


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        f"{results['machine']}; {results['rows']:,} events; one worker; requests per second (p50 / p99 in ms).",
        "",
        "| database | operation | floor | service | by hand | of the floor | over by hand |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, found in results["databases"].items():
        for operation in BARS:
            shown = found[operation]
            cells = [cell(shown.get(target)) for target in (FLOOR, SERVICE, BY_HAND)]
            over = f"{shown['over by hand']} times" if "over by hand" in shown else "-"
            lines.append(f"| {kind} | {operation} | {' | '.join(cells)} | {shown['of the floor']} | {over} |")
        deep = found[DEEP]
        share = f"{deep['of the first page']} of the first page ({cell(deep['first'])})"
        lines.append(f"| {kind} | {DEEP} | - | {cell(deep['deep'])} | - | {share} | - |")
    return "\n".join(lines)


def cell(shown: dict[str, float] | None) -> str:
    """One target's figures."""
    return f"{shown['rate']:,.0f} ({shown['p50_ms']:.1f} / {shown['p99_ms']:.1f})" if shown else "-"


def machine() -> str:
    """What the figures were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if "MemTotal" in line), 0)
    software = f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, granian {version('granian')}"
    load = "wrk" if WRK else "our own load generator"
    return f"{os.cpu_count()} cores ({model}) shared with {load}, {memory} GiB, {software}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--quick", action="store_true", help="write no results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
