"""A million events of a thousand people with ten sessions each, loaded as fast as each database allows."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw
import asyncpg
from sqlalchemy.engine import make_url

from src.db.migration import upgrade

PEOPLE, SESSIONS = 1000, 10
# Between the people of two events, one after the other.
STEP = 7919
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = ("tap", "swipe", "open", "close")


def event_id(number: int) -> str:
    """The id of the event that was the `number`th to happen."""
    return f"{number:08x}-0000-7000-8000-{number:012x}"


def ts(number: int) -> datetime:
    """When it happened: one event in 250 milliseconds."""
    return FIRST + timedelta(milliseconds=250 * number)


def events_of(person: int, rows: int) -> range:
    """The numbers of a person's events."""
    return range(person * pow(STEP, -1, PEOPLE) % PEOPLE, rows, PEOPLE)


def event(number: int) -> dict[str, str]:
    """What lists are sorted by, of the event that was the `number`th to happen."""
    return {
        "event_id": event_id(number),
        "event_type": TYPES[number % len(TYPES)],
        "event_source": "app",
        "ts": ts(number).isoformat(),
    }


EVENT_COLUMNS = (
    *("event_id", "user_id", "session_id", "event_type", "event_data", "event_source", "log_level"),
    *("ts", "created_at", "updated_at"),
)
# The same on both databases, but for the cast of a document.
PEOPLE_ROWS = """
INSERT INTO users (user_id, firebase_data, body_data, created_at, updated_at, disabled)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {people})
SELECT 'user-' || i, ('{{"email":"user-' || i || '@example.org","display_name":"Person ' || i || '"}}'){json},
    ('{{"height":' || (150 + i % 50) || ',"weight":' || (50 + i % 45) || '}}'){json},
    '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', false
FROM n
"""
SESSION_ROWS = """
INSERT INTO sessions (session_id, user_id, device_data, started_at, ended_at, created_at, updated_at)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {people} * {sessions})
SELECT 'session-' || (i / {sessions}) || '-' || (i % {sessions}), 'user-' || (i / {sessions}),
    ('{{"model":"Pixel 9","os":"Android 16","app_version":"2.4.' || (i % 7) || '"}}'){json},
    '2026-01-01T09:30:00+00:00', '2026-01-01T10:05:00+00:00', '2026-01-01T09:30:00+00:00', '2026-01-01T10:05:00+00:00'
FROM n
"""
# Row `i` on both databases: the person, the session and the document follow from `i`. A person's events are 1,000
# rows apart, so the number in the document takes a term that differs from one of them to the next.
SQLITE_ROWS = """
WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {last}),
t(i, p, ts) AS MATERIALIZED (
    SELECT i, (i * {step}) % {people},
        strftime('%Y-%m-%dT%H:%M:%S', {epoch} + i / 4, 'unixepoch')
        || CASE i % 4 WHEN 0 THEN '' WHEN 1 THEN '.25' WHEN 2 THEN '.5' ELSE '.75' END || '+00:00'
    FROM n
)
INSERT INTO event_log ({columns})
SELECT printf('%08x-0000-7000-8000-%012x', i, i), 'user-' || p, 'session-' || p || '-' || (i % 7),
    CASE i % 4 WHEN 0 THEN 'tap' WHEN 1 THEN 'swipe' WHEN 2 THEN 'open' ELSE 'close' END,
    '{{"screen":"home","dur":' || ((i * 31 + i / 1000 * 377) % 1000 / 100.0) || '}}', 'app', 'info', ts, ts, ts
FROM t
"""
POSTGRESQL_ROWS = """
INSERT INTO event_log ({columns})
SELECT (lpad(to_hex(i), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
    'user-' || p, 'session-' || p || '-' || (i % 7),
    (ARRAY['tap', 'swipe', 'open', 'close'])[i % 4 + 1],
    ('{{"screen":"home","dur":' || ((i * 31 + i / 1000 * 377) % 1000 / 100.0)::float8 || '}}')::json,
    'app', 'info', ts, ts, ts
FROM (
    SELECT i, (i * {step}) % {people} AS p, to_timestamp({epoch} + i * 0.25) AS ts
    FROM generate_series({first}::bigint, {last}::bigint - 1) AS i
) AS t
"""


def load(url: str, first: int, last: int) -> None:
    """Migrate the database and add events `first` to `last` - 1; their indexes are made anew behind them.

    People and their sessions come with the first event.
    """
    upgrade(make_url(url))
    is_sqlite = url.startswith("sqlite")
    people = [] if first else [PEOPLE_ROWS, SESSION_ROWS]
    options = {
        "first": first,
        "last": last,
        "people": PEOPLE,
        "step": STEP,
        "sessions": SESSIONS,
        "epoch": int(FIRST.timestamp()),
        "columns": ", ".join(EVENT_COLUMNS),
        "json": "" if is_sqlite else "::json",
    }
    rows = [text.format(**options) for text in (*people, SQLITE_ROWS if is_sqlite else POSTGRESQL_ROWS)]
    if is_sqlite:
        _load_sqlite(str(make_url(url).database), rows)
    else:
        asyncio.run(_load_postgresql(url, rows))


def _load_sqlite(path: str, rows: list[str]) -> None:
    connection = apsw.Connection(path)
    for pragma in ("synchronous = off", "cache_size = -400000"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    find = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'event_log' AND sql IS NOT NULL"
    indexes = connection.execute(find).fetchall()
    with connection:
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}").fetchall()
        for statement in rows:
            connection.execute(statement).fetchall()
        for _, text in indexes:
            connection.execute(str(text)).fetchall()
    connection.execute("ANALYZE").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


async def _load_postgresql(url: str, rows: list[str]) -> None:
    connection: Any = await asyncpg.connect(url)
    find = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'event_log' AND indexname LIKE 'ix_%'"
    indexes = await connection.fetch(find)
    await connection.execute("SET maintenance_work_mem = '512MB'")
    for name, _ in indexes:
        await connection.execute(f"DROP INDEX {name}")
    for statement in rows:
        await connection.execute(statement)
    for _, text in indexes:
        await connection.execute(text)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()
