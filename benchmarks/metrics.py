"""`python -m benchmarks.metrics`: what counting a request costs, of reading a row by its key from SQLite.

The application is called in this process, without a server, so that a ratio is of Python alone. Every way of counting
takes its turn in each round; printed are medians.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy.engine import make_url

ROUNDS, REQUESTS = 25, 4_000
Add = Callable[[tuple[str, str, int], float, int], None]


def add_nothing(_: tuple[str, str, int], __: float, ___: int) -> None:
    """Count nothing."""


def prometheus_add() -> Add:
    """The same figures by prometheus-client with files that processes share, its children looked up in a dictionary."""
    from prometheus_client import Counter, Histogram  # noqa: PLC0415  it reads the environment when it is imported

    from src.api.metrics.figures import BOUNDS_S  # noqa: PLC0415

    labels = ["method", "route", "status"]
    seconds_of = Histogram("seconds", "Durations", labels, buckets=BOUNDS_S)
    bytes_of = Counter("bytes", "Bytes", labels)
    children: dict[tuple[str, str, int], Any] = {}

    def add(kind: tuple[str, str, int], seconds: float, bytes_sent: int) -> None:
        pair = children.get(kind)
        if pair is None:
            pair = children[kind] = seconds_of.labels(*kind), bytes_of.labels(*kind)
        pair[0].observe(seconds)
        pair[1].inc(bytes_sent)

    return add


async def measure(app: Any, ways: dict[str, Add]) -> dict[str, float]:
    """Microseconds of processor time per request, by the way of counting."""
    counts = app.state.metrics.counts
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, add in ways.items():
            counts.add = add
            began = time.process_time()
            for _ in range(REQUESTS):
                await ask(app, "GET", "/users/ada")
            found[name].append((time.process_time() - began) / REQUESTS * 1e6)
    return {name: median(times) for name, times in found.items()}


async def ask(app: Any, method: str, path: str, body: bytes = b"") -> int:
    """One request; its status."""
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"x"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    await app({**scope, "client": ("127.0.0.1", 1), "scheme": "http", "root_path": ""}, receive, send)
    return status


async def run(folder: str) -> dict[str, float]:
    """Measure on a database of one row."""
    from src.core.config import Settings  # noqa: PLC0415  after the environment is set
    from src.db.migration import upgrade  # noqa: PLC0415
    from src.main import create_app  # noqa: PLC0415

    url = f"sqlite:///{folder}/metrics.db"
    await asyncio.to_thread(upgrade, make_url(url))
    app = create_app(Settings(_env_file=None, database_url=url))
    from src.api.direct import index_of  # noqa: PLC0415
    from src.api.entrance.door import Door  # noqa: PLC0415

    app.state.door = Door(app.state.settings, index_of(app).policies)
    async with app.router.lifespan_context(app):
        if await ask(app, "POST", "/users", b'{"user_id": "ada"}') != 201:
            raise RuntimeError("the row could not be written")
        ways = {"nothing": add_nothing, "ours": type(app.state.metrics.counts)().add, "prometheus": prometheus_add()}
        return await measure(app, ways)


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder) / "shared"
        shared.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
        # Each request writes its line, as in production.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  until the end
        found = asyncio.run(run(folder))
    for name, cost_us in found.items():
        print(f"{name:<12}{cost_us:7.2f} µs a request  {cost_us / found['nothing'] - 1:+.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
