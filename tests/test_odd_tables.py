"""Tables that nobody would have designed for an API: each is served correctly, or refused with a reason."""

from pathlib import Path
from typing import Any

import pytest

from tests.databases import is_sqlite, run_sql
from tests.test_generated_models import generate, load

ODD_COLUMNS = [
    "class", "None", "model_x", "model_config", "model_fields", "copy", "json", "schema", "validate", "self",
    "my column", "Order", "MixedCase", "1st", "_hidden", "__dunder__", "a-b", "a.b", "a b", "naïve", "größe", "数",
    "!", "new_uuid", "Text", "Field", "it's", 'say "hi"', "back\\slash", "#comment", "{brace}", "%s", "type", "id_",
]  # fmt: skip
ODD_TABLES = ["order", "class", "my table", "MixedCase", "1st", "_x", "json", "documents", "keys", "none", 'a"b', "数"]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def odd(database_url: str, tmp_path: Path) -> Any:
    columns = ", ".join(f"{quoted(name)} VARCHAR(20)" for name in ODD_COLUMNS)
    run_sql(database_url, f'CREATE TABLE odd (id VARCHAR(20) PRIMARY KEY, {columns}, "select" INTEGER NOT NULL)')
    assert generate(database_url, tmp_path, "odd") == 0
    return load(tmp_path / "odd.py").TABLE


def test_odd_columns_keep_their_names_outside(odd: Any) -> None:
    names = ["id", *ODD_COLUMNS, "select"]
    assert [column.name for column in odd.info.columns] == names
    assert list(odd.read.model_json_schema(by_alias=True)["properties"]) == names


def test_odd_columns_are_read_and_written_by_their_names(odd: Any) -> None:
    values = {name: f"value {number}" for number, name in enumerate(ODD_COLUMNS)} | {"id": "a", "select": 1}
    for model in (odd.read, odd.create, odd.update):
        row = model.model_validate(values)
        assert row.model_dump(by_alias=True) == values
        assert row.model_json_schema()


def test_fields_do_not_hide_what_a_model_can_do(odd: Any) -> None:
    row = odd.create.model_validate({"id": "a", "select": 1, "copy": "b", "json": "c", "model_fields": "d"})
    assert callable(row.copy)
    assert callable(row.model_dump_json)
    assert "model_fields" in row.model_dump(by_alias=True)


@pytest.mark.parametrize("table", ODD_TABLES)
def test_odd_tables_become_modules(database_url: str, tmp_path: Path, table: str) -> None:
    run_sql(database_url, f"CREATE TABLE {quoted(table)} (id INTEGER PRIMARY KEY, word TEXT)")
    assert generate(database_url, tmp_path, table) == 0
    (path,) = tmp_path.glob("*.py")
    assert path.stem.isidentifier()
    models = load(path).TABLE
    assert models.table == table
    assert models.create.model_validate({"id": 1, "word": "a"}).model_dump() == {"id": 1, "word": "a"}


REFUSED = {
    "no_key": ("(a INTEGER)", "no primary key"),
    "two_keys": ("(a INTEGER, b INTEGER, PRIMARY KEY (a, b))", "several columns (a, b)"),
    "number_key": ("(a DOUBLE PRECISION PRIMARY KEY)", "its key a is of type"),
    "decimal_key": ("(a NUMERIC(5, 2) PRIMARY KEY)", "its key a is of type"),
    "flag_key": ("(a BOOLEAN PRIMARY KEY)", "its key a is of type"),
    "time_key": ("(a TIMESTAMP PRIMARY KEY)", "its key a is of type"),
    "binary_needed": ("(a INTEGER PRIMARY KEY, photo {binary} NOT NULL)", "photo must not be null"),
}


@pytest.mark.parametrize("table", REFUSED)
def test_a_table_that_cannot_be_served_is_refused_with_a_reason(
    database_url: str, tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    definition, reason = REFUSED[table]
    binary = "BLOB" if is_sqlite(database_url) else "BYTEA"
    run_sql(database_url, f"CREATE TABLE {table} {definition.format(binary=binary)}")
    assert generate(database_url, tmp_path, table) == 1
    printed = capsys.readouterr().out
    assert f"refused: table {table}: " in printed
    assert reason in printed
    assert not list(tmp_path.glob("*.py"))


def test_a_refused_table_stops_no_other(database_url: str, tmp_path: Path) -> None:
    run_sql(database_url, "CREATE TABLE bad (a INTEGER); CREATE TABLE good (a INTEGER PRIMARY KEY)")
    assert generate(database_url, tmp_path) == 0
    assert [path.name for path in tmp_path.glob("*.py")] == ["good.py"]


def test_a_column_without_json_form_is_left_out(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = "BLOB" if is_sqlite(database_url) else "BYTEA"
    run_sql(database_url, f"CREATE TABLE photos (id INTEGER PRIMARY KEY, photo {binary}, title TEXT)")
    assert generate(database_url, tmp_path, "photos") == 0
    assert "photos.photo is left out" in capsys.readouterr().out
    assert '# The column "photo" is left out' in (tmp_path / "photos.py").read_text()
    assert list(load(tmp_path / "photos.py").TABLE.read.model_fields) == ["id", "title"]


def test_a_computed_column_is_read_and_never_written(database_url: str, tmp_path: Path) -> None:
    area = "INTEGER GENERATED ALWAYS AS (side * side) STORED"
    run_sql(database_url, f"CREATE TABLE boxes (id INTEGER PRIMARY KEY, side INTEGER, area {area})")
    generate(database_url, tmp_path, "boxes")
    boxes = load(tmp_path / "boxes.py").TABLE
    assert list(boxes.read.model_fields) == ["id", "side", "area"]
    assert list(boxes.create.model_fields) == ["id", "side"]


def test_of_two_tables_for_one_module_the_plain_name_wins(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sql(
        database_url, 'CREATE TABLE my_pets (id INTEGER PRIMARY KEY); CREATE TABLE "my pets" (id INTEGER PRIMARY KEY)'
    )
    assert generate(database_url, tmp_path) == 0
    assert "refused: table my pets" in capsys.readouterr().out
    assert load(tmp_path / "my_pets.py").TABLE.table == "my_pets"


def test_views_are_not_tables(database_url: str, tmp_path: Path) -> None:
    run_sql(database_url, "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t")
    generate(database_url, tmp_path)
    assert [path.name for path in tmp_path.glob("*.py")] == ["t.py"]


def test_types_of_postgresql_alone_are_understood(postgres_server: Any, tmp_path: Path) -> None:
    url = postgres_server.create_database()
    run_sql(
        url,
        """
        CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE DOMAIN score AS integer DEFAULT 7 CHECK (VALUE > 0);
        CREATE TABLE t (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code char(2), score score, mood mood, tags text[],
            made timestamptz(3) DEFAULT now(), document jsonb DEFAULT '{}', ratio real
        );
        """,
    )
    assert generate(url, tmp_path) == 0
    table = load(tmp_path / "t.py").TABLE
    assert [column.name for column in table.info.columns] == ["id", "code", "score", "made", "document", "ratio"]
    assert list(table.create.model_fields) == ["code", "score", "made", "document", "ratio"]
    assert table.create.model_validate({}).score == 7
    assert table.database_defaults == ("made", "document")
    postgres_server.drop_database(url)
