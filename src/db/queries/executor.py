"""Statements -> rows. The only place that catches the drivers' errors."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from src.core.tables import TableInfo
from src.db.connection import Database, Row
from src.db.queries import builder
from src.db.queries.statement import Statement

Run = Callable[[str, Sequence[object]], Awaitable[Sequence[Row]]]


async def fetch_row(db: Database, statement: Statement) -> str | None:
    """Run a statement for one row; its JSON text, or None when there is no such row."""
    rows = await _run(db, db.fetch, statement)
    return rows[0][0] if rows else None


async def fetch_page(db: Database, statement: Statement) -> list[str]:
    """Run a page statement; the JSON texts of its rows, in page order."""
    return [row[0] for row in await _run(db, db.fetch, statement)]


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
    rows = await _run(db, db.fetch, builder.count_rows(table, column, value))
    count: int = rows[0][0]
    return count


async def _run(db: Database, run: Run, statement: Statement) -> Sequence[Row]:
    try:
        return await run(*statement.compile(db.dialect))
    except db.driver_errors as error:
        translated = db.translate(error)
        if translated is None:
            raise
        raise translated from error
