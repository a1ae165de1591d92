"""The trials: each disturbs the stage a number of times."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from scripts.proof.stage import Stage

# How long phones deliver between two disturbances, at most.
LONGEST_LOAD_S = 1.0
BALLAST_BLOCKS = (1 << 20, 1 << 12, 1)
Report = Callable[[int], None]


class Trial(NamedTuple):
    """One kind of disturbance."""

    what: str
    disturb: Callable[[Stage, int, Report], None]
    batch_sizes: tuple[int, ...] = (1, 10, 50, 200, 500)
    needs_server: bool = False
    needs_disk: bool = False
    is_cut: bool = False


def kill_workers(stage: Stage, rounds: int, report: Report) -> None:
    """`kill -9` one of the workers; the supervisor starts another one."""
    for number in range(1, rounds + 1):
        stage.pause(LONGEST_LOAD_S)
        workers: list[psutil.Process] = []
        while not workers:
            workers = psutil.Process(stage.service.pid).children()
        with suppress(psutil.NoSuchProcess):
            stage.chance.choice(workers).kill()
        if stage.chance.random() < 0.8:
            stage.wait_until_acknowledged()
        report(number)


def kill_service(stage: Stage, rounds: int, report: Report) -> None:
    """`kill -9` supervisor and workers at once, sometimes while they still start, and start them again."""
    for number in range(1, rounds + 1):
        if stage.chance.random() < 0.8:
            stage.wait_until_acknowledged()
        stage.pause(LONGEST_LOAD_S)
        stage.service.kill_group()
        stage.service.start()
        report(number)
    stage.wait_until_ready()


def kill_postgresql(stage: Stage, rounds: int, report: Report) -> None:
    """`kill -9` PostgreSQL with all its processes and start it again; or one process, and it recovers by itself."""
    server = stage.target.server
    assert server is not None, "the trial needs a PostgreSQL of its own"
    for number in range(1, rounds + 1):
        stage.pause(LONGEST_LOAD_S)
        if stage.chance.random() < 0.7:
            server.kill()
            stage.pause(LONGEST_LOAD_S / 2)
            server.start()
        else:
            server.kill_backend(stage.chance.choice)
        if stage.chance.random() < 0.8:
            stage.wait_until_acknowledged()
        report(number)
    stage.wait_until_ready()


def cut_connections(stage: Stage, rounds: int, report: Report) -> None:
    """Cut connections when the answer comes; see `proxy.py`."""
    assert stage.proxy is not None, "the trial needs the proxy"
    while stage.proxy.total < rounds:
        stage.wait_until_acknowledged()
        time.sleep(0.1)
        report(min(stage.proxy.total, rounds))


def fill_disk(stage: Stage, rounds: int, report: Report) -> None:
    """Fill the disk, keep it full for a while, and make room again; the service is left alone meanwhile."""
    assert stage.target.disk is not None, "the trial needs a small disk"
    ballast = stage.target.disk / "ballast"
    for number in range(1, rounds + 1):
        stage.wait_until_acknowledged()
        stage.pause(LONGEST_LOAD_S)
        deadline = time.monotonic() + stage.chance.uniform(1, 3)
        while time.monotonic() < deadline:
            fill(ballast)
            time.sleep(0.02)
        ballast.unlink()
        _revive(stage)
        stage.wait_until_acknowledged()
        report(number)


def fill(ballast: Path) -> None:
    """Take what room there is left, to the last byte."""
    with ballast.open("ab", buffering=0) as file:
        for size in BALLAST_BLOCKS:
            with suppress(OSError):
                while os.write(file.fileno(), bytes(size)) == size:
                    pass


def _revive(stage: Stage) -> None:
    """Start PostgreSQL if it has ended for want of room, as an operator or systemd would."""
    server = stage.target.server
    if server is not None and server.process is not None and server.process.poll() is not None:
        server.process = None
        server.start()


TRIALS = {
    "worker": Trial("`kill -9` of a worker", kill_workers),
    "service": Trial("`kill -9` of the whole service", kill_service),
    "postgresql": Trial("`kill -9` of PostgreSQL", kill_postgresql, needs_server=True),
    "cut": Trial(
        "connection cut before the answer", cut_connections, batch_sizes=(1, 1, 1, 1, 5, 20), is_cut=True
    ),
    "disk": Trial("disk full", fill_disk, needs_disk=True),
}  # fmt: skip
