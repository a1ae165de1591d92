"""Simulate a study: phones that send what happened on them to a running service, over bad networks.

    python -m scripts.simulate --participants 50 --days 7 --faults duplicate,reorder,gap,skew,kill --seed 1
    python -m scripts.simulate --seed 1 --verify        compare what the service holds with what it has promised

What the service acknowledges is written down as it happens, into the file that `--output` names. The same seed stores
the same rows, so a second run changes nothing but the times of its requests. With `--verify` nothing is simulated if
there is such a file already; exit code 1 if anything is missing, double or altered, or a receipt or a clock is wrong.
"""

import argparse
import os
import sys
from pathlib import Path

from scripts.simulation.faults import CHANCES, parse_faults
from scripts.simulation.load import Load, Service
from scripts.simulation.pace import Pace
from scripts.simulation.study import Study
from scripts.simulation.truth import Truth
from scripts.simulation.verify import verify
from scripts.simulation.wire import NoAnswer


def main(words: list[str] | None = None) -> int:
    """Simulate, verify, or both; the exit code."""
    arguments = _parser().parse_args(words)
    service = Service(arguments.base_url, arguments.api_key)
    path = arguments.output or Path(f"data/truth-{arguments.seed}.jsonl")
    try:
        study = Study(
            arguments.seed,
            arguments.participants,
            arguments.days,
            parse_faults(arguments.faults),
            arguments.events_per_day,
        )
        if obstacle := find_obstacle(service):
            print(obstacle, file=sys.stderr)
            return 1
        sound = arguments.verify and path.exists()
        if arguments.verify and not sound:
            print(f"There is no truth in {path} yet, so phones deliver first")
        if not sound:
            sound = simulate(study, service, path, Pace(arguments.speed), arguments.clients)
        if not arguments.verify:
            print(f"The truth stands in {path}; compare the service with it: add --verify")
            return 0 if sound else 1
        findings = verify(service.connect(), path, arguments.clock_tolerance_ms)
    except (ValueError, NoAnswer) as error:
        print(error, file=sys.stderr)
        return 1
    print(findings.table())
    return 0 if findings.is_sound else 1


def find_obstacle(service: Service) -> str | None:
    """Why nothing can be simulated, in a sentence; None where nothing is in the way."""
    try:
        answer = service.connect().ask("GET", "/users?size=1")
    except NoAnswer:
        return f"Nothing answers at {service.base_url}; start the service with: make serve"
    return None if answer.status == 200 else f"{service.base_url} answers {answer.status}: {answer.content['detail']}"


def simulate(study: Study, service: Service, path: Path, pace: Pace, clients: int) -> bool:
    """Let all phones live and write down the truth; whether every answer was one that phones expect."""
    with Truth(path, study.describe()) as truth:
        load = Load(study, service, truth, pace, clients)
        load.start()
        load.wait()
    for sentence in truth.unexpected[:10]:
        print(sentence, file=sys.stderr)
    return not truth.unexpected


def _count(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is less than 1")
    return number


_count.__name__ = "count"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.simulate", description="Phones of a study, simulated.")
    parser.add_argument("--participants", type=_count, default=10)
    parser.add_argument("--days", type=_count, default=7)
    parser.add_argument("--events-per-day", type=_count, default=200, help="of each participant, about")
    parser.add_argument("--faults", default=",".join(CHANCES), help="default: all (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--base-url", default=os.environ.get("BASE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--api-key", default=os.environ.get("API_KEY"), help="default: the environment's API_KEY")
    parser.add_argument("--output", type=Path, default=None, help="the truth; default: data/truth-<seed>.jsonl")
    parser.add_argument("--speed", type=float, default=0, metavar="EVENTS", help="at most so many a second; 0: any")
    parser.add_argument("--clients", type=_count, default=8, help="phones that send at the same time")
    parser.add_argument("--verify", action="store_true", help="compare with the truth, made first if it is not there")
    parser.add_argument(
        "--clock-tolerance-ms", type=int, default=50, help="how far this clock and the service's differ"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
