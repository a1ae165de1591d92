"""Introspection: what it says of a table that is not as the models have it."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from src.codegen.literals import NoLiteral, read_default
from src.core.errors import DatabaseAway
from src.core.models import TableModels
from src.core.tables import Kind
from src.db.introspection import current_revision, differences, read_tables
from src.models import algos, event_log, recordings, sessions, users
from tests.databases import is_sqlite, run_sql

SHIPPED: list[TableModels] = [module.TABLE for module in (algos, event_log, recordings, sessions, users)]


def differences_in(url: str) -> list[str]:
    tables = asyncio.run(read_tables(make_url(url)))
    return [text for models in SHIPPED for text in differences(models.info, tables.get(models.table))]


def test_a_migrated_database_is_what_the_models_say(migrated_url: str) -> None:
    assert differences_in(migrated_url) == []


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DROP TABLE event_log", "table event_log is missing: run alembic upgrade head"),
        ("ALTER TABLE users DROP COLUMN body_data", "users.body_data is missing in the database"),
        ("ALTER TABLE users ADD COLUMN age INTEGER NOT NULL DEFAULT 1", None),
        ("ALTER TABLE users ADD COLUMN age INTEGER", None),
    ],
)
def test_a_difference_is_named(migrated_url: str, statement: str, sentence: str | None) -> None:
    run_sql(migrated_url, statement)
    found = differences_in(migrated_url)
    assert len(found) == (1 if sentence else 0)
    assert all(text.startswith(str(sentence)) for text in found)


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("ts TEXT NOT NULL", "event_log.ts: the model says timestamp, the database text"),
        ("ts {timestamp}", "event_log.ts: the model says not null, the database null is allowed"),
        ("ts {timestamp} NOT NULL, more INTEGER NOT NULL", "event_log.more must not be null in the database"),
    ],
)
def test_a_difference_of_a_column_is_named(migrated_url: str, column: str, sentence: str) -> None:
    sqlite = is_sqlite(migrated_url)
    timestamp = "DATETIME" if sqlite else "TIMESTAMPTZ"
    others = [
        f"{name} VARCHAR(255){' NOT NULL' if name == 'event_type' else ''}"
        for name in ("user_id", "session_id", "event_type", "event_source", "log_level", "device_id")
    ]
    others += [f"{name} BIGINT" for name in ("utc_offset_min", "seq")]
    definition = ", ".join(
        [
            f"event_id {'CHAR(36)' if sqlite else 'UUID'} PRIMARY KEY",
            *others,
            "event_data JSON",
            column.format(timestamp=timestamp),
            f"sent_at {timestamp}",
            f"created_at {timestamp} NOT NULL, updated_at {timestamp} NOT NULL",
        ]
    )
    run_sql(migrated_url, f"DROP TABLE event_log; CREATE TABLE event_log ({definition})")
    (found,) = differences_in(migrated_url)
    assert found.startswith(sentence)
    assert "alembic upgrade head" in found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:secret@127.0.0.1:1/none",
        "postgresql://ada:secret@127.0.0.1:1/none?sslmode=nonsense",
        "sqlite:///none/none.db",
    ],
)
def test_a_database_that_is_away_is_said_to_be(url: str) -> None:
    for question in (read_tables, current_revision):
        with pytest.raises(DatabaseAway) as raised:
            asyncio.run(question(make_url(url)))
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (None, Kind.TEXT, None),
        ("NULL", Kind.TEXT, None),
        ("NULL::character varying", Kind.TEXT, None),
        ("'abc'", Kind.TEXT, "abc"),
        ("'abc'::character varying", Kind.TEXT, "abc"),
        ("'a::b'::character varying(20)", Kind.TEXT, "a::b"),
        ("'it''s'::text", Kind.TEXT, "it's"),
        ("'NULL'", Kind.TEXT, "NULL"),
        ("''", Kind.TEXT, ""),
        ('"abc"', Kind.TEXT, "abc"),
        ("'(a)'", Kind.TEXT, "(a)"),
        ("5", Kind.TEXT, "5"),
        ("5", Kind.INTEGER, 5),
        ("'5'::bigint", Kind.INTEGER, 5),
        ("'-1'::integer", Kind.INTEGER, -1),
        ("(-1)", Kind.INTEGER, -1),
        ("('-1'::integer)", Kind.INTEGER, -1),
        ("1.5", Kind.DOUBLE, 1.5),
        ("'1.5'::numeric", Kind.NUMERIC, Decimal("1.5")),
        ("0.99", Kind.NUMERIC, Decimal("0.99")),
        ("1", Kind.BOOLEAN, True),
        ("FALSE", Kind.BOOLEAN, False),
        ("'t'::boolean", Kind.BOOLEAN, True),
    ],
)
def test_a_literal_default_is_read_as_a_value(text: str | None, kind: Kind, value: object) -> None:
    found = read_default(text, kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("now()", Kind.TIMESTAMP),
        ("CURRENT_TIMESTAMP", Kind.TIMESTAMP),
        ("nextval('a_seq'::regclass)", Kind.INTEGER),
        ("(1 + 2)", Kind.INTEGER),
        ("1.5", Kind.INTEGER),
        ("99999999999999999999", Kind.INTEGER),
        ("'a' || 'b'", Kind.TEXT),
        ("upper('a')", Kind.TEXT),
        ("CURRENT_USER", Kind.TEXT),
        ("gen_random_uuid()", Kind.UUID),
        ("'{}'::jsonb", Kind.JSON),
        ("'2020-01-01'::date", Kind.DATE),
    ],
)
def test_any_other_default_is_left_to_the_database(text: str, kind: Kind) -> None:
    with pytest.raises(NoLiteral):
        read_default(text, kind)


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        ("DATETIME", "'2009-01-01 00:00:00'", "2026-01-31T09:30:00+00:00"),
        ("DATETIME", "1230768000", "2026-01-31T09:30:00+00:00"),
        ("TIMESTAMP", "'2009-01-01'", "2026-01-31T09:30:00"),
        ("DATE", "'2009-01-01 00:00:00'", "2026-01-31"),
        ("BOOLEAN", "'yes'", "0 and 1"),
    ],
)
def test_values_that_sqlite_keeps_in_another_form_are_not_served(
    tmp_path: Path, declared: str, value: str, said: str
) -> None:
    url = f"sqlite:///{tmp_path / 'strange.db'}"
    run_sql(url, f"CREATE TABLE t (id INTEGER PRIMARY KEY, good {declared}, strange {declared})")
    run_sql(url, f"INSERT INTO t (strange) VALUES (NULL), ({value})")
    good, strange = asyncio.run(read_tables(make_url(url)))["t"].columns[1:]
    assert good.type.kind is not None
    assert strange.type.kind is None
    assert said in strange.declared
    run_sql(url, "DELETE FROM t")
    assert asyncio.run(read_tables(make_url(url)))["t"].columns[2].type.kind is not None
