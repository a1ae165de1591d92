"""`python -m benchmarks.growth`: rate and p99 against the size of the table, as a picture in docs/."""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks import data, operations
from benchmarks.cursors import AT_THE_END
from benchmarks.load import Requests
from benchmarks.report import figures, machine
from benchmarks.targets import SERVICE, Bench, Load, Pace, database, measure_in_turn, serve

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
    found = {kind: grow(kind, sizes, Pace(options.rounds, options.seconds)) for kind in ("sqlite", "postgresql")}
    RESULTS.write_text(json.dumps({"machine": machine(), "databases": found}, indent=2) + "\n")
    draw(found)
    print(f"wrote {PICTURE} and {RESULTS}")
    return 0


def grow(kind: str, sizes: list[int], pace: Pace) -> Points:
    """Measure each operation at each size; per operation the size, the rate and p99 in ms."""
    found: Points = defaultdict(list)
    loaded = 0
    with database(kind) as url, tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            print(f"{kind}: {size:,} events", file=sys.stderr)
            data.load(url, loaded, size)
            loaded = size
            with serve(SERVICE, Bench(kind, url, size, pace, Path(folder) / "server.log")) as server:
                for name, requests in _requests(size).items():
                    shown = figures(measure_in_turn({name: Load(server.port, requests)}, pace)[name])
                    found[name].append((size, shown["rate"], shown["p99_ms"]))
    return dict(found)


def _requests(size: int) -> dict[str, Requests]:
    """What can be measured at a size: where people have fewer than 100 events, the filtered page is not full."""
    by_key, filtered, deep = LINES
    found = {by_key: operations.keys(size), deep: Requests(AT_THE_END.pages(size))}
    if size >= 100 * data.PEOPLE:
        found[filtered] = operations.filtered_pages(size)
    return found


def draw(found: dict[str, Points]) -> None:
    """Two panels for each database: rates above, p99 below."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True, layout="constrained")
    for column, (kind, points) in enumerate(found.items()):
        rates, tails = axes[0][column], axes[1][column]
        for name, color in LINES.items():
            sizes, rate, p99 = zip(*points[name], strict=True)
            rates.plot(sizes, rate, "o-", color=color, linewidth=2, label=name)
            tails.plot(sizes, p99, "o-", color=color, linewidth=2)
        rates.set_title({"sqlite": "SQLite", "postgresql": "PostgreSQL"}[kind])
        _finish(rates, "requests per second")
        _finish(tails, "p99, ms")
        tails.set_xlabel("events in the table")
    figure.suptitle("One worker, 16 connections: what the size of the table changes")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LINES), frameon=False)
    figure.savefig(PICTURE, dpi=110)


def _finish(panel: Any, label: str) -> None:
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.margins(y=0.1)
    panel.set_ylabel(label)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--max-rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=3)
    return parser


if __name__ == "__main__":
    sys.exit(main())
