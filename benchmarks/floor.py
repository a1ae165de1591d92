"""The floor: the same SQL on the same server and driver, the same line of log, and nothing else."""

import sys
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import apsw
import asyncpg
import msgspec

from src.api.entrance.access import Policies
from src.api.query import parse_list_request, split_query
from src.core.access import Role
from src.core.config import load_settings
from src.core.logging import LineLog
from src.core.tables import Kind, Reach, TableInfo
from src.core.values import new_uuid, now
from src.db.engines.postgresql import DIALECT as POSTGRESQL
from src.db.engines.sqlite import DIALECT as SQLITE
from src.db.engines.sqlite import ENCODERS
from src.db.engines.sqlite_reader import open_reader
from src.db.engines.sqlite_writer import Writer
from src.db.queries import builder

SETTINGS = load_settings()
SIGHT = Policies(()).sight(Role.ANYBODY, frozenset())
EVENTS, USERS = SIGHT["event_log"].models.info, SIGHT["users"].models.info
DIALECT = SQLITE if SETTINGS.is_sqlite else POSTGRESQL
NAMES = [column.name for column in EVENTS.columns]
BY_KEY = builder.select_row(Reach.whole(EVENTS), "").compile(DIALECT)[0]
INSERT = builder.insert_row(Reach.whole(EVENTS), dict.fromkeys(NAMES)).compile(DIALECT)[0]
write_time = ENCODERS[Kind.TIMESTAMP]
log = LineLog("requests", sys.stderr, is_text=False)


class Sqlite:
    """apsw in place for reads, the same writer that commits in groups for writes."""

    async def open(self) -> None:
        path = Path(SETTINGS.url.database or "")
        self.writer = Writer(path, SETTINGS)
        self.connection: apsw.Connection = open_reader(path)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        return self.connection.execute(sql, values).fetchall()

    async def write(self, sql: str, *values: Any) -> Any:
        return await self.writer.run(
            lambda writing: writing.execute(sql, values).fetchall(), SETTINGS.statement_timeout_s
        )

    def time(self, value: datetime) -> Any:
        return write_time(value)


class Postgresql:
    """asyncpg's own pool, told to reset nothing."""

    async def open(self) -> None:
        async def keep(_: Any) -> None:
            pass

        self.pool: Any = await asyncpg.create_pool(
            SETTINGS.url.render_as_string(hide_password=False),
            min_size=SETTINGS.pool_size,
            max_size=SETTINGS.pool_size,
            reset=keep,
            server_settings={"timezone": "UTC"},
        )

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        async with self.pool.acquire() as connection:
            rows: list[Any] = await connection.fetch(sql, *values)
            return rows

    write = fetch

    def time(self, value: datetime) -> Any:
        return value


database: Any = Sqlite() if SETTINGS.is_sqlite else Postgresql()


class Page(NamedTuple):
    """A list's statement, compiled once."""

    sql: str
    arguments: list[Any]
    varied: list[int]
    """The places of the arguments that differ between requests."""
    size: int

    @classmethod
    def of(cls, table: TableInfo, text: str, *varied: object) -> "Page":
        """Compile what the service runs for a query; `varied` are arguments of it that stand there once."""
        query = parse_list_request(table, split_query(text)).query
        sql, arguments = builder.select_page(Reach.whole(table), query).compile(DIALECT)
        return cls(sql, arguments, [arguments.index(value) for value in varied], query.size)

    async def fetch(self, *values: Any) -> bytes:
        """The page as it is answered."""
        arguments = self.arguments.copy()
        for place, value in zip(self.varied, values, strict=True):
            arguments[place] = value
        rows = await database.fetch(self.sql, *arguments)
        return f"[{','.join([row[0] for row in rows[: self.size]])}]".encode()


START = "2026-01-01T00:00:00Z"
FILTERED = Page.of(
    EVENTS, f"user_id=x&ts_gte={START}&sort=-ts&size=100", "x", database.time(datetime.fromisoformat(START))
)
BY_DOCUMENT = Page.of(EVENTS, "user_id=x&event_data.dur_gte=5&size=100", "x")
EXPANDED = Page.of(USERS, "expand=sessions(limit:10)&size=20&page=4", 60)


async def answer(scope: Any, receive: Any) -> tuple[str, bytes]:
    """The route of one of the requests that are measured, and the body of the answer."""
    if scope["method"] == "POST":
        return "/events", await create((await receive())["body"])
    if scope["path"] == "/events":
        return "/events", await list_events(parse_qs(scope["query_string"].decode()))
    if scope["path"] == "/users":
        page = int(parse_qs(scope["query_string"].decode())["page"][0])
        return "/users", await EXPANDED.fetch((page - 1) * EXPANDED.size)
    return "/events/{event_id}", (await database.fetch(BY_KEY, scope["path"][8:]))[0][0].encode()


async def list_events(query: dict[str, list[str]]) -> bytes:
    """A page of a person's events."""
    person = query["user_id"][0]
    if "ts_gte" not in query:
        return await BY_DOCUMENT.fetch(person)
    return await FILTERED.fetch(person, database.time(datetime.fromisoformat(query["ts_gte"][0])))


async def create(body: bytes) -> bytes:
    """Insert an event."""
    values = msgspec.json.decode(body)
    values["event_id"] = new_uuid()
    values["ts"] = database.time(datetime.fromisoformat(values["ts"]))
    if values["event_data"] is not None:
        values["event_data"] = msgspec.json.encode(values["event_data"]).decode()
    values["created_at"] = values["updated_at"] = database.time(now())
    rows: list[tuple[str]] = await database.write(INSERT, *(values.get(name) for name in NAMES))
    return rows[0][0].encode()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The application."""
    if scope["type"] == "lifespan":
        await receive()
        await database.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    began = perf_counter()
    route, body = await answer(scope, receive)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    log.write(
        "request",
        {
            "method": scope["method"],
            "route": route,
            "status": 200,
            "ms": round((perf_counter() - began) * 1000, 2),
            "bytes": len(body),
            "request_id": new_uuid(),
        },
    )
