"""Kill the service at random moments under load and count the acknowledged rows that are gone.

    python -m scripts.kill_test --rounds 100                  SQLite, in a directory that goes afterwards
    python -m scripts.kill_test --rounds 100 --postgresql     a PostgreSQL that the test starts itself
    python -m scripts.kill_test --database-url URL            a database of yours; it is migrated and written to

Clients create events and users and replace users, and note every row whose answer they have read to its end.
`kill -9` ends the whole process group; the service starts again, and whatever was acknowledged must be there,
as it was acknowledged. Of a row that was being replaced when the service died, both versions are right.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import make_url

from scripts.kill_clients import Client, Load, is_same
from scripts.service_process import ServiceProcess
from src.db.migration import upgrade

LONGEST_LOAD_S = 0.6


class Target(NamedTuple):
    """The database under test."""

    url: str
    sqlite_file: Path | None


class Outcome(NamedTuple):
    """What a run has shown."""

    rounds: int
    acknowledged: int
    missing: list[str]
    altered: list[str]
    unexpected: list[str]
    integrity: str
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether every acknowledged row was there as it was acknowledged."""
        return not (self.missing or self.altered or self.unexpected) and self.integrity in ("ok", "-")


class KillTest:
    """Rounds of load, death and restart on one database."""

    def __init__(self, service: ServiceProcess, clients: int, seed: int) -> None:
        self._service = service
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._load = Load()
        self._clients = [Client(number, service.port, self._load, seed) for number in range(clients)]
        self._missing: dict[str, None] = {}
        self._altered: dict[str, None] = {}

    def run(self, rounds: int, check_every: int, target: Target) -> Outcome:
        """Kill `rounds` times, read back now and then, and at the end read back everything."""
        start = time.monotonic()
        self._service.start()
        self._service.wait_until_up()
        for client in self._clients:
            client.start()
        for number in range(1, rounds + 1):
            self._kill_under_load(waits_until_up=self._random.random() < 0.8)
            if number % check_every == 0 or number == rounds:
                self._service.wait_until_up()
                self._read_back()
                print(f"{number} of {rounds} rounds: {self._acknowledged} rows acknowledged, "
                      f"{len(self._missing)} missing, {len(self._altered)} altered", flush=True)  # fmt: skip
        self._load.is_over.set()
        self._service.kill_group()
        return Outcome(
            rounds, self._acknowledged, list(self._missing), list(self._altered), self._load.unexpected,
            check_integrity(target.sqlite_file), time.monotonic() - start,
        )  # fmt: skip

    @property
    def _acknowledged(self) -> int:
        return sum(len(client.possible) for client in self._clients)

    def _kill_under_load(self, *, waits_until_up: bool) -> None:
        """One round. Without waiting, the kill may come while the service still starts or recovers."""
        if waits_until_up:
            self._service.wait_until_up()
        self._load.may_write.set()
        time.sleep(self._random.uniform(0.02, LONGEST_LOAD_S))
        self._service.kill_group()
        self._service.start()

    def _read_back(self) -> None:
        self._load.may_write.clear()
        for client in self._clients:
            client.wait_until_idle()
        with ThreadPoolExecutor(len(self._clients)) as readers:
            list(readers.map(self._read_rows_of, self._clients))

    def _read_rows_of(self, client: Client) -> None:
        connection = HTTPConnection("127.0.0.1", self._service.port, timeout=30)
        for path, possible in client.possible.items():
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                self._missing[f"{path}: {answer.status}"] = None
            elif not any(is_same(json.loads(body), row) for row in possible):
                self._altered[f"{path}: {body[:300]!r}"] = None
        connection.close()


def check_integrity(file: Path | None) -> str:
    """What SQLite says about the file once nobody uses it; `-` for other databases."""
    if file is None:
        return "-"
    import apsw  # noqa: PLC0415 - PostgreSQL needs none of it

    connection = apsw.Connection(str(file))
    try:
        return "; ".join(str(row[0]) for row in connection.execute("PRAGMA integrity_check"))
    finally:
        connection.close()


@contextmanager
def open_target(arguments: argparse.Namespace, folder: Path) -> Iterator[Target]:
    """The database that the arguments ask for."""
    if arguments.database_url:
        yield Target(arguments.database_url, None)
    elif arguments.postgresql:
        from tests.postgres import PostgresServer  # noqa: PLC0415 - needs the packages of the tests

        server = PostgresServer().start()
        try:
            yield Target(server.create_database(), None)
        finally:
            server.close()
    else:
        yield Target(f"sqlite:///{folder / 'kill.db'}", folder / "kill.db")


def report(outcome: Outcome) -> None:
    """Print the table, and the first of what was lost."""
    print("\n rounds  acknowledged  missing  altered  integrity  seconds")
    print(
        f"{outcome.rounds:7}  {outcome.acknowledged:12}  {len(outcome.missing):7}  {len(outcome.altered):7}"
        f"  {outcome.integrity:>9}  {outcome.seconds:7.0f}"
    )
    for name in ("missing", "altered", "unexpected"):
        for line in getattr(outcome, name)[:10]:
            print(f"{name}: {line}")


def main(words: list[str] | None = None) -> int:
    """Run the test; 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description="Kill the service under load; count acknowledged rows that are gone.")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--workers", type=int, default=None, help="worker processes; the service's default if not given"
    )
    parser.add_argument("--check-every", type=int, default=20, metavar="ROUNDS", help="read all rows back this often")
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments of the kills and the rows")
    parser.add_argument("--database-url", default=None)
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL that the test starts itself")
    arguments = parser.parse_args(words)
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)  # noqa: S311
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="kill-test-") as folder, open_target(arguments, Path(folder)) as target:
        upgrade(make_url(target.url))
        environment = {"DATABASE_URL": target.url, "LOG_LEVEL": "WARNING"}
        if arguments.workers:
            environment["WEB_CONCURRENCY"] = str(arguments.workers)
        with ServiceProcess(environment) as service:
            outcome = KillTest(service, arguments.clients, seed).run(arguments.rounds, arguments.check_every, target)
    report(outcome)
    return 0 if outcome.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
