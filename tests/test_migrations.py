"""Migrations: the schema goes and comes back the same, readers are not stalled, and nobody loses rows by accident."""

import asyncio
import io
import os
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path

import alembic.config
import asyncpg
import pytest
from alembic import command
from sqlalchemy.engine import make_url

from scripts import reset_and_migrate
from src.db import migration, revisions
from src.db.introspection import current_revision
from tests.databases import is_sqlite, run_sql
from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[1]
NOW = "'2026-01-01T00:00:00+00:00'"
# What PostgreSQL itself says of columns, types, collations, defaults, constraints and indexes.
POSTGRESQL_SCHEMA = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, l.collname::text,
    pg_get_expr(d.adbin, d.adrelid)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid), NULL, NULL
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1, 2, 3
"""
# Everything is imported before the sign, so that the processes really meet in the database.
MIGRATE_ON_A_SIGN = """
import sys
from alembic import command, config
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.engine import make_url
from src.db.migration import upgrade
from src.db.revisions import head_revision
head_revision()
print("ready", flush=True)
sys.stdin.readline()
upgrade(make_url(sys.argv[1]))
"""


def schema_of(url: str) -> list[tuple[object, ...]]:
    if is_sqlite(url):
        return run_sql(url, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
    return run_sql(url, POSTGRESQL_SCHEMA)


def tables_of(url: str) -> set[object]:
    if is_sqlite(url):
        return {name for (name,) in run_sql(url, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return {name for (name,) in run_sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def run_command(url: str, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_upgrade_downgrade_upgrade_returns_to_the_same_schema(migrated_url: str) -> None:
    before = schema_of(migrated_url)
    command.downgrade(revisions.alembic_config(make_url(migrated_url)), "base")
    assert tables_of(migrated_url) == {"alembic_version"}
    migration.upgrade(make_url(migrated_url))
    assert schema_of(migrated_url) == before


def test_the_schema_is_what_schema_py_declares(migrated_url: str) -> None:
    command.check(revisions.alembic_config(make_url(migrated_url)))


def test_a_table_of_somebody_else_is_left_alone_by_autogenerate(migrated_url: str) -> None:
    run_sql(migrated_url, "CREATE TABLE theirs (id INTEGER PRIMARY KEY, note TEXT)")
    command.check(revisions.alembic_config(make_url(migrated_url)))


def test_a_migrated_database_is_at_the_newest_revision(migrated_url: str) -> None:
    assert asyncio.run(current_revision(make_url(migrated_url))) == revisions.head_revision()


def test_an_empty_database_is_at_no_revision(database_url: str) -> None:
    if is_sqlite(database_url):
        run_sql(database_url, "CREATE TABLE something (id INTEGER PRIMARY KEY)")
    assert asyncio.run(current_revision(make_url(database_url))) is None


def test_the_commands_of_the_readme_work_word_for_word(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(ROOT)
    for arguments in ("upgrade head", "check", "downgrade -1", "upgrade head", "current"):
        alembic.config.main(arguments.split())
    assert "users" in tables_of(database_url)


def test_the_directory_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'deep' / 'backend.db'}"
    migration.upgrade(make_url(url))
    assert run_sql(url, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("url", ["sqlite:///unused.db", "postgresql://nobody@nowhere/none"])
def test_statements_can_be_written_out_instead_of_run(url: str) -> None:
    with redirect_stdout(io.StringIO()) as output:
        config = revisions.alembic_config(make_url(url))
        config.output_buffer = output
        command.upgrade(config, "head", sql=True)
    assert "CREATE TABLE users" in output.getvalue()
    assert ("SET lock_timeout" in output.getvalue()) != is_sqlite(url)


def test_processes_that_migrate_at_once_all_succeed(database_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE_ON_A_SIGN, database_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert asyncio.run(current_revision(make_url(database_url))) == revisions.head_revision()


def test_a_migration_behind_a_long_reader_stalls_nobody_and_succeeds(
    postgres_server: PostgresServer, postgresql_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "LOCK_TIMEOUT_S", 0.3)
    url = postgres_server.create_database(template=postgresql_template)
    waits_s = asyncio.run(_read_while_migrating(url, reader_s=2.5))
    assert max(waits_s) < 1.0, "a short reader waited behind the migration for longer than its lock timeout"
    assert tables_of(url) == {"alembic_version"}
    postgres_server.drop_database(url)


async def _read_while_migrating(url: str, reader_s: float) -> list[float]:
    """Downgrade while a transaction that read `users` stays open; return how long short readers waited meanwhile."""
    config = revisions.alembic_config(make_url(url))
    migrating = threading.Thread(target=command.downgrade, args=(config, "base"))
    long_reader, short_reader = await asyncpg.connect(url), await asyncpg.connect(url)
    waits_s = []
    async with long_reader.transaction():
        await long_reader.fetch("SELECT * FROM users")
        migrating.start()
        end = time.monotonic() + reader_s
        while time.monotonic() < end:
            started = time.monotonic()
            await short_reader.fetch("SELECT * FROM users")
            waits_s.append(time.monotonic() - started)
            await asyncio.sleep(0.02)
        assert migrating.is_alive()
    await asyncio.to_thread(migrating.join, 30)
    assert not migrating.is_alive()
    await long_reader.close()
    await short_reader.close()
    return waits_s


def test_a_failing_migration_fails_at_once_and_leaves_nothing(database_url: str) -> None:
    run_sql(database_url, "CREATE TABLE recordings (id INTEGER PRIMARY KEY)")
    started = time.monotonic()
    with pytest.raises(Exception, match="recordings"):
        migration.upgrade(make_url(database_url))
    assert time.monotonic() - started < 5
    assert tables_of(database_url) - {"alembic_version"} == {"recordings"}


@pytest.fixture
def session_of_ada(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a SQLite file in which a session refers to a user."""
    (tmp_path / "copy.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    run_sql(url, f"INSERT INTO users (user_id, created_at, updated_at) VALUES ('ada', {NOW}, {NOW})")
    run_sql(url, f"INSERT INTO sessions VALUES ('s1', 'ada', NULL, NULL, NULL, {NOW}, {NOW})")
    return url


def test_a_table_can_be_made_anew_under_rows_that_refer_to_it(session_of_ada: str) -> None:
    with migration.sqlite_connection(make_url(session_of_ada)) as connection:
        connection.exec_driver_sql("CREATE TABLE new_users (user_id VARCHAR(255) PRIMARY KEY, name TEXT)")
        connection.exec_driver_sql("INSERT INTO new_users SELECT user_id, NULL FROM users")
        connection.exec_driver_sql("DROP TABLE users")
        connection.exec_driver_sql("ALTER TABLE new_users RENAME TO users")
    assert run_sql(session_of_ada, "SELECT session_id FROM sessions") == [("s1",)]


def test_a_change_that_leaves_rows_referring_to_nothing_is_undone(session_of_ada: str) -> None:
    with (
        pytest.raises(ValueError, match="refer to nothing"),
        migration.sqlite_connection(make_url(session_of_ada)) as connection,
    ):
        connection.exec_driver_sql("DELETE FROM users")
    assert run_sql(session_of_ada, "SELECT user_id FROM users") == [("ada",)]


def test_migrate_says_where_the_database_stands(database_url: str) -> None:
    done = run_command(database_url, "scripts.migrate")
    assert done.returncode == 0, done.stderr
    assert f"at revision {revisions.head_revision()}" in done.stdout


def test_migrate_says_when_there_is_no_database() -> None:
    done = run_command("postgresql://ada:secret@127.0.0.1:1/none", "scripts.migrate")
    assert done.returncode == 1
    assert "cannot be reached" in done.stdout
    assert "secret" not in done.stdout + done.stderr


class TestReset:
    @pytest.fixture(autouse=True)
    def a_row(self, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", migrated_url)
        run_sql(migrated_url, f"INSERT INTO users (user_id, created_at, updated_at) VALUES ('ada', {NOW}, {NOW})")
        run_sql(migrated_url, "CREATE TABLE theirs (user_id VARCHAR(255) REFERENCES users (user_id))")

    @pytest.mark.parametrize("answer", ["no\n", "\n", ""])
    def test_asks_first_and_takes_no_for_an_answer(
        self, migrated_url: str, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert reset_and_migrate.main([]) == 1
        assert "Nothing was changed" in capsys.readouterr().out
        assert run_sql(migrated_url, "SELECT user_id FROM users") == [("ada",)]

    def test_refuses_in_production(self, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENVIRONMENT", "production")
        assert reset_and_migrate.main(["--yes"]) == 1
        assert run_sql(migrated_url, "SELECT user_id FROM users") == [("ada",)]

    @pytest.mark.parametrize(("arguments", "answer"), [(["--yes"], ""), ([], "yes\n")])
    def test_drops_our_tables_only_and_makes_them_anew(
        self, migrated_url: str, arguments: list[str], answer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert reset_and_migrate.main(arguments) == 0
        assert run_sql(migrated_url, "SELECT user_id FROM users") == []
        assert "theirs" in tables_of(migrated_url)
        assert asyncio.run(current_revision(make_url(migrated_url))) == revisions.head_revision()
