"""Statements -> rows. The only place that catches the drivers' errors."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from src.core.errors import ApiError, InvalidRequest, RowConflict
from src.core.tables import Reach, TableInfo
from src.db.connection import Connection, Database, Result, Row, Work
from src.db.queries import builder
from src.db.queries.query import Condition, Filter, Target
from src.db.queries.statement import ManyStatement, Statement

# A row that is refused leaves the transaction as it was.
REFUSALS = (InvalidRequest, RowConflict)

Run = Callable[[str, Sequence[object]], Awaitable[Sequence[Row]]]


async def fetch_row(db: Connection, statement: Statement) -> str | None:
    """Run a statement for one row; its JSON text, or None when there is no such row."""
    rows = await _run(db, db.fetch, statement)
    return rows[0][0] if rows else None


async def fetch_page(db: Connection, statement: Statement) -> list[Row]:
    """Run a page statement; per row its JSON text and, last, an object with its sort values (it may be the row)."""
    return list(await _run(db, db.fetch, statement))


async def fetch_groups(db: Connection, statement: Statement) -> list[str]:
    """Run an aggregation; the JSON texts of its groups, in order."""
    return [row[0] for row in await _run(db, db.fetch_long, statement)]


async def stream_rows(db: Database, statement: Statement) -> AsyncGenerator[list[str], None]:
    """Run a statement for all of its rows; their JSON texts in batches, in order, from one snapshot."""
    with _translating(db):
        async with aclosing(db.stream(*statement.compile(db.dialect))) as batches:
            async for rows in batches:
                yield [row[0] for row in rows]


async def count_rows(db: Connection, reach: Reach, conditions: tuple[Condition, ...]) -> int:
    """Count the rows that pass every filter."""
    rows = await _run(db, db.fetch_long, builder.count_rows(reach, conditions))
    count: int = rows[0][0]
    return count


async def estimate_rows(db: Connection, reach: Reach, conditions: tuple[Condition, ...]) -> int | None:
    """How many rows the database's planner expects to pass every filter; None where it has no such number."""
    if not db.dialect.explain:
        return None
    sql, arguments = builder.select_keys(reach, conditions).compile(db.dialect)
    with _translating(db):
        rows = await db.fetch(db.dialect.explain + sql, arguments)
    plan = msgspec.json.decode(rows[0][0])
    number: int = round(plan[0]["Plan"]["Plan Rows"])
    return number


async def write_row(db: Connection, statement: Statement) -> str | None:
    """Run a statement that writes one row; its JSON text once it is committed, or None when there is no such row."""
    rows = await _run(db, db.write, statement)
    return rows[0][0] if rows else None


async def change_rows(db: Connection, statement: Statement) -> int:
    """Run a statement that writes and answers nothing; the number of rows that it wrote."""
    with _translating(db):
        return await db.change(*statement.compile(db.dialect))


async def write_rows(db: Connection, statement: ManyStatement) -> list[Any]:
    """Write many rows; per row its key, or None where it was ignored because a row with its key exists.

    Raises:
        ApiError: a row was refused; `error.row` is its place, counted from 0.
    """
    if (keys := await _write_at_once(db, statement)) is not None:
        return keys
    keys = []
    for row, one in enumerate(statement.one_by_one()):
        try:
            keys.append(await _write_one(db, one, statement.key_of(row)))
        except ApiError as error:
            error.row = row
            raise
    return keys


async def write_each(db: Connection, statement: ManyStatement) -> list[Any]:
    """The same, but a row that is refused harms no other: its error stands in the place of its key."""
    if (keys := await _write_at_once(db, statement)) is not None:
        return keys
    outcomes: list[Any] = []
    for row, one in enumerate(statement.one_by_one()):
        try:
            outcomes.append(await _write_one(db, one, statement.key_of(row)))
        except REFUSALS as error:
            outcomes.append(error)
    return outcomes


async def _write_at_once(db: Connection, statement: ManyStatement) -> list[Any] | None:
    """Write all rows in one go; None where they have to go one by one, for one is refused."""
    if db.takes_bulk:
        return statement.keys_of(await _run(db, db.write, statement.in_bulk()))
    if not db.takes_rows:
        return None
    try:
        with _translating(db):
            return statement.keys_of(await db.write_rows(*statement.each_of_rows(db.dialect)))
    except REFUSALS:
        return None


async def _write_one(db: Connection, statement: Statement, key: object) -> object:
    if key is None:
        return (await _run(db, db.write, statement))[0][0]
    return key if await change_rows(db, statement) else None


async def fetch_keys(db: Connection, statement: Statement) -> list[object]:
    """Run a statement for keys that may look at many rows."""
    return [row[0] for row in await _run(db, db.fetch_long, statement)]


async def fetch_values(db: Connection, statement: Statement) -> list[Any]:
    """Run a statement for the first value of each row."""
    return [row[0] for row in await _run(db, db.fetch, statement)]


async def write_values(db: Connection, statement: Statement) -> list[Any]:
    """Run a statement that writes rows; the value that it returns of each."""
    return [row[0] for row in await _run(db, db.write, statement)]


async def fetch_rows(db: Connection, statement: Statement) -> list[Row]:
    """Run a statement for rows beside their keys; per row its JSON text and its key, as the driver gives it."""
    return list(await _run(db, db.fetch, statement))


class _Rehearsed(Exception):
    """Ends a transaction that was only tried, with its result."""

    def __init__(self, result: Any) -> None:
        self.result = result


async def transact(
    db: Connection, work: Work[Result], *, is_rehearsal: bool = False, time_limit_s: float | None = None
) -> Result:
    """Run work in one transaction, all or nothing; of a rehearsal, nothing is stored."""

    async def rehearse(transaction: Connection) -> Result:
        raise _Rehearsed(await work(transaction))

    with _translating(db):
        if not is_rehearsal:
            return await db.transact(work, time_limit_s)
        try:
            return await db.transact(rehearse, time_limit_s)
        except _Rehearsed as end:
            result: Result = end.result
            return result


async def count_referring_rows(
    db: Connection, others: Iterable[Reach], table: TableInfo, keys: Sequence[object]
) -> dict[str, int]:
    """Per table of `others` with rows that refer to one of these rows by a foreign key, the number of those rows."""
    counts: dict[str, int] = {}
    for other in others:
        for reference in other.table.foreign_keys:
            if (reference.referred_table, reference.referred_column) == (table.name, table.key):
                count = await _count(db, other, reference.column, keys)
                counts[other.table.name] = counts.get(other.table.name, 0) + count
    return {name: count for name, count in counts.items() if count}


async def find_missing_references(
    db: Connection, tables: Mapping[str, TableInfo], table: TableInfo, values: Mapping[str, object]
) -> list[str]:
    """The columns of `values` whose foreign key finds no row in the table that it refers to."""
    missing = []
    for reference in table.foreign_keys:
        value, referred = values.get(reference.column), tables.get(reference.referred_table)
        if value is None or referred is None:
            continue
        if not await _count(db, Reach.whole(referred), reference.referred_column, [value]):
            missing.append(reference.column)
    return missing


async def _count(db: Connection, reach: Reach, column: str, values: Sequence[object]) -> int:
    kind = reach.table.by_name[column].kind
    return await count_rows(db, reach, (Filter(Target(column), "in", kind, tuple(values)),))


async def _run(db: Connection, run: Run, statement: Statement) -> Sequence[Row]:
    with _translating(db):
        return await run(*statement.compile(db.dialect))


class _translating:  # noqa: N801  reads as a verb in a with statement, and costs less than a generator
    """Turns the driver's errors into ours; what is a defect stays as it is."""

    __slots__ = ("_db",)

    def __init__(self, db: Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and isinstance(error, self._db.driver_errors):
            translated = self._db.translate(error)
            if translated is not None:
                raise translated from error
