"""`python -m benchmarks.growth`: rate and p99 against the size of the table, as a picture in docs/."""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks import data
from benchmarks.__main__ import deep_pages, figures, machine, operations
from benchmarks.load import Requests
from benchmarks.targets import SERVICE, database, measure_in_turn, server

mpl.use("Agg")
import matplotlib.pyplot as plt

PICTURE, RESULTS = Path("docs/benchmark.png"), Path("docs/benchmark-growth.json")
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
LINES = {"one row by key": "#1b9e77", "filtered page of 100": "#d95f02", "cursor page at the end": "#7570b3"}

Points = dict[str, list[tuple[int, float, float]]]


def main() -> int:
    """Measure and draw."""
    options = _parser().parse_args()
    sizes = [size for size in SIZES if size <= options.max_rows]
    found = {kind: grow(kind, sizes, options) for kind in ("sqlite", "postgresql")}
    RESULTS.write_text(json.dumps({"machine": machine(), "databases": found}, indent=2) + "\n")
    draw(found)
    print(f"wrote {PICTURE} and {RESULTS}")
    return 0


def grow(kind: str, sizes: list[int], options: argparse.Namespace) -> Points:
    """Measure each operation at each size; per operation the size, the rate and p99 in ms."""
    found: Points = defaultdict(list)
    loaded = 0
    with database(kind) as url, tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            print(f"{kind}: {size:,} events", file=sys.stderr)
            data.load(url, loaded, size)
            loaded = size
            with server(SERVICE, url, Path(folder) / "server.log") as port:
                for name, requests in _requests(size).items():
                    measures = measure_in_turn({SERVICE: port}, requests, options.rounds, options.seconds)[SERVICE]
                    shown = figures(measures)
                    found[name].append((size, shown["rate"], shown["p99_ms"]))
    return dict(found)


def _requests(size: int) -> dict[str, Requests]:
    by_key, filtered, _ = operations(size).values()
    return dict(zip(LINES, (by_key, filtered, Requests(deep_pages(size))), strict=True))


def draw(found: dict[str, Points]) -> None:
    """Two panels for each database: rates above, p99 below."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True, layout="constrained")
    for column, (kind, points) in enumerate(found.items()):
        rates, tails = axes[0][column], axes[1][column]
        for name, color in LINES.items():
            sizes, rate, p99 = zip(*points[name], strict=True)
            for panel, values in ((rates, rate), (tails, p99)):
                panel.plot(sizes, values, "o-", color=color, linewidth=2)
            rates.annotate(name, (sizes[0], rate[0]), xytext=(0, 7), textcoords="offset points", color=color)
        rates.set_title({"sqlite": "SQLite", "postgresql": "PostgreSQL"}[kind])
        _finish(rates, "requests per second")
        _finish(tails, "p99, ms")
        tails.set_xlabel("events in the table")
    figure.suptitle("One worker, 16 connections: what the size of the table changes")
    figure.savefig(PICTURE, dpi=110)


def _finish(panel: Any, label: str) -> None:
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.margins(y=0.25)
    panel.set_ylabel(label)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--max-rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3)
    return parser


if __name__ == "__main__":
    sys.exit(main())
