"""Whatever a request writes has committed before its answer leaves, or left no trace."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from src.core.errors import DatabaseBusy
from src.db.connection import Connection, connect
from src.db.engines.postgresql import PostgresqlTransaction
from src.db.engines.sqlite import SqliteTransaction, run_through
from src.db.engines.sqlite_writer import Failure, Unit, Writer
from src.db.queries.executor import transact
from tests.databases import is_sqlite, run_sql
from tests.server import serving_database, settings_for

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}
MERGE, IGNORE, NEW = (
    {"Prefer": "resolution=merge-duplicates"},
    {"Prefer": "resolution=ignore-duplicates"},
    {"If-None-Match": "*"},
)
TIME = "2026-01-31T09:30:00+00:00"
KEYS = {"users": "user_id", "sessions": "session_id", "recordings": "recording_id", "event_log": "event_id"}

Request = tuple[str, str, Any, dict[str, str]]
# Each kind of request that takes more than one statement.
REQUESTS: dict[str, Request] = {
    "array": ("POST", "/sessions", [{"session_id": f"n{n}", "user_id": "ada"} for n in range(5)], {}),
    "array, merged": (
        "POST",
        "/users",
        [{"user_id": "ada", "body_data": {}}, {"user_id": "new"}, {"user_id": "eve"}],
        MERGE,
    ),
    "array, ignored": ("POST", "/users", [{"user_id": "ada", "body_data": {}}, {"user_id": "new"}], IGNORE),
    "merged": ("POST", "/users", {"user_id": "new"}, MERGE),
    "ignored": ("POST", "/users", {"user_id": "ada"}, IGNORE),
    "put, conditional": ("PUT", "/users/ada", {"body_data": {"height": 2}}, {"If-Match": "*"}),
    "put, new": ("PUT", "/users/new", {"body_data": {"height": 2}}, NEW),
    "put, either": ("PUT", "/users/new", {"body_data": {"height": 2}}, MERGE),
    "patch": ("PATCH", "/users/ada", {"body_data": {"weight": 60}}, {}),
    "delete, conditional": ("DELETE", "/users/free", None, {"If-Match": "*"}),
    "patch by filter": ("PATCH", "/users?user_id_in=ada,eve", {"body_data": {"weight": 60}}, {}),
    "erasure": ("DELETE", "/users/ada?cascade=true", None, {}),
    "batch": (
        "POST",
        "/batch",
        {
            "requests": [
                {"method": "POST", "url": "/users", "body": {"user_id": "new"}},
                {"method": "POST", "url": "/events", "body": [EVENT, EVENT]},
                {"method": "PATCH", "url": "/users/ada", "body": {"body_data": None}},
                {"method": "DELETE", "url": "/events?user_id=ada"},
            ]
        },
        {},
    ),
}


class Fault:
    """Makes the n-th statement of every transaction fail, before or after it ran, as a disk or a network does."""

    def __init__(self, url: str, patch: pytest.MonkeyPatch) -> None:
        self.place = 0
        self.is_after = False
        self._seen = 0
        self._error: Callable[[], Exception] = (
            (lambda: apsw.IOError("the disk is gone")) if is_sqlite(url) else (lambda: ConnectionResetError("gone"))
        )
        transaction = SqliteTransaction if is_sqlite(url) else PostgresqlTransaction
        for name in ("fetch", "fetch_long", "write", "change"):
            patch.setattr(transaction, name, self._wrapped(getattr(transaction, name)))

    def _wrapped(self, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def failing(transaction: Any, sql: str, arguments: Any) -> Any:
            self._seen += 1
            is_here = self._seen == self.place
            if is_here and not self.is_after:
                raise self._error()
            result = await run(transaction, sql, arguments)
            if is_here:
                raise self._error()
            return result

        return failing

    def set(self, place: int, *, is_after: bool) -> None:
        self.place, self.is_after, self._seen = place, is_after, 0


@pytest.fixture
def study(migrated_url: str) -> Iterator[httpx.Client]:
    with serving_database(migrated_url) as client:
        client.post("/users", json=[{"user_id": key, "body_data": {"height": 1}} for key in ("ada", "eve", "free")])
        client.post("/sessions", json={"session_id": "s", "user_id": "ada"})
        client.post("/events", json=[EVENT | {"user_id": "ada"}, EVENT])
        yield client


def stored(url: str) -> list[list[tuple[Any, ...]]]:
    return [run_sql(url, f"SELECT * FROM {table} ORDER BY {key}") for table, key in KEYS.items()]


@pytest.mark.parametrize("kind", REQUESTS)
def test_fault_at_any_statement_leaves_no_trace(
    study: httpx.Client, migrated_url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, path, body, headers = REQUESTS[kind]
    before = stored(migrated_url)
    fault = Fault(migrated_url, monkeypatch)
    places = 0
    while True:
        answers = []
        for is_after in (False, True):
            fault.set(places + 1, is_after=is_after)
            answers.append(study.request(method, path, json=body, headers=headers))
            if answers[0].status_code < 300:
                break
            assert answers[-1].status_code == 503
            assert stored(migrated_url) == before
        if answers[0].status_code < 300:
            break
        places += 1
    assert places >= 2, "this kind of request was to take several statements"
    assert "ignored" in kind or stored(migrated_url) != before


def test_server_that_dies_in_the_middle_leaves_no_trace(
    study: httpx.Client, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends the connection itself, at each statement in turn; the next request has a new one."""
    if is_sqlite(migrated_url):
        pytest.skip("SQLite has no server")
    before = stored(migrated_url)
    run = PostgresqlTransaction._noting
    place = 0

    async def dying(transaction: Any, statement: Any, sql: str, arguments: Any) -> Any:
        nonlocal place
        place -= 1
        if place == 0:
            pid = transaction._connection.get_server_pid()
            run_sql(migrated_url, f"SELECT pg_terminate_backend({pid})")
        return await run(transaction, statement, sql, arguments)

    monkeypatch.setattr(PostgresqlTransaction, "_noting", dying)
    method, path, body, _ = REQUESTS["batch"]
    for number in range(1, 8):
        place = number
        assert study.request(method, path, json=body).status_code == 503
        assert stored(migrated_url) == before
    place = 0
    assert study.request(method, path, json=body).status_code == 200


def test_lost_transactions_run_again(migrated_url: str) -> None:
    """Two who lock rows in opposite orders: PostgreSQL ends one, which is tried again and succeeds."""

    async def run() -> None:
        db = connect(settings_for(migrated_url))
        await db.open()
        try:
            for key in "ab":
                await db.write(
                    f"INSERT INTO users (user_id, created_at, updated_at) VALUES ('{key}', '{TIME}', '{TIME}')", ()
                )
            await asyncio.gather(*(transact(db, work(order)) for order in ("ab", "ba")))
        finally:
            await db.close()

    def work(order: str) -> Callable[[Connection], Awaitable[None]]:
        async def lock(db: Connection) -> None:
            for key in order:
                await db.change(f"UPDATE users SET updated_at = updated_at WHERE user_id = '{key}'", ())
                if not is_sqlite(migrated_url):
                    await asyncio.sleep(0.05)

        return lock

    asyncio.run(run())


def test_error_that_work_passes_over_is_not_committed_in_silence(migrated_url: str) -> None:
    """PostgreSQL would answer the COMMIT of a failed transaction with a ROLLBACK, and without an error."""

    async def run() -> list[Any]:
        db = connect(settings_for(migrated_url))
        await db.open()
        try:
            await transact(db, work)
            return list(await db.fetch("SELECT user_id FROM users ORDER BY user_id", ()))
        finally:
            await db.close()

    async def work(db: Connection) -> None:
        for key in ("a", "a", "b"):
            with contextlib.suppress(*db.driver_errors):
                await db.change(
                    f"INSERT INTO users (user_id, created_at, updated_at) VALUES ('{key}', '{TIME}', '{TIME}')", ()
                )

    assert [tuple(row) for row in asyncio.run(run())] == [("a",), ("b",)]


def test_work_that_waits_for_something_else_is_refused_on_sqlite() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="awaits nothing"):
        run_through(waits())


def _writer(path: Path) -> Writer:
    writer = Writer(path, settings_for(f"sqlite:///{path}"))
    writer._connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
    return writer


def _insert(*values: object) -> Callable[[apsw.Connection], Any]:
    def work(connection: apsw.Connection) -> Any:
        for value in values:
            connection.execute("INSERT INTO t VALUES (?)", (value,)).fetchall()
        return connection.changes()

    return work


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT i + 1000 FROM n"


@pytest.mark.parametrize("bad", ["constraint", "defect", "too long", "lost"])
def test_failing_unit_harms_none_of_its_group(tmp_path: Path, bad: str) -> None:
    """The group is made here, so that all are in it for certain."""
    from src.db.engines.sqlite_writer import in_savepoint

    def fails(connection: apsw.Connection) -> Any:
        _insert(100, 101)(connection)
        if bad == "constraint":
            _insert(1)(connection)
        elif bad == "defect":
            raise ZeroDivisionError
        elif bad == "too long":
            connection.execute(ENDLESS).fetchall()
        else:
            connection.execute("ROLLBACK")
            raise apsw.FullError("the disk is full")

    async def run() -> None:
        writer = _writer(tmp_path / "units.db")
        loop = asyncio.get_running_loop()
        limit = 0.2
        group = [
            Unit(_insert(1), limit, loop),
            Unit(lambda connection: in_savepoint(connection, _insert(2, 3)), limit, loop),
            Unit(lambda connection: in_savepoint(connection, fails), limit, loop),
            Unit(lambda connection: in_savepoint(connection, _insert(4, 5)), limit, loop),
            Unit(_insert(6), limit, loop),
        ]
        outcomes = await loop.run_in_executor(None, writer._run, group)
        assert [isinstance(outcome, Failure) for outcome in outcomes] == [False, False, True, False, False]
        rows = writer._connection.execute("SELECT x FROM t ORDER BY x").fetchall()
        assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6]
        assert not writer._connection.in_transaction
        await writer.close()

    asyncio.run(run())


def test_time_of_a_transaction_is_limited(migrated_url: str) -> None:
    async def run() -> None:
        db = connect(settings_for(migrated_url, statement_timeout_s=0.3))
        await db.open()
        try:
            with pytest.raises(DatabaseBusy):
                await transact(db, work)
            assert not await db.fetch("SELECT user_id FROM users", ())
        finally:
            await db.close()

    async def work(db: Connection) -> None:
        await db.change(f"INSERT INTO users (user_id, created_at, updated_at) VALUES ('a', '{TIME}', '{TIME}')", ())
        for _ in range(1000):
            if is_sqlite(migrated_url):
                counting = (
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT max(i) FROM n"
                )
                await db.fetch(counting, ())
            else:
                await db.fetch("SELECT pg_sleep(0.05)", ())

    asyncio.run(run())
