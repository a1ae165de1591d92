"""Statements -> rows. The only place that catches the drivers' errors."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing

import msgspec

from src.core.tables import TableInfo
from src.db.connection import Database, Row
from src.db.queries import builder
from src.db.queries.query import Condition, Filter, Target
from src.db.queries.statement import Statement

Run = Callable[[str, Sequence[object]], Awaitable[Sequence[Row]]]


async def fetch_row(db: Database, statement: Statement) -> str | None:
    """Run a statement for one row; its JSON text, or None when there is no such row."""
    rows = await _run(db, db.fetch, statement)
    return rows[0][0] if rows else None


async def fetch_page(db: Database, statement: Statement) -> list[Row]:
    """Run a page statement; per row its JSON text and, last, an object with its sort values (it may be the row)."""
    return list(await _run(db, db.fetch, statement))


async def fetch_groups(db: Database, statement: Statement) -> list[str]:
    """Run an aggregation; the JSON texts of its groups, in order."""
    return [row[0] for row in await _run(db, db.fetch_long, statement)]


async def stream_rows(db: Database, statement: Statement) -> AsyncGenerator[list[str], None]:
    """Run a statement for all of its rows; their JSON texts in batches, in order, from one snapshot."""
    with _translating(db):
        async with aclosing(db.stream(*statement.compile(db.dialect))) as batches:
            async for rows in batches:
                yield [row[0] for row in rows]


async def count_rows(db: Database, table: TableInfo, conditions: tuple[Condition, ...]) -> int:
    """Count the rows that pass every filter."""
    rows = await _run(db, db.fetch_long, builder.count_rows(table, conditions))
    count: int = rows[0][0]
    return count


async def estimate_rows(db: Database, table: TableInfo, conditions: tuple[Condition, ...]) -> int | None:
    """How many rows the database's planner expects to pass every filter; None where it has no such number."""
    if not db.dialect.explain:
        return None
    sql, arguments = builder.select_keys(table, conditions).compile(db.dialect)
    with _translating(db):
        rows = await db.fetch(db.dialect.explain + sql, arguments)
    plan = msgspec.json.decode(rows[0][0])
    number: int = round(plan[0]["Plan"]["Plan Rows"])
    return number


async def write_row(db: Database, statement: Statement) -> str | None:
    """Run a statement that writes one row; its JSON text once it is committed, or None when there is no such row."""
    rows = await _run(db, db.write, statement)
    return rows[0][0] if rows else None


async def count_referring_rows(
    db: Database, tables: Iterable[TableInfo], table: TableInfo, key: object
) -> dict[str, int]:
    """Per table of `tables` with rows that refer to this row by a foreign key, the number of those rows."""
    counts: dict[str, int] = {}
    for other in tables:
        for reference in other.foreign_keys:
            if (reference.referred_table, reference.referred_column) == (table.name, table.key):
                count = await _count(db, other, reference.column, key)
                counts[other.name] = counts.get(other.name, 0) + count
    return {name: count for name, count in counts.items() if count}


async def find_missing_references(
    db: Database, tables: Mapping[str, TableInfo], table: TableInfo, values: Mapping[str, object]
) -> list[str]:
    """The columns of `values` whose foreign key finds no row in the table that it refers to."""
    return [
        reference.column
        for reference in table.foreign_keys
        if values.get(reference.column) is not None
        and reference.referred_table in tables
        and not await _count(db, tables[reference.referred_table], reference.referred_column, values[reference.column])
    ]


async def _count(db: Database, table: TableInfo, column: str, value: object) -> int:
    kind = table.by_name[column].kind
    return await count_rows(db, table, (Filter(Target(column), "eq", kind, value),))


async def _run(db: Database, run: Run, statement: Statement) -> Sequence[Row]:
    with _translating(db):
        return await run(*statement.compile(db.dialect))


class _translating:  # noqa: N801  reads as a verb in a with statement, and costs less than a generator
    """Turns the driver's errors into ours; what is a defect stays as it is."""

    __slots__ = ("_db",)

    def __init__(self, db: Database) -> None:
        self._db = db

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and isinstance(error, self._db.driver_errors):
            translated = self._db.translate(error)
            if translated is not None:
                raise translated from error
