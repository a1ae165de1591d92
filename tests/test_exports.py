"""Exports: all rows in each format, from one snapshot, cut off visibly, and nothing kept behind."""

import csv
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import httpx
import polars
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from src.db.engines.exports import next_batch, size_of
from src.db.engines.sqlite_export import _take
from src.main import create_app
from tests.databases import is_sqlite, run_sql
from tests.server import serving, settings_for
from tests.study import EVENTS, number

MANY = """
INSERT INTO event_log (event_id, event_type, event_data, ts, created_at, updated_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT {id}, 'tap', '{{"screen":"home","padding":"{padding}"}}', {ts}, {ts}, {ts} FROM n
"""
ON_SQLITE = {"id": "printf('00000000-0000-7000-8000-%012d', i)", "ts": "'2026-01-01T00:00:00+00:00'"}
ON_POSTGRESQL = {
    "id": "('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid",
    "ts": "timestamptz '2026-01-01T00:00:00+00:00'",
}


def fill(url: str, rows: int, padding: str = "") -> None:
    """Put many events into a database."""
    parts = ON_SQLITE if is_sqlite(url) else ON_POSTGRESQL
    run_sql(url, MANY.format(rows=rows, padding=padding, **parts))


def as_ndjson(content: bytes) -> list[Any]:
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize(
    "query", ["", "event_type=open", "sort=event_type,-ts", "fields=ts,event_data.screen", "event_type=no"]
)
def test_ndjson_has_the_rows_that_the_pages_have(asked: httpx.Client, query: str) -> None:
    export = asked.get(f"/events?format=ndjson&{query}")
    assert export.headers["content-type"] == "application/x-ndjson"
    assert 'filename="event_log.ndjson"' in export.headers["content-disposition"]
    expected = asked.get(f"/events?size=100&{query}").json()
    assert (as_ndjson(export.content) if expected else export.content.splitlines()) == expected


def test_related_rows_and_aggregates_are_exported_too(asked: httpx.Client) -> None:
    assert (
        as_ndjson(asked.get("/users?expand=sessions&format=ndjson").content)
        == asked.get("/users?expand=sessions").json()
    )
    url = "/events/-/aggregate?group=event_type&select=count,max(ts)"
    assert as_ndjson(asked.get(f"{url}&format=ndjson").content) == asked.get(f"{url}&size=100").json()


ACCEPTED = [
    ("application/x-ndjson", "application/x-ndjson"),
    ("text/csv", "text/csv; charset=utf-8"),
    ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
    ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
    ("application/json, text/csv;q=0.5", "application/json"),
    ("application/json;q=0.5, text/csv", "text/csv; charset=utf-8"),
    ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
    ("image/png", "application/json"),
    ("text/csv;q=0", "application/json"),
    ("text/csv;q=x, */*", "application/json"),
]


@pytest.mark.parametrize(("accepted", "media_type"), ACCEPTED)
def test_format_is_the_one_that_the_client_likes_best(asked: httpx.Client, accepted: str, media_type: str) -> None:
    assert asked.get("/algos", headers={"Accept": accepted}).headers["content-type"] == media_type
    named = asked.get("/algos?format=json", headers={"Accept": accepted})
    assert named.headers["content-type"] == "application/json"
    assert "Accept" in named.headers["vary"]


def test_csv_is_what_rfc_4180_says_and_tells_null_from_empty(client: httpx.Client) -> None:
    rows = [
        {"algo_id": "1", "recording_type": 'a "quoted", text', "location": "line\r\nline\n", "version": ""},
        {"algo_id": "2", "recording_type": "=1+1", "location": "-x", "version": "é🐘"},
    ]
    for row in rows:
        assert client.post("/algos", json=row).status_code == 201
    client.post("/users", json={"user_id": "ada", "body_data": {"height": 1.5, "note": 'a"b'}})
    text = client.get("/algos?format=csv&fields=algo_id,recording_type,location,version").content.decode()
    assert text.splitlines(keepends=True)[0] == "algo_id,recording_type,location,version\r\n"
    assert '1,"a ""quoted"", text","line\r\nline\n",""\r\n' in text
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == rows
    users = client.get("/users?format=csv&fields=user_id,firebase_data,body_data,body_data.height").text
    assert users.splitlines()[1] == 'ada,,"{""height"":1.5,""note"":""a\\""b""}",1.5'
    excel = client.get("/algos", params={"format": "csv;excel", "fields": "recording_type,location"}).content
    assert excel.startswith(b"\xef\xbb\xbf")
    assert b"'=1+1,'-x\r\n" in excel


@pytest.mark.parametrize("format_", ["csv", "parquet", "arrow"])
def test_members_may_have_odd_names(asked: httpx.Client, format_: str) -> None:
    names = ['event_data."a.b".""', 'event_data."q\\"\\\\"', "event_data.\n", "event_data.é", "event_id"]
    query = {"fields": ",".join(names), "format": format_, "event_type": "100%"}
    content = asked.get("/events", params=query).content
    if format_ == "csv":
        (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    else:
        read = read_parquet if format_ == "parquet" else read_arrow
        (row,) = read(content, Path()).to_pylist()
    assert list(row) == names
    assert row[names[0]] == "x"


def test_csv_of_the_study_reads_back_equal(asked: httpx.Client) -> None:
    text = asked.get("/events?format=csv&sort=event_id").content.decode()
    for row, event in zip(csv.DictReader(io.StringIO(text, newline="")), EVENTS, strict=True):
        assert number(row) == number(event)
        assert row["user_id"] == (event.get("user_id") or "")
        assert json.loads(row["event_data"] or "null") == event.get("event_data")
        assert datetime.fromisoformat(row["ts"]) == datetime.fromisoformat(event["ts"].replace("Z", "+00:00"))


def read_parquet(content: bytes, _: Path) -> pyarrow.Table:
    return pyarrow.parquet.read_table(io.BytesIO(content))


def read_arrow(content: bytes, _: Path) -> pyarrow.Table:
    return pyarrow.ipc.open_stream(content).read_all()


def by_polars(content: bytes, _: Path) -> pyarrow.Table:
    return polars.read_parquet(io.BytesIO(content)).to_arrow()


def by_polars_from_arrow(content: bytes, _: Path) -> pyarrow.Table:
    return polars.read_ipc_stream(io.BytesIO(content)).to_arrow()


def by_duckdb(content: bytes, folder: Path) -> pyarrow.Table:
    path = folder / "events.parquet"
    path.write_bytes(content)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.sql(f"SELECT * FROM read_parquet('{path}')").to_arrow_table()


READERS = [
    ("parquet", read_parquet),
    ("arrow", read_arrow),
    ("parquet", by_polars),
    ("arrow", by_polars_from_arrow),
    ("parquet", by_duckdb),
]


@pytest.mark.parametrize(("format_", "read"), READERS, ids=[f"{name}-{read.__name__}" for name, read in READERS])
def test_columnar_exports_carry_types_and_come_back_equal(
    asked: httpx.Client, tmp_path: Path, format_: str, read: Callable[[bytes, Path], pyarrow.Table]
) -> None:
    table = read(asked.get(f"/events?format={format_}&sort=event_id").content, tmp_path)
    assert table.num_rows == len(EVENTS)
    type_ = table.schema.field("ts").type
    assert pyarrow.types.is_timestamp(type_)
    assert (type_.unit, type_.tz) == ("us", "UTC")
    for row, event in zip(table.to_pylist(), EVENTS, strict=True):
        assert row["user_id"] == event.get("user_id")
        assert row["ts"] == datetime.fromisoformat(event["ts"].replace("Z", "+00:00"))
        assert json.loads(row["event_data"] or "null") == event.get("event_data")
        assert row["created_at"].tzinfo is not None


def test_columnar_exports_of_aggregates_have_numbers(asked: httpx.Client) -> None:
    url = "/events/-/aggregate?group=event_type,ts.day,event_data.screen&select=count,sum(event_data.dur),max(ts)"
    table = read_parquet(asked.get(f"{url}&format=parquet").content, Path())
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "event_type": "string",
        "ts.day": "timestamp[us, tz=UTC]",
        "event_data.screen": "string",
        "count": "int64",
        "sum(event_data.dur)": "double",
        "max(ts)": "timestamp[us, tz=UTC]",
    }
    assert "home" in table.column("event_data.screen").to_pylist()


@pytest.mark.parametrize("format_", ["parquet", "arrow", "csv", "ndjson"])
def test_export_of_nothing_is_whole(asked: httpx.Client, format_: str) -> None:
    content = asked.get(f"/events?event_type=nothing&format={format_}").content
    if format_ == "parquet":
        assert read_parquet(content, Path()).num_rows == 0
    elif format_ == "arrow":
        assert read_arrow(content, Path()).num_rows == 0
    else:
        assert len(content.splitlines()) == (1 if format_ == "csv" else 0)


@pytest.mark.parametrize("format_", ["ndjson", "csv", "parquet"])
def test_many_rows_come_once_each_in_order(client: httpx.Client, migrated_url: str, format_: str) -> None:
    fill(migrated_url, 10_000)
    content = client.get(f"/events?format={format_}&fields=event_id&sort=event_id").content
    if format_ == "parquet":
        ids = read_parquet(content, Path()).column("event_id").to_pylist()
    elif format_ == "csv":
        ids = content.decode().splitlines()[1:]
    else:
        ids = [row["event_id"] for row in as_ndjson(content)]
    assert ids == [f"00000000-0000-7000-8000-{n:012d}" for n in range(1, 10_001)]


@pytest.mark.parametrize("long", [1, 400_000, 900_000])
def test_batches_are_bounded_by_the_size_of_rows(long: int) -> None:
    rows, count, seen = [("x" * (long if number > 700 else 100),) for number in range(1000)], 100, 0
    while seen < len(rows):
        batch = rows[seen : seen + count]
        seen += len(batch)
        count = next_batch(batch)
        assert 1 <= count <= 500
    assert count * long < 2_000_000
    on_sqlite, taken = iter(rows), 0
    while batch := list(_take(on_sqlite, 500)):
        taken += len(batch)
        assert size_of(batch) < 500_000 + long + 100
    assert taken == len(rows)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("format=xml", "xml is no format"),
        ("format=cvs", "did you mean csv?"),
        ("format=csv&size=5", "size has no meaning in csv"),
        ("format=ndjson&page=2", "page has no meaning in ndjson"),
        ("format=parquet&cursor=x", "cursor"),
        ("format=csv&event_typ=tap", "did you mean event_type?"),
    ],
)
def test_what_cannot_be_exported_is_refused(asked: httpx.Client, query: str, said: str) -> None:
    refused = asked.get(f"/events?{query}")
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert said in refused.json()["detail"]


def test_head_of_an_export_runs_nothing(asked: httpx.Client) -> None:
    answer = asked.head("/events?format=csv")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/csv")


def test_export_shows_one_moment(client: httpx.Client, migrated_url: str) -> None:
    """Rows that are written while an export runs are not in it, those that are deleted are."""
    fill(migrated_url, 20_000, padding="x" * 500)
    with client.stream("GET", "/events?format=ndjson&fields=event_id,event_data&sort=-event_id") as export:
        lines = export.iter_lines()
        first = json.loads(next(lines))
        assert client.delete("/events/00000000-0000-7000-8000-000000000001").status_code == 204
        later = {"event_id": "00000000-0000-7000-8000-000000000000", "event_type": "late", "ts": "2026-01-01T00:00:00Z"}
        assert client.post("/events", json=later).status_code == 201
        ids = [first["event_id"], *(json.loads(line)["event_id"] for line in lines)]
    assert len(ids) == 20_000
    assert ids[-1].endswith("000000000001")


def open_exports(url: str) -> int:
    """How many snapshots the database keeps for exports."""
    return int(
        run_sql(
            url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'FETCH%'"
        )[0][0]
    )


def wait_until(is_so: Callable[[], bool], timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def ask_and_read_nothing(client: httpx.Client, path: str) -> socket.socket:
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 80))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert connection.recv(15) == b"HTTP/1.1 200 OK"
    return connection


def test_client_that_goes_away_frees_its_place(migrated_url: str) -> None:
    fill(migrated_url, 60_000, padding="x" * 500)
    with serving(create_app(settings_for(migrated_url, max_exports=1))) as client:
        connection = ask_and_read_nothing(client, "/events?format=ndjson")
        wait_until(lambda: client.get("/events?format=csv&event_type=no").status_code == 503)
        busy = client.get("/events?format=csv&event_type=no")
        assert busy.headers["retry-after"]
        assert "as many exports" in busy.json()["detail"]
        assert client.get("/events?size=1").status_code == 200
        connection.close()
        wait_until(lambda: client.get("/events?format=csv&event_type=no").status_code == 200)
        if not is_sqlite(migrated_url):
            wait_until(lambda: open_exports(migrated_url) == 0)


def test_client_that_reads_nothing_is_cut_off(migrated_url: str) -> None:
    fill(migrated_url, 60_000, padding="x" * 500)
    with serving(create_app(settings_for(migrated_url, max_exports=1, export_stall_s=0.5))) as client:
        with ask_and_read_nothing(client, "/events?format=ndjson") as connection:
            wait_until(lambda: client.get("/events?format=csv&event_type=no").status_code == 503)
            wait_until(lambda: client.get("/events?format=csv&event_type=no").status_code == 200)
            received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        # A whole answer ends with an empty chunk.
        assert not received.endswith(b"0\r\n\r\n")


def read_slowly(client: httpx.Client, path: str) -> int:
    """Read an answer with a pause after every piece; the number of its bytes."""
    size = 0
    with client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as answer:
        for piece in answer.iter_bytes():
            size += len(piece)
            time.sleep(0.02)
    return size


def test_export_past_its_time_is_cut_off_visibly(migrated_url: str) -> None:
    fill(migrated_url, 60_000, padding="x" * 500)
    with serving(create_app(settings_for(migrated_url, export_timeout_s=0.4))) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            read_slowly(client, "/events?format=ndjson")
        assert client.get("/events?size=1").status_code == 200


def test_slow_export_lets_the_log_of_sqlite_not_grow_without_end(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{path}"
    fill(url, 60_000, padding="x" * 500)
    log = Path(f"{path}-wal")
    limits = {"export_wal_limit_bytes": 2**21, "sqlite_wal_limit_bytes": 2**20, "max_exports": 1}
    with serving(create_app(settings_for(url, **limits))) as client:
        with ask_and_read_nothing(client, "/events?format=ndjson"):
            wait_until(lambda: client.get("/events?format=csv&event_type=no").status_code == 503)
            largest = write_for(client, log, seconds=2.5)
        assert largest < 2**24
        wait_until(lambda: client.get("/events?format=csv&event_type=no").status_code == 200)
        write_for(client, log, seconds=0.3)
        assert log.stat().st_size < 2**22


def write_for(client: httpx.Client, log: Path, seconds: float) -> int:
    """Write events for some seconds; the largest size that the log had."""
    largest = 0
    end = time.monotonic() + seconds
    event = {"event_type": "x", "ts": "2026-01-01T00:00:00Z", "event_data": {"padding": "y" * 20_000}}

    def write() -> None:
        while time.monotonic() < end:
            assert client.post("/events", json=event).status_code == 201

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        largest = max(largest, log.stat().st_size)
        time.sleep(0.02)
    return largest
