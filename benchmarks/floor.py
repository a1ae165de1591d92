"""The floor: the same SQL on the same server and driver, one line of log, and nothing else."""

import sys
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs

import apsw
import asyncpg
import msgspec

from src.api.query import parse_list_request, split_query
from src.core.config import load_settings
from src.core.tables import Kind
from src.core.values import new_uuid, now
from src.db.engines.postgresql import DIALECT as POSTGRESQL
from src.db.engines.sqlite import DIALECT as SQLITE
from src.db.engines.sqlite import ENCODERS, open_reader
from src.db.engines.sqlite_writer import Writer
from src.db.queries import builder
from src.models import event_log

SETTINGS = load_settings()
EVENTS = event_log.TABLE.info
DIALECT = SQLITE if SETTINGS.is_sqlite else POSTGRESQL
NAMES = [column.name for column in EVENTS.columns]
BY_KEY = builder.select_row(EVENTS, "").compile(DIALECT)[0]
PAGE = builder.select_page(
    EVENTS, parse_list_request(EVENTS, split_query("user_id=x&ts_gte=2026-01-01&sort=-ts&size=100")).query
).compile(DIALECT)[0]
INSERT = builder.insert_row(EVENTS, dict.fromkeys(NAMES)).compile(DIALECT)[0]
write_time = ENCODERS[Kind.TIMESTAMP]


class Sqlite:
    """apsw in place for reads, the same writer that commits in groups for writes."""

    async def open(self) -> None:
        path = Path(SETTINGS.url.database or "")
        self.writer = Writer(path, SETTINGS)
        self.connection: apsw.Connection = open_reader(path)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        return self.connection.execute(sql, values).fetchall()

    async def write(self, sql: str, *values: Any) -> Any:
        return await self.writer.write(sql, values)

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


async def answer(scope: Any, receive: Any) -> bytes:
    """The body of the answer to one of the three requests that are measured."""
    if scope["method"] == "POST":
        values = msgspec.json.decode((await receive())["body"])
        values["event_id"] = new_uuid()
        values["ts"] = database.time(datetime.fromisoformat(values["ts"]))
        values["event_data"] = msgspec.json.encode(values["event_data"]).decode()
        values["created_at"] = values["updated_at"] = database.time(now())
        return (await database.write(INSERT, *(values[name] for name in NAMES)))[0][0].encode()
    if scope["path"] == "/events":
        query = parse_qs(scope["query_string"].decode())
        since = database.time(datetime.fromisoformat(query["ts_gte"][0]))
        rows = await database.fetch(PAGE, query["user_id"][0], since, 101, 0)
        return f"[{','.join([row[0] for row in rows[:100]])}]".encode()
    return (await database.fetch(BY_KEY, scope["path"][8:]))[0][0].encode()


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
    body = await answer(scope, receive)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    line = {
        "method": scope["method"],
        "status": 200,
        "ms": round((perf_counter() - began) * 1000, 2),
        "bytes": len(body),
    }
    sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
