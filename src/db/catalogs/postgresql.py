"""The catalog of PostgreSQL: `pg_catalog`, in two statements. Works as well where it is distributed."""

from collections import defaultdict
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from src.core.errors import DatabaseAway
from src.core.tables import ForeignKey
from src.db.catalogs.declared import read_postgresql_type
from src.db.catalogs.live import LiveColumn, LiveTable

CONNECT_TIMEOUT_S = 5.0

# The tables of the first schema in the search path, partitions aside, without those that an extension brought.
TABLES = """
FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
AND NOT EXISTS (
    SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
)
"""
# A domain counts as the type that it is made of.
COLUMNS = f"""
SELECT c.relname AS table, a.attname AS name,
    CASE b.typtype WHEN 'e' THEN 'enum ' ELSE '' END
        || format_type(b.oid, CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END) AS declared,
    a.attnotnull OR t.typnotnull AS is_not_null,
    coalesce(pg_get_expr(f.adbin, f.adrelid), t.typdefault) AS default,
    a.attgenerated <> '' OR a.attidentity = 'a' AS is_computed,
    a.attidentity <> '' OR coalesce(pg_get_expr(f.adbin, f.adrelid) LIKE 'nextval(%', false) AS is_numbered
FROM (SELECT c.oid, c.relname {TABLES}) AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
ORDER BY c.relname, a.attnum
"""  # noqa: S608 - made of constants
CONSTRAINTS = f"""
SELECT c.relname AS table, k.contype = 'p' AS is_key, a.attname AS name,
    array_length(k.conkey, 1) AS size, r.relname AS referred_table, p.attname AS referred_column
FROM (SELECT c.oid, c.relname {TABLES}) AS c
JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype IN ('p', 'f')
CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS u (number, position)
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = u.number
LEFT JOIN pg_class AS r ON r.oid = k.confrelid AND r.relnamespace = current_schema()::regnamespace
LEFT JOIN pg_attribute AS p ON p.attrelid = k.confrelid AND p.attnum = k.confkey[u.position]
ORDER BY c.relname, u.position, a.attname
"""  # noqa: S608 - made of constants


async def connect_postgresql(url: URL, settings: dict[str, str] | None = None) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect for a moment, for catalogs and migrations; in UTC, without statements that a pooler would lose.

    Raises:
        DatabaseAway: the server does not answer, or does not let us in; or the URL says what the driver does not take.
    """
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    in_utc = {"timezone": "UTC", **(settings or {})}
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0, server_settings=in_utc)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseAway(f"The database at {url.host} cannot be reached: {error}.") from error


async def read_postgresql(url: URL) -> dict[str, LiveTable]:
    """Read all tables of the current schema, by name."""
    connection = await connect_postgresql(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            columns, constraints = await connection.fetch(COLUMNS), await connection.fetch(CONSTRAINTS)
    finally:
        await connection.close()
    return _tables(columns, constraints)


async def read_postgresql_value(url: URL, table: str, column: str) -> str | None:
    """Read one value of a table of one row; None when there is no such table or row."""
    connection = await connect_postgresql(url)
    try:
        value = await connection.fetchval(f'SELECT "{column}" FROM "{table}"')  # noqa: S608 - names of our own
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return None if value is None else str(value)


def _tables(columns: list[Any], constraints: list[Any]) -> dict[str, LiveTable]:
    columns_of, keys, foreign_keys = defaultdict(list), defaultdict(list), defaultdict(list)
    for row in columns:
        columns_of[row["table"]].append(_column(row))
    for row in constraints:
        if row["is_key"]:
            keys[row["table"]].append(row["name"])
        elif row["size"] == 1 and row["referred_table"] is not None:
            foreign_key = ForeignKey(row["name"], row["referred_table"], row["referred_column"])
            foreign_keys[row["table"]].append(foreign_key)
    return {
        name: LiveTable(
            name, tuple(live), tuple(keys[name]), tuple(sorted(set(foreign_keys[name]))), is_loosely_typed=False
        )
        for name, live in columns_of.items()
    }


def _column(row: Any) -> LiveColumn:
    return LiveColumn(
        row["name"],
        row["declared"],
        read_postgresql_type(row["declared"]),
        is_nullable=not row["is_not_null"],
        default=row["default"] if not row["is_computed"] else None,
        is_computed=row["is_computed"],
        is_numbered=row["is_numbered"],
    )
