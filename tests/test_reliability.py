"""A database that is away, busy or slow: 503 with Retry-After, never 500, and recovery without a restart."""

import asyncio
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import httpx
import psutil
import pytest
from sqlalchemy.engine import make_url

from scripts.service_process import ServiceProcess
from src.db.migration import upgrade
from tests.postgres import PostgresServer

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z", "event_data": {"screen": "home"}}


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that these tests may stop, also where `TEST_DATABASE_URL` names one that they may not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEST_DATABASE_URL", raising=False)
        server = PostgresServer().start()
    yield server
    server.close()


@pytest.fixture
def own_url(own_server: PostgresServer) -> Iterator[str]:
    own_server.start()
    url = own_server.create_database()
    upgrade(make_url(url))
    yield url
    own_server.start()
    own_server.drop_database(url)


@contextmanager
def service(url: str, tmp_path: Path, **settings: object) -> Iterator[httpx.Client]:
    environment = {name.upper(): str(value) for name, value in settings.items()}
    with ServiceProcess({"DATABASE_URL": url, **environment}, log=tmp_path / "service.log") as process:
        process.start()
        process.wait_until_up()
        with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=30) as client:
            yield client


def is_unavailable(response: httpx.Response) -> bool:
    body = response.json()
    return response.status_code == 503 and int(response.headers["retry-after"]) > 0 and isinstance(body["detail"], str)


def wait_for(status: int, ask: Callable[[], httpx.Response], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while (answer := ask()).status_code != status:
        assert answer.status_code < 500 or answer.status_code == 503
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def median_ms(ask: Callable[[], httpx.Response], times: int = 15) -> float:
    durations = []
    for _ in range(times):
        began = time.perf_counter()
        assert ask().status_code == 200
        durations.append((time.perf_counter() - began) * 1000)
    return sorted(durations)[times // 2]


def test_service_starts_while_postgresql_is_away_and_recovers_alone(
    own_server: PostgresServer, own_url: str, tmp_path: Path
) -> None:
    own_server.stop()
    with service(own_url, tmp_path) as client:
        for path in ("/users", "/users/ada", "/health/ready"):
            assert is_unavailable(client.get(path)), path
        assert is_unavailable(client.post("/users", json={"user_id": "ada"}))
        assert median_ms(lambda: client.get("/health/live")) < 50
        own_server.start()
        wait_for(201, lambda: client.post("/users", json={"user_id": "ada"}))
        wait_for(200, lambda: client.get("/health/ready"))


def test_postgresql_restarted_under_load_loses_no_acknowledged_row(
    own_server: PostgresServer, own_url: str, tmp_path: Path
) -> None:
    with service(own_url, tmp_path) as client:
        statuses: list[int] = []
        acknowledged: list[str] = []
        is_over = threading.Event()

        def write() -> None:
            with httpx.Client(base_url=client.base_url, timeout=30) as own_client:
                while not is_over.is_set():
                    answer = own_client.post("/events", json=EVENT)
                    statuses.append(answer.status_code)
                    if answer.status_code == 201:
                        acknowledged.append(answer.headers["location"])

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        own_server.restart("immediate")
        wait_for(200, lambda: client.get("/users"))
        before = len(acknowledged)
        time.sleep(0.5)
        is_over.set()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {201, 503}
        assert len(acknowledged) > before > 0
        assert [path for path in acknowledged if client.get(path).status_code != 200] == []


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Hold a lock that every read of the table waits for."""
    is_locked, is_over = threading.Event(), threading.Event()

    async def hold() -> None:
        connection: Any = await asyncpg.connect(url)
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            is_locked.set()
            await asyncio.to_thread(is_over.wait)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    assert is_locked.wait(10)
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_statement_over_its_time_limit_is_503(own_url: str, tmp_path: Path) -> None:
    with service(own_url, tmp_path, statement_timeout_s=0.3) as client:
        with locked(own_url, "users"):
            assert is_unavailable(client.get("/users"))
            assert "time limit" in client.get("/users").json()["detail"]
            assert median_ms(lambda: client.get("/health/live")) < 50
        assert client.get("/users").status_code == 200


def test_exhausted_pool_is_503_and_others_go_on(own_url: str, tmp_path: Path) -> None:
    with service(own_url, tmp_path, pool_size=1, pool_wait_s=0.3, web_concurrency=1) as client:
        with locked(own_url, "users"):
            waiting = threading.Thread(target=lambda: httpx.get(f"{client.base_url}/users", timeout=30))
            waiting.start()
            time.sleep(0.5)
            assert is_unavailable(client.get("/algos"))
            assert median_ms(lambda: client.get("/health/live")) < 50
        waiting.join()
        assert client.get("/algos").status_code == 200


@pytest.fixture
def large_file(tmp_path: Path, sqlite_template: Path) -> str:
    """A SQLite file in which a filter that no index serves takes a while."""
    path = tmp_path / "large.db"
    path.write_bytes(sqlite_template.read_bytes())
    connection = apsw.Connection(str(path))
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
        "INSERT INTO event_log (event_id, event_type, ts, created_at, updated_at) "
        "SELECT printf('%08x-0000-7000-8000-000000000000', i), 'tap', '2026', '2026', '2026' FROM n"
    ).fetchall()
    connection.close()
    return f"sqlite:///{path}"


def test_slow_read_on_sqlite_holds_nobody_up_and_ends_at_its_limit(large_file: str, tmp_path: Path) -> None:
    with service(large_file, tmp_path, statement_timeout_s=0.02) as client:
        assert is_unavailable(client.get("/events", params={"log_level": "none"}))
        is_over = threading.Event()

        def read_slowly() -> None:
            with httpx.Client(base_url=client.base_url, timeout=30) as own_client:
                while not is_over.is_set():
                    own_client.get("/events", params={"log_level": "none"})

        thread = threading.Thread(target=read_slowly)
        thread.start()
        assert median_ms(lambda: client.get("/users")) < 50
        is_over.set()
        thread.join()


def test_slow_read_within_its_limit_is_answered(large_file: str, tmp_path: Path) -> None:
    with service(large_file, tmp_path) as client:
        assert client.get("/events", params={"log_level": "none"}).json() == []


def test_file_locked_by_another_process_is_503_and_then_written(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "shared.db"
    path.write_bytes(sqlite_template.read_bytes())
    with service(f"sqlite:///{path}", tmp_path, pool_wait_s=0.3) as client:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE").fetchall()
        answers: list[httpx.Response] = []

        def create(key: str) -> None:
            answers.append(httpx.post(f"{client.base_url}/users", json={"user_id": key}, timeout=30))

        threads = [threading.Thread(target=create, args=(key,)) for key in ("ada", "eve", "bob")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(is_unavailable(answer) for answer in answers)
        assert client.get("/users").json() == []
        other.execute("ROLLBACK").fetchall()
        other.close()
        wait_for(201, lambda: client.post("/users", json={"user_id": "ada"}))
        assert [row["user_id"] for row in client.get("/users").json()] == ["ada"]


def test_failing_write_never_harms_the_others_in_its_commit_group(migrated_url: str, tmp_path: Path) -> None:
    async def create_all(base_url: str) -> list[int]:
        async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
            bodies = [{"user_id": f"user-{number % 50}"} for number in range(200)]
            answers = await asyncio.gather(*(client.post("/users", json=body) for body in bodies))
            return [answer.status_code for answer in answers]

    with service(migrated_url, tmp_path) as client:
        statuses = asyncio.run(create_all(str(client.base_url)))
        assert (statuses.count(201), statuses.count(409)) == (50, 150)
        assert len(client.get("/users", params={"size": 100}).json()) == 50


def test_unmigrated_database_is_503_and_says_what_to_run(database_url: str, tmp_path: Path) -> None:
    with service(database_url, tmp_path) as client:
        answer = client.get("/users")
        assert is_unavailable(answer)
        assert "alembic upgrade head" in answer.json()["detail"]
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert "alembic upgrade head" in ready.json()["detail"]


def test_readiness_names_a_column_that_differs(migrated_url: str, tmp_path: Path) -> None:
    with service(migrated_url, tmp_path) as client:
        assert client.get("/health/ready").status_code == 200
        _execute(migrated_url, "ALTER TABLE algos RENAME COLUMN location TO place")
        wait_for(503, lambda: client.get("/health/ready"))
        assert "algos.location" in client.get("/health/ready").json()["detail"]


def _execute(url: str, statement: str) -> None:
    async def execute() -> None:
        connection: Any = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    if url.startswith("postgresql"):
        asyncio.run(execute())
        return
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    connection.execute(statement).fetchall()
    connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the size of another process's files is limited on Linux alone")
@pytest.mark.parametrize("event", [EVENT, EVENT | {"device_id": "phone", "seq": 1, "sent_at": EVENT["ts"]}])
def test_a_sqlite_file_that_cannot_grow_is_503_and_recovers_alone(
    sqlite_template: Path, tmp_path: Path, event: dict[str, Any]
) -> None:
    path = tmp_path / "small.db"
    path.write_bytes(sqlite_template.read_bytes())
    environment = {"DATABASE_URL": f"sqlite:///{path}", "LOG_LEVEL": "WARNING"}
    with ServiceProcess(environment, log=tmp_path / "service.log") as process:
        process.start()
        process.wait_until_up()
        with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=30) as client:
            assert client.post("/users", json={"user_id": "ada"}).status_code == 201
            limit_files_of(process, 1)
            for path_, body in [("/events", event), ("/events", [event]), ("/events/-/batch", [event])]:
                answer = client.post(path_, json=body)
                assert is_unavailable(answer), f"{path_}: {answer.status_code} {answer.text}"
            limit_files_of(process, resource.RLIM_INFINITY)
            wait_for(201, lambda: client.post("/events", json=event))
            assert len(client.get("/events").json()) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/events/-/batch", b'{"batch":[' + b"[]," * 2_000_000 + b"x]}"),
        ("/events/-/batch", b"[" + b'{"a":1e2},' * 700_000 + b"{}]"),
        ("/events", b"[" + b'{"a":1e2},' * 700_000 + b"{}]"),
    ],
    ids=["broken", "other digits", "other digits as rows"],
)
def test_a_body_that_is_slow_to_read_holds_up_nobody(migrated_url: str, tmp_path: Path, path: str, body: bytes) -> None:
    with service(migrated_url, tmp_path, web_concurrency=1) as client, ThreadPoolExecutor(1) as other:
        began, longest_s = time.monotonic(), 0.0
        headers = {"Content-Type": "application/json"}
        sending = other.submit(client.post, path, content=body, headers=headers)
        while not sending.done():
            asked = time.monotonic()
            assert client.get("/health/live").status_code == 200
            longest_s = max(longest_s, time.monotonic() - asked)
        assert sending.result().status_code in (400, 413)
        assert longest_s < (time.monotonic() - began) / 2


def limit_files_of(process: ServiceProcess, size: int) -> None:
    """Let no file of the service grow past this many bytes."""
    for worker in psutil.Process(process.pid).children():
        _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size, most))
