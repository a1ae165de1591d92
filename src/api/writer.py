"""How rows of one table are written: what the server adds to them, and what it says when one is refused."""

from collections.abc import Iterable, Mapping

from src.api.bodies import Checked, Values, place_of
from src.api.dependencies import MODEL_MAP
from src.core.errors import ApiError, Problem, ReferenceBroken, RowConflict, ValueRefused
from src.core.models import TableModels
from src.core.tables import Kind
from src.core.values import now
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import (
    count_referring_rows,
    fetch_row,
    find_missing_references,
    write_row,
    write_rows,
)
from src.db.queries.statement import Statement
from src.db.queries.writes import OnConflict

CREATED_AT, UPDATED_AT = "created_at", "updated_at"


class Writer:
    """Writes rows of one table."""

    def __init__(self, models: TableModels, *, auto_timestamps: bool) -> None:
        self.models = models
        self.table = models.info
        stamps = models.server_columns if auto_timestamps else ()
        self._stamps_of_insert = tuple(name for name in (CREATED_AT, UPDATED_AT) if name in stamps)
        self._stamps_of_update = tuple(name for name in (UPDATED_AT,) if name in stamps)

    def new(self, values: Values) -> Values:
        """The values of a new row, with those that the server sets."""
        return values | self._stamps(self._stamps_of_insert)

    def changed(self, values: Values) -> Values:
        """The values that a row is to get, with those that the server sets."""
        return values | self._stamps(self._stamps_of_update)

    async def insert(self, db: Connection, values: Values, on_conflict: OnConflict = OnConflict.REFUSE) -> str | None:
        """Insert a row; its JSON text, or None when a row with its key stays instead."""
        return await self._write(db, builder.insert_row(self.table, values, on_conflict), values)

    async def update(self, db: Connection, key: object, values: Values) -> str | None:
        """Set columns of the row with this key; its JSON text, or None when there is no such row."""
        if not values:
            return await fetch_row(db, builder.lock_row(self.table, key))
        return await self._write(db, builder.update_row(self.table, key, values), values)

    async def put(self, db: Connection, key: object, new: Values, changes: Values) -> tuple[str, bool]:
        """Change the row with this key, or insert a new one; its JSON text, and whether it is new."""
        changes = {name: value for name, value in changes.items() if name != self.table.key}
        while True:
            if row := await self.update(db, key, changes):
                return row, False
            if row := await self.insert(db, new, OnConflict.IGNORE):
                return row, True
            # Somebody inserted it in between, and may have deleted it again.

    async def insert_many(self, db: Connection, rows: list[Checked], on_conflict: OnConflict) -> list[object]:
        """Insert rows; per row its key, or None where it was ignored because a row with its key exists."""
        stamps = self._stamps(self._stamps_of_insert)
        keys: list[object] = []
        for group in _alike(rows, by_names=on_conflict is OnConflict.MERGE):
            columns = (*group[0].values, *stamps)
            kept = tuple(name for name in columns if name not in group[0].named and name not in self._stamps_of_update)
            values = [(*row.values.values(), *stamps.values()) for row in group]
            try:
                keys += await write_rows(db, builder.insert_rows(self.table, columns, values, on_conflict, kept))
            except ApiError as error:
                if error.row is not None:
                    await self._explain_row(db, error, len(keys) + error.row, group[error.row])
                raise
        return keys

    async def _explain_row(self, db: Connection, error: ApiError, index: int, row: Checked) -> None:
        """Say of an error which of many rows it is about."""
        if isinstance(error, RowConflict | ValueRefused):
            told = await self.explain_references(db, row.values) if isinstance(error, ReferenceBroken) else error
            problems = told.problems or (Problem("body", "", told.detail),)
            raise type(told)(
                f"{place_of(index, row.line)}: {told.detail}",
                tuple(each._replace(pointer=f"/{index}{each.pointer}", line=row.line) for each in problems),
            ) from error

    async def _write(self, db: Connection, statement: Statement, values: Mapping[str, object]) -> str | None:
        try:
            return await write_row(db, statement)
        except ReferenceBroken as error:
            raise await self.explain_references(db, values) from error

    async def explain_references(self, db: Connection, values: Mapping[str, object]) -> RowConflict:
        """Which foreign keys among these values point nowhere."""
        tables = {name: models.info for name, models in MODEL_MAP.items()}
        missing = await find_missing_references(db, tables, self.table, values)
        named = ", ".join(missing) or "the row"
        problems = tuple(Problem("body", f"/{name}", "refers to a row that does not exist") for name in missing)
        return RowConflict(f"{named} refers to a row that does not exist; create that one first", problems)

    async def explain_delete(self, db: Connection, keys: Iterable[object]) -> RowConflict:
        """Who refers to rows that were to be deleted."""
        tables = [models.info for models in MODEL_MAP.values()]
        counts = await count_referring_rows(db, tables, self.table, list(keys))
        named = ", ".join(f"{count} of {name}" for name, count in counts.items()) or "rows of another table"
        return RowConflict(f"rows refer to this one: {named}; delete them first")

    def _stamps(self, names: tuple[str, ...]) -> Values:
        if not names:
            return {}
        instant = now()
        # A column without time zone takes the same time of UTC, without saying so.
        return {
            name: instant.replace(tzinfo=None) if self.table.by_name[name].kind is Kind.LOCAL_TIMESTAMP else instant
            for name in names
        }


def _alike(rows: list[Checked], *, by_names: bool) -> Iterable[list[Checked]]:
    """Yield runs of rows that one statement can write: with the same columns, and with the same that were named."""
    run: list[Checked] = []
    shape: object = None
    for row in rows:
        own = (row.values.keys(), frozenset(row.named) if by_names else None)
        if run and own != shape:
            yield run
            run = []
        shape = own
        run.append(row)
    if run:
        yield run
