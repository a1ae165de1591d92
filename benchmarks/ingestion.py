"""Batches of events against what the database takes without a service.

That is COPY, the same INSERT with ready values, `executemany`. Each batch has fresh keys, and all sides take turns on
the same table over as many connections.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from statistics import median
from threading import Thread
from typing import Any

import apsw
import asyncpg
from sqlalchemy.engine import make_url

from benchmarks.operations import new_event
from benchmarks.report import Found, markdown
from benchmarks.targets import SERVICE, Bench, serve
from src.core.tables import Kind, Reach
from src.core.values import new_uuid, parse_timestamp
from src.db.engines.postgresql import DIALECT as POSTGRESQL
from src.db.engines.sqlite import DIALECT as SQLITE
from src.db.queries import builder
from src.db.queries.statement import ManyStatement
from src.db.queries.writes import OnConflict
from src.models import event_log

EVENTS = 1000
CONNECTIONS = 4
BATCHES_PER_ROUND = 16
DELIVERED, COPY, INSERT, MANY = "delivered", "COPY", "same INSERT", "executemany"
BARS = {"postgresql": {COPY: 0.4, INSERT: 0.55}, "sqlite": {MANY: 0.4}}
INFO = event_log.TABLE.info

Batch = list[dict[str, Any]]


def run(bench: Bench) -> Found:
    """Measure all sides, in turn."""
    sides = BARS[bench.kind]
    rates: dict[str, list[float]] = {name: [] for name in (DELIVERED, *sides)}
    with serve(SERVICE, bench) as server:
        for _ in range(bench.pace.rounds + 1):
            rates[DELIVERED].append(_deliver(server.port, _batches()))
            for name in sides:
                rates[name].append(SIDES[name](bench.url, _batches()))
    # The first round warms up.
    found: Found = {f"{name} events/s": round(median(those[1:])) for name, those in rates.items()}
    for name in sides:
        pairs = zip(rates[DELIVERED][1:], rates[name][1:], strict=True)
        found[f"of {name}"] = round(median(ours / theirs for ours, theirs in pairs), 2)
    return found


def _batches() -> list[Batch]:
    """What phones have kept: each batch from one person, one device and one session."""
    return [_batch(number) for number in range(BATCHES_PER_ROUND)]


def _batch(number: int) -> Batch:
    whose = {"user_id": f"user-{number}", "session_id": f"session-{new_uuid()}", "device_id": f"device-{new_uuid()}"}
    return [new_event(seq % 40) | whose | {"event_id": new_uuid(), "seq": seq + 1} for seq in range(EVENTS)]


def _timed(work: Callable[[], object], batches: list[Batch]) -> float:
    began = time.perf_counter()
    work()
    return sum(map(len, batches)) / (time.perf_counter() - began)


def _deliver(port: int, batches: list[Batch]) -> float:
    """Events a second by the service; the bodies are ready before the clock starts."""
    bodies = [
        json.dumps({"batch": batch, "sentAt": "2026-01-31T09:31:00Z"}, ensure_ascii=False).encode() for batch in batches
    ]
    shares = [bodies[share::CONNECTIONS] for share in range(CONNECTIONS)]
    connections = [HTTPConnection("127.0.0.1", port, timeout=60) for _ in shares]
    threads = [Thread(target=_send, args=pair) for pair in zip(connections, shares, strict=True)]

    def work() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return _timed(work, batches)


def _send(connection: HTTPConnection, bodies: list[bytes]) -> None:
    for body in bodies:
        connection.request("POST", "/events/-/batch", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        assert answer["accepted"] == EVENTS, answer


def _ready(batch: Batch) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Columns, and rows as drivers take them."""
    instant = datetime.now(UTC)
    columns = tuple(column.name for column in INFO.columns)
    stamps = {"created_at": instant, "updated_at": instant, "sent_at": instant, "utc_offset_min": 0}
    return columns, [tuple(_value(row | stamps, name) for name in columns) for row in batch]


def _value(row: dict[str, Any], name: str) -> object:
    value = row.get(name)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return parse_timestamp(value) if INFO.by_name[name].kind is Kind.TIMESTAMP and value else value


def _statement(batch: Batch) -> ManyStatement:
    return builder.insert_rows(Reach.whole(INFO), *_ready(batch), OnConflict.IGNORE)


def _copy(url: str, batches: list[Batch]) -> float:
    ready = [_ready(batch) for batch in batches]

    async def copy(connection: Any, number: int) -> None:
        columns, rows = ready[number]
        await connection.copy_records_to_table(INFO.name, records=rows, columns=columns)

    return asyncio.run(_on_postgresql(url, copy, batches))


def _insert(url: str, batches: list[Batch]) -> float:
    ready = [_statement(batch).in_bulk().compile(POSTGRESQL) for batch in batches]

    async def insert(connection: Any, number: int) -> None:
        sql, arguments = ready[number]
        await connection.fetch(sql, *arguments)

    return asyncio.run(_on_postgresql(url, insert, batches))


async def _on_postgresql(url: str, one: Callable[[Any, int], Awaitable[None]], batches: list[Batch]) -> float:
    connections = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]

    async def share(place: int) -> None:
        for number in range(place, len(batches), CONNECTIONS):
            await one(connections[place], number)

    began = time.perf_counter()
    await asyncio.gather(*map(share, range(CONNECTIONS)))
    rate = sum(map(len, batches)) / (time.perf_counter() - began)
    for connection in connections:
        await connection.close()
    return rate


def _many(url: str, batches: list[Batch]) -> float:
    connection = apsw.Connection(str(make_url(url).database))
    connection.set_busy_timeout(10_000)
    connection.execute("PRAGMA synchronous = full")
    ready = [(sql, list(rows)) for sql, rows in (_statement(batch).for_each(SQLITE) for batch in batches)]

    def work() -> None:
        for sql, rows in ready:
            with connection:
                connection.executemany(sql, rows)

    try:
        return _timed(work, batches)
    finally:
        connection.close()


SIDES: dict[str, Callable[[str, list[Batch]], float]] = {COPY: _copy, INSERT: _insert, MANY: _many}


def misses(kind: str, found: Found) -> Iterator[str]:
    """The bars that were missed on one kind of database."""
    for name, bar in BARS[kind].items():
        if found[f"of {name}"] < bar:
            yield f"batches of {EVENTS} events: {found[f'of {name}']} of {name}, not {bar}"


def table(databases: dict[str, Found]) -> str:
    """All sides, on all databases."""
    head = ["database", "delivered, events/s", "against", "events/s", "ratio", "bar"]
    rows = [
        [
            *(kind, f"{found[f'{DELIVERED} events/s']:,}", name, f"{found[f'{name} events/s']:,}"),
            *(str(found[f"of {name}"]), str(bar)),
        ]
        for kind, found in databases.items()
        for name, bar in BARS[kind].items()
    ]
    return markdown(f"Batches of {EVENTS:,} events over {CONNECTIONS} connections, one worker:", head, rows)
