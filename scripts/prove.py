"""Disturb the service while phones deliver to it, and count the acknowledged rows that are missing, double or altered.

    python -m scripts.prove worker service --rounds 50                        SQLite, in a folder that goes afterwards
    python -m scripts.prove postgresql --rounds 100 --database postgresql     a PostgreSQL that this starts itself
    python -m scripts.prove cut --rounds 10000 --database postgresql
    python -m scripts.prove disk --rounds 10                                  a small disk; needs root
    python -m scripts.prove worker --database-url URL                         a database of yours; it is migrated

The phones are those of `scripts.simulate`, with all their faults. Every trial ends with a comparison of what the
service holds with what it has acknowledged; the table at the end is the one of `docs/reliability.md`. Exit code 1 when
anything is wrong.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import make_url

from scripts.proof.stage import Stage
from scripts.proof.target import can_mount, open_target
from scripts.proof.trials import TRIALS, Trial
from scripts.simulation.faults import CHANCES, parse_faults
from scripts.simulation.pace import Pace
from scripts.simulation.study import Study
from scripts.simulation.verify import Findings
from src.db.migration import upgrade

REPORT_EVERY_S = 10.0
# Cut phones wait as little as they can: the point is to cut often.
SHORTEST_WAIT_S = 0.005
HEADS = ("disturbance", "database", "times", "rows acknowledged", "missing", "stored twice", "altered", "other faults", "seconds")  # fmt: skip  # noqa: E501


class Outcome(NamedTuple):
    """What a trial has shown."""

    trial: Trial
    database: str
    rounds: int
    findings: Findings
    integrity: str
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether the service has kept its word."""
        return self.findings.is_sound and self.integrity in ("ok", "-")

    def cells(self) -> list[str]:
        """The outcome as a row of the table."""
        faults = {kind: len(sentences) for kind, sentences in self.findings.faults.items()}
        rows = sum(self.findings.compared[name] for name in ("users", "sessions", "recordings", "events"))
        counted = [faults.pop(kind) for kind in ("missing", "stored twice", "altered")]
        others = sum(faults.values()) + (self.integrity not in ("ok", "-"))
        numbers = [f"{number:,}" for number in (self.rounds, rows, *counted, others, round(self.seconds))]
        return [self.trial.what, self.database, *numbers]


def prove(name: str, arguments: argparse.Namespace) -> Outcome | None:
    """Run one trial; None when it cannot run here."""
    trial = TRIALS[name]
    if trial.needs_server and (arguments.database != "postgresql" or arguments.database_url):
        return _leave_out(name, "it needs --database postgresql")
    if trial.needs_disk and (not can_mount() or arguments.database_url):
        return _leave_out(name, "it makes a small disk, for which it has to be root and to choose the database")
    began = time.monotonic()
    study = Study(
        arguments.seed,
        arguments.participants,
        None,
        parse_faults(arguments.faults),
        batch_sizes=trial.batch_sizes,
    )
    with (
        tempfile.TemporaryDirectory(prefix="proof-notes-") as notes,
        open_target(arguments, on_small_disk=trial.needs_disk) as target,
    ):
        upgrade(make_url(target.url))
        pace = Pace(arguments.speed, SHORTEST_WAIT_S)
        with Stage(target, study, pace, Path(notes), is_cut=trial.is_cut) as stage:
            trial.disturb(stage, arguments.rounds, Progress(name, target.name, arguments.rounds, pace).show)
            findings = stage.finish(arguments.clock_tolerance_ms)
            rounds = stage.proxy.total if stage.proxy else arguments.rounds
            print(f"{name} on {target.name}:{findings.table()}", flush=True)
            if stage.proxy:
                print("cut: " + ", ".join(f"{count:,} {kind}" for kind, count in stage.proxy.cuts.items()))
        return Outcome(trial, target.name, rounds, findings, target.check(), time.monotonic() - began)


class Progress:
    """Says now and then how far a trial is."""

    def __init__(self, name: str, database: str, rounds: int, pace: Pace) -> None:
        self._words = f"{name} on {database}"
        self._rounds = rounds
        self._pace = pace
        self._next = time.monotonic() + REPORT_EVERY_S

    def show(self, number: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPORT_EVERY_S
        print(f"{self._words}: {number:,} of {self._rounds:,}; {self._pace.acknowledged:,} events acknowledged, "
              f"{self._pace.retries:,} requests sent again", flush=True)  # fmt: skip


def _leave_out(name: str, reason: str) -> Outcome | None:
    print(f"{name} is left out: {reason}", file=sys.stderr)
    return None


def table(outcomes: list[Outcome]) -> str:
    """The outcomes in Markdown."""
    rows = [HEADS, ["---"] * len(HEADS), *(outcome.cells() for outcome in outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(words: list[str] | None = None) -> int:
    """Run the trials; 0 when the service has kept its word in all of them."""
    arguments = _parser().parse_args(words)
    print(f"seed {arguments.seed}", flush=True)
    outcomes = [outcome for name in arguments.trials if (outcome := prove(name, arguments)) is not None]
    print(f"\n{table(outcomes)}")
    return 0 if outcomes and all(outcome.is_sound for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.prove", description="Does the service keep its word?")
    parser.add_argument("trials", nargs="+", choices=TRIALS, metavar="trial", help=", ".join(TRIALS))
    parser.add_argument("--rounds", type=int, default=20, help="how often the service is disturbed")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--database-url", default=None)
    parser.add_argument("--participants", type=int, default=8, help="phones that send at the same time")
    parser.add_argument("--faults", default=",".join(CHANCES), help="of the phones; default: all")
    parser.add_argument("--speed", type=float, default=800, metavar="EVENTS", help="at most so many a second; 0: any")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 - not for secrets
    parser.add_argument("--clock-tolerance-ms", type=int, default=50)
    return parser


if __name__ == "__main__":
    # Whoever ends the proof ends the service and the database with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
