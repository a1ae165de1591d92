"""/metrics and /version: what they tell, over all workers and their successors, and to whom."""

import asyncio
import contextlib
import fcntl
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import make_url

from scripts.service_process import ROOT, ServiceProcess
from src.api.metrics.exposition import GAUGES, expose
from src.api.metrics.figures import BOUNDS_S, Figures, Kind, RequestCounts, summed
from src.api.metrics.shared_folder import STALE_S, SharedFolder
from src.core.version import NAME, VERSION
from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers
from tests.databases import is_sqlite
from tests.server import serving, settings_for
from tests.test_rolling_restart import children, wait_until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """Every sample, by its name and its labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(client: httpx.Client) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


def requests(samples: Samples, method: str, route: str, code: str) -> float:
    return samples.get(("http_requests_total", frozenset({"method": method, "route": route, "code": code}.items())), 0)


def label_values(samples: Samples, label: str) -> set[str]:
    return {value for _, labels in samples for name, value in labels if name == label}


@pytest.fixture
def counted(migrated_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a service that has counted nothing yet, and shares its figures."""
    with serving(create_app(settings_for(migrated_url, metrics_dir=str(tmp_path / "figures")))) as client:
        yield client


def test_requests_are_counted_by_the_declared_path(counted: httpx.Client) -> None:
    sent = 0
    for key in ("ada", "ben", "eve"):
        assert counted.post("/users", json={"user_id": key}).status_code == 201
        read = counted.get(f"/users/{key}")
        assert read.status_code == 200
        sent += len(read.content)
    assert counted.get("/users/nobody").status_code == 404
    samples = scrape(counted)
    assert requests(samples, "POST", "/users", "201") == 3
    assert requests(samples, "GET", "/users/{user_id}", "200") == 3
    assert requests(samples, "GET", "/users/{user_id}", "404") == 1
    of_reads = {"method": "GET", "route": "/users/{user_id}"}
    assert samples["http_request_duration_seconds_count", frozenset((of_reads | {"status": "2xx"}).items())] == 3
    assert samples["http_request_duration_seconds_count", frozenset((of_reads | {"status": "4xx"}).items())] == 1
    assert 0 < samples["http_request_duration_seconds_sum", frozenset((of_reads | {"status": "2xx"}).items())] < 30
    assert samples["http_response_body_bytes_total", frozenset((of_reads | {"code": "200"}).items())] == sent


def test_buckets_are_cumulative_and_end_with_all_requests() -> None:
    counts = RequestCounts()
    for seconds in (0.0001, BOUNDS_S[0], 0.3, 1000.0):
        counts.add(("GET", "/x", 200), seconds, 10)
    samples = parse(expose({1: Figures(counts.series)}, {}).decode())
    labels = {"method": "GET", "route": "/x", "status": "2xx"}
    buckets = [
        samples["http_request_duration_seconds_bucket", frozenset((labels | {"le": str(bound)}).items())]
        for bound in (*BOUNDS_S, "+Inf")
    ]
    assert buckets[0] == 2
    assert buckets[BOUNDS_S.index(0.25)] == 2
    assert buckets[BOUNDS_S.index(0.5)] == 3
    assert buckets[-2:] == [3, 4]


def test_what_clients_invent_makes_no_series(counted: httpx.Client) -> None:
    for number in range(20):
        assert counted.request(f"M{number}", "/users").status_code == 405
        assert counted.get(f"/nothing-{number}/{number}").status_code == 404
        assert counted.get(f"/users/key-{number}?x={number}").status_code == 400
    samples = scrape(counted)
    assert label_values(samples, "method") <= {"GET", "other"}
    assert label_values(samples, "route") == {"/users", "-", "/users/{user_id}", "/health/live"}
    assert requests(samples, "other", "/users", "405") == 20
    assert requests(samples, "GET", "-", "404") == 20


def test_gauges_tell_of_the_database_and_the_process(counted: httpx.Client, migrated_url: str) -> None:
    counted.post("/users", json={"user_id": "ada"})
    samples = scrape(counted)
    here = {name for name, labels in samples if labels == {("worker", "1")}}
    missing = {"sqlite_writer_waiting", "sqlite_wal_bytes"}
    if is_sqlite(migrated_url):
        missing = {"database_pool_connections"}
    assert here == set(GAUGES) - missing
    of_worker = frozenset({("worker", "1")})
    assert samples["database_pool_size", of_worker] in (4, 10)
    assert samples["database_pool_in_use", of_worker] == 0
    assert samples["process_resident_memory_bytes", of_worker] > 20_000_000
    assert abs(samples["process_start_time_seconds", of_worker] - time.time()) < 60
    assert samples["process_cpu_seconds_total", frozenset()] > 0
    info = next(dict(labels) for name, labels in samples if name == "backendapi_info")
    assert info == {
        "version": VERSION,
        "python": platform.python_version(),
        "database": migrated_url.partition(":")[0].partition("+")[0],
    }


def test_running_export_is_seen_while_it_runs(counted: httpx.Client) -> None:
    rows = [{"event_type": "tap", "ts": "2026-01-01T00:00:00Z", "event_data": {"text": "x" * 3000}} for _ in range(250)]
    for _ in range(16):
        assert counted.post("/events", json=rows, headers={"Prefer": "return=minimal"}).status_code == 201
    of_worker = frozenset({("worker", "1")})
    with httpx.stream("GET", counted.base_url.join("/events?format=ndjson"), headers={"Accept-Encoding": "identity"}):
        assert scrape(counted)["database_exports_running", of_worker] == 1
    wait_until(lambda: scrape(counted)["database_exports_running", of_worker] == 0)


@contextlib.contextmanager
def holding_writers_up(url: str) -> Iterator[None]:
    """Let no write through: of SQLite by the lock of its writers, of PostgreSQL by a lock on the table."""
    if is_sqlite(url):
        with Path(f"{make_url(url).database}.turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield
        return
    with asyncio.Runner() as runner:
        connection: Any = runner.run(asyncpg.connect(url))
        transaction = connection.transaction()
        runner.run(transaction.start())
        runner.run(connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        yield
        runner.run(transaction.rollback())
        runner.run(connection.close())


def test_requests_that_wait_for_the_database_are_seen(migrated_url: str) -> None:
    name = "sqlite_writer_waiting" if is_sqlite(migrated_url) else "database_pool_waiting"
    of_worker = frozenset({("worker", "1")})
    with (
        serving(create_app(settings_for(migrated_url, pool_size=1, pool_wait_s=60, statement_timeout_s=60))) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        with holding_writers_up(migrated_url):
            first = pool.submit(client.post, "/users", json={"user_id": "first"})
            # The first is on its way; the others wait for it.
            wait_until(lambda: not first.done() and scrape(client)[name, of_worker] == 0)
            time.sleep(0.3)
            others = [pool.submit(client.post, "/users", json={"user_id": f"other-{number}"}) for number in (1, 2)]
            wait_until(lambda: scrape(client)[name, of_worker] == 2)
            if not is_sqlite(migrated_url):
                assert scrape(client)["database_pool_in_use", of_worker] == 1
                assert scrape(client)["database_pool_size", of_worker] == 1
        assert [each.result().status_code for each in (first, *others)] == [201] * 3
        assert scrape(client)[name, of_worker] == 0


def test_metrics_and_version_take_no_parameters(idle_client: httpx.Client) -> None:
    for path in ("/metrics?name[]=http_requests", "/version?x=1"):
        assert idle_client.get(path).status_code == 400


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as made:
        yield made


@pytest.mark.parametrize(
    ("principal", "metrics", "version"),
    [
        ("nobody", 401, 401),
        ("ada", 403, 200),
        ("researcher", 403, 200),
        ("service *:read", 403, 200),
        ("service metrics", 200, 200),
        ("service admin", 200, 200),
        ("admin", 200, 200),
    ],
)
def test_who_may_read_metrics_and_the_version(callers: Callers, principal: str, metrics: int, version: int) -> None:
    client = callers.client_of(principal)
    assert client.get("/metrics").status_code == metrics
    assert client.get("/version").status_code == version


def test_other_machines_read_nothing_without_authentication(idle_client: httpx.Client) -> None:
    for path in ("/metrics", "/version"):
        assert idle_client.get(path, headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 503


def test_version_names_what_runs(migrated_url: str) -> None:
    with serving(create_app(settings_for(migrated_url, git_commit="0a1b2c3"))) as client:
        client.get("/users")
        told = client.get("/version").json()
        described = client.get("/openapi.json").json()["info"]["version"]
    kind = migrated_url.partition(":")[0].partition("+")[0]
    assert (told["name"], told["version"], described) == (NAME, VERSION, VERSION)
    assert (told["commit"], told["python"], told["database"]) == ("0a1b2c3", platform.python_version(), kind)
    assert int(told["database_version"].partition(".")[0]) >= 3
    assert told["driver"].startswith({"sqlite": "apsw 3.", "postgresql": "asyncpg 0."}[kind])


def test_workers_tell_the_same_and_counters_outlive_them(migrated_url: str) -> None:
    with ServiceProcess({"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": "2", "DRAIN_S": "1"}) as service:
        service.start()
        service.wait_until_up()
        ask(service, "/users", 50)
        wait_until(lambda: told(service, "/users") == 50)
        # Whichever worker answers, it tells of both.
        assert {told(service, "/users") for _ in range(20)} == {50}
        wait_until(lambda: label_values(scraped(service), "worker") == {"1", "2"})
        os.kill(min(children(service.pid)), signal.SIGKILL)
        assert told(service, "/users") == 50
        wait_until(lambda: len(children(service.pid)) == 2)
        old = children(service.pid)
        service.signal(signal.SIGHUP)
        lowest = [told(service, "/users")]
        while children(service.pid) & old or len(children(service.pid)) != 2:
            lowest.append(told(service, "/users"))
        assert set(lowest) == {50}
        ask(service, "/users", 7)
        wait_until(lambda: told(service, "/users") == 57)
        wait_until(lambda: len(label_values(scraped(service), "worker")) == 2)


def test_plain_uvicorn_counts_without_a_folder(migrated_url: str) -> None:
    with serving(create_app(settings_for(migrated_url))) as client:
        client.get("/users")
        assert requests(scrape(client), "GET", "/users", "200") == 1


def test_folder_that_cannot_be_written_is_no_error(migrated_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serving(create_app(settings_for(migrated_url, metrics_dir=str(tmp_path / "file" / "x")))) as client:
        client.get("/users")
        assert requests(scrape(client), "GET", "/users", "200") == 1


def counted_once(route: str) -> Figures:
    counts = RequestCounts()
    counts.add(("GET", route, 200), 0.1, 1)
    return Figures(counts.series, cpu_s=1.0, gauges={"process_open_fds": 7})


def test_successor_counts_on_from_what_was_left(tmp_path: Path) -> None:
    first, other = SharedFolder(tmp_path), SharedFolder(tmp_path)
    assert (first.number, other.number) == (1, 2)
    first.write(first.continued(counted_once("/x")))
    first.leave()
    successor = SharedFolder(tmp_path)
    assert successor.number == 1
    figures = successor.continued(counted_once("/x"))
    assert [(series.kind, sum(series.counts), series.seconds) for series in figures.series] == [
        (Kind("GET", "/x", 200), 2, pytest.approx(0.2))
    ]
    assert figures.cpu_s == 2.0
    successor.leave()
    other.leave()


def test_what_the_dead_said_of_the_moment_is_forgotten(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path)
    folder.write(counted_once("/x"))
    assert folder.read()[1].gauges == {"process_open_fds": 7}
    past = time.time() - STALE_S - 1
    os.utime(tmp_path / "1.json", (past, past))
    assert folder.read()[1].gauges == {}
    assert sum(sum(series.counts) for series in summed(folder.read().values())) == 1
    folder.leave()


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda text: text[:-9], lambda text: text.replace(b"0.0005", b"1")])
def test_files_that_cannot_be_added_up_are_left_out(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    folder = SharedFolder(tmp_path)
    folder.write(counted_once("/x"))
    (tmp_path / "2.json").write_bytes(spoil((tmp_path / "1.json").read_bytes()))
    (tmp_path / "other.json").write_bytes((tmp_path / "1.json").read_bytes())
    assert list(folder.read()) == [1]
    folder.leave()


def client_of(service: ServiceProcess) -> httpx.Client:
    # Without certificates, which take a client tens of milliseconds to read.
    return httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=30, verify=False)


def ask(service: ServiceProcess, path: str, times: int) -> None:
    """Ask over connections of their own, so that every worker gets some."""
    for _ in range(times):
        with client_of(service) as client:
            assert client.get(path).status_code == 200


def scraped(service: ServiceProcess) -> Samples:
    with client_of(service) as client:
        return scrape(client)


def told(service: ServiceProcess, route: str) -> float:
    return requests(scraped(service), "GET", route, "200")


def test_the_shared_folder_ends_with_the_service(sqlite_template: Path, tmp_path: Path) -> None:
    folder: Any = tmp_path / "temporary"
    folder.mkdir()
    environment = {"DATABASE_URL": f"sqlite:///{sqlite_template}", "TMPDIR": str(folder)}
    with ServiceProcess(environment) as service:
        service.start()
        service.wait_until_up()
        assert list(folder.glob("backendapi-metrics-*/1.lock"))
        service.signal(signal.SIGTERM)
        assert service.exit_code(20) == 0
    assert not list(folder.glob("backendapi-metrics-*"))


def test_every_metric_stands_in_the_documentation() -> None:
    counts = RequestCounts()
    counts.add(("GET", "/x", 200), 0.1, 1)
    families = text_string_to_metric_families(expose({1: Figures(counts.series)}, {}).decode())
    page = (ROOT / "docs" / "operations.md").read_text()
    named = {family.name for family in families}
    assert set(GAUGES) < named
    assert not [name for name in named if f"`{name}" not in page]
