"""`python -m benchmarks`: the service against its floor, against what one would write by hand, and against itself.

Every figure is the median over the rounds, and every ratio the median of the ratios within a round.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import authentication, compression, cursors, data, exports, ingestion, many, operations
from benchmarks.report import Found, engine, machine, replace_between_marks
from benchmarks.targets import Bench, Pace, database

RESULTS, PAGE = Path("docs/benchmark.json"), Path("docs/speed.md")
PARTS: dict[str, Any] = {
    "operations": operations,
    "many": many,
    "ingestion": ingestion,
    "cursors": cursors,
    "exports": exports,
    "compression": compression,
    "authentication": authentication,
}
FULL = {"rows": 1_000_000, "rounds": 3, "seconds": 3}
QUICK = {"rows": 20_000, "rounds": 1, "seconds": 1}


def main() -> int:
    """Measure, print the tables, write the results; 1 when a bar is missed and --check was given."""
    options = read_options()
    results: dict[str, Any] = {"machine": machine(), "rows": options.rows, "databases": {}}
    for kind in options.database or ["postgresql", "sqlite"]:
        results["databases"][kind] = run(kind, options)
    text = tables(results)
    print(text)
    if not options.quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        replace_between_marks(PAGE, text)
    missed = misses(results)
    for each in missed:
        print(f"missed: {each}")
    return 1 if missed and options.check else 0


def run(kind: str, options: argparse.Namespace) -> Found:
    """Measure every part on one kind of database; the creates come last, because they make the table grow."""
    with tempfile.TemporaryDirectory() as folder, database(kind) as url:
        bench = Bench(kind, url, options.rows, Pace(options.rounds, options.seconds), Path(folder) / "server.log")
        print(f"{kind}: loading {options.rows:,} events", file=sys.stderr)
        data.load(url, 0, options.rows)
        found: Found = {"engine": engine(bench)}
        for name, part in reversed(PARTS.items()):
            print(f"{kind}: {name}", file=sys.stderr)
            found[name] = part.run(bench)
        return found


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    databases = results["databases"]
    engines = "; ".join(found["engine"] for found in databases.values())
    head = f"{results['machine']}; {engines}; {results['rows']:,} events, one worker."
    parts = (part.table({kind: found[name] for kind, found in databases.items()}) for name, part in PARTS.items())
    return "\n\n".join([head, *parts])


def misses(results: dict[str, Any]) -> list[str]:
    """The bars that were missed."""
    return [
        f"{kind}, {text}"
        for kind, found in results["databases"].items()
        for name, part in PARTS.items()
        for text in part.misses(kind, found[name])
    ]


def read_options() -> argparse.Namespace:
    """What was asked for, the rest filled in."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    for name, default in FULL.items():
        parser.add_argument(f"--{name}", type=int, help=f"{default:,}, or {QUICK[name]:,} with --quick")
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--quick", action="store_true", help="a small run that writes no results")
    options = parser.parse_args()
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    sys.exit(main())
