"""The catalog of SQLite: its pragmas, read as tables."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import apsw
from sqlalchemy.engine import URL

from src.core.errors import DatabaseAway
from src.core.tables import ForeignKey, Kind
from src.db.catalogs.declared import DeclaredType, read_sqlite_type
from src.db.catalogs.live import LiveColumn, LiveTable
from src.db.dialect import open_file

READ_TIMEOUT_S = 5.0

# Rows of a virtual table's shadow tables, and SQLite's own, are nobody's business: their type is another.
TABLES = """
SELECT name, EXISTS (SELECT 1 FROM pragma_index_list(l.name) AS i WHERE i.origin = 'pk') OR wr AS has_separate_key
FROM pragma_table_list AS l WHERE schema = 'main' AND type = 'table' AND substr(name, 1, 7) <> 'sqlite_'
"""
COLUMNS = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid'
FOREIGN_KEYS = 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq'
COMPUTED = (2, 3)
# SQLite keeps whatever it is given. Times as CURRENT_TIMESTAMP writes them are not RFC 3339, and compared with
# ours as texts they would lose rows from a filter in silence. A look at some rows tells.
STRANGE_VALUE = """
SELECT quote(value) FROM (SELECT "{column}" AS value FROM "{table}" WHERE "{column}" IS NOT NULL LIMIT 1000)
WHERE NOT ({form}) LIMIT 1
"""
FORMS = {
    Kind.TIMESTAMP: "typeof(value) = 'text' AND value GLOB '????-??-??T??:??:??*+00:00'",
    Kind.LOCAL_TIMESTAMP: "typeof(value) = 'text' AND value GLOB '????-??-??T??:??:??*'",
    Kind.DATE: "typeof(value) = 'text' AND value GLOB '????-??-??'",
    Kind.BOOLEAN: "typeof(value) = 'integer' AND value IN (0, 1)",
}
INSTEAD = {
    Kind.TIMESTAMP: "2026-01-31T09:30:00+00:00",
    Kind.LOCAL_TIMESTAMP: "2026-01-31T09:30:00",
    Kind.DATE: "2026-01-31",
    Kind.BOOLEAN: "0 and 1",
}


async def read_sqlite(url: URL) -> dict[str, LiveTable]:
    """Read all tables of the file, by name, in a thread."""
    return await asyncio.to_thread(_read_tables, url)


async def read_sqlite_value(url: URL, table: str, column: str) -> str | None:
    """Read one value of a table of one row; None when there is no such table or row."""
    return await asyncio.to_thread(_read_value, url, table, column)


def _read_value(url: URL, table: str, column: str) -> str | None:
    with _open(url) as connection:
        if not connection.table_exists("main", table):
            return None
        rows = connection.execute(f'SELECT "{column}" FROM "{table}"').fetchall()  # noqa: S608 - names of our own
        return str(rows[0][0]) if rows else None


def _read_tables(url: URL) -> dict[str, LiveTable]:
    with _open(url) as connection:
        columns = {name: _rows(connection, COLUMNS, name) for name, _ in _rows(connection, TABLES)}
        tables = {}
        for name, has_separate_key in _rows(connection, TABLES):
            key = tuple(row[0] for row in sorted(columns[name], key=_key_position) if row[4])
            is_numbered = len(key) == 1 and not has_separate_key
            tables[name] = LiveTable(
                name,
                tuple(
                    _as_stored(connection, name, _column(row, is_numbered=is_numbered and row[0] == key[0]))
                    for row in columns[name]
                ),
                key,
                _foreign_keys(_rows(connection, FOREIGN_KEYS, name), columns),
                is_loosely_typed=True,
            )
        return tables


def _column(row: tuple[Any, ...], *, is_numbered: bool) -> LiveColumn:
    name, declared, is_not_null, default, key_position, hidden = row
    return LiveColumn(
        name,
        declared,
        read_sqlite_type(declared),
        is_nullable=not is_not_null and not key_position,
        default=default,
        is_computed=hidden in COMPUTED,
        is_numbered=is_numbered,
    )


def _as_stored(connection: apsw.Connection, table: str, column: LiveColumn) -> LiveColumn:
    """The column; of no kind when rows hold values in a form that is not that of its kind."""
    kind = column.type.kind
    if kind not in FORMS:
        return column
    names = {"table": table.replace('"', '""'), "column": column.name.replace('"', '""')}
    strange = _rows(connection, STRANGE_VALUE.format(**names, form=FORMS[kind]))
    if not strange:
        return column
    declared = f"{column.declared} holding {strange[0][0]} and not the like of {INSTEAD[kind]}"
    return column._replace(declared=declared, type=DeclaredType(None))


def _key_position(row: tuple[Any, ...]) -> int:
    return int(row[4])


def _foreign_keys(rows: list[Any], columns: dict[str, list[Any]]) -> tuple[ForeignKey, ...]:
    """Keep those of one column, with the names as the referred table declares them: SQLite ignores case."""
    by_id = defaultdict(list)
    for number, table, column, referred_column in rows:
        by_id[number].append((table, column, referred_column))
    found = []
    for (table, column, referred), *more in by_id.values():
        real = next((name for name in columns if name.lower() == table.lower()), None)
        if more or real is None:
            continue
        wanted = [row[0] for row in columns[real] if (row[0].lower() == referred.lower() if referred else row[4])]
        if len(wanted) == 1:
            found.append(ForeignKey(column, real, wanted[0]))
    return tuple(sorted(found))


def _rows(connection: apsw.Connection, statement: str, *parameters: str) -> list[Any]:
    return connection.execute(statement, parameters).fetchall()


class _open:  # noqa: N801 - used like a function
    """Open the file for reading and close it again; one snapshot from first to last."""

    def __init__(self, url: URL) -> None:
        self.path = Path(str(url.database))

    def __enter__(self) -> apsw.Connection:
        try:
            self.connection = open_file(str(self.path), READ_TIMEOUT_S, read_only=True)
            self.connection.execute("BEGIN")
        except apsw.Error as error:
            raise DatabaseAway(f"The database {self.path.name} cannot be opened: {error}.") from error
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()
