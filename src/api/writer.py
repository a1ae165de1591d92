"""How rows of one table are written: what the server adds to them, and what it says when one is refused."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from src.api.bodies import Checked, Values, place_of
from src.api.deliveries.ledger import Ledger
from src.api.deliveries.ranges import Received
from src.api.dependencies import MODEL_MAP
from src.api.entrance.access import Access
from src.auth.tombstones import ERASED, Tombstones
from src.core.errors import ApiError, KeyExists, PersonErased, Problem, ReferenceBroken, RowConflict, ValueRefused
from src.core.tables import Kind, TableInfo
from src.core.values import now
from src.db.connection import Connection
from src.db.feeds import new_change, note_new_rows
from src.db.queries import builder
from src.db.queries.executor import (
    fetch_row,
    find_missing_references,
    transact,
    write_row,
    write_rows,
    write_rows_apart,
)
from src.db.queries.statement import Statement
from src.db.queries.writes import OnConflict
from src.models import changes

_decode = msgspec.json.Decoder(dict[str, Any]).decode

CHANGES = changes.TABLE.info
CREATED_AT, UPDATED_AT = "created_at", "updated_at"
# How often a row may come and go while it is put.
MAX_TRIES = 10


class Writer:
    """Writes the rows of one table that a request may touch."""

    def __init__(self, access: Access, tombstones: Tombstones, *, auto_timestamps: bool) -> None:
        self._tombstones = tombstones
        self.models = access.models
        delivery = access.models.delivery
        self._ledger = Ledger(delivery, access.table.owner, access.reach.person) if delivery else None
        self.reach = access.reach
        self.table = access.table
        stamps = access.models.server_columns if auto_timestamps else ()
        self._stamps_of_insert = tuple(name for name in (CREATED_AT, UPDATED_AT) if name in stamps)
        self._stamps_of_update = tuple(name for name in (UPDATED_AT,) if name in stamps)

    def new(self, values: Values) -> Values:
        """The values of a new row, with those that the server sets."""
        return self.owned(values) | self._stamps(self._stamps_of_insert)

    def owned(self, values: Values) -> Values:
        """The values of a row, which is the caller's own where they say of nobody else that it is theirs."""
        if self.reach.is_owned and values.get(self.table.owner) is None:
            return values | {self.table.owner: self.reach.person}
        return values

    def changed(self, values: Values) -> Values:
        """The values that a row is to get, with those that the server sets."""
        return values | self._stamps(self._stamps_of_update)

    async def insert(self, db: Connection, values: Values, on_conflict: OnConflict = OnConflict.REFUSE) -> str | None:
        """Insert a row; its JSON text, or None when a row with its key stays instead.

        Raises:
            PersonErased: it is about somebody who was erased.
        """
        mark = self._mark(values)
        if not self._ledger:
            return await self._write(db, builder.insert_row(self.reach, values, on_conflict, mark), values)
        if db.dialect.notes_while_writing and not self._ledger.concerns(values):
            statement = builder.insert_row(self.reach, values, on_conflict, mark, new_change(CHANGES))
            return await self._write(db, statement, values)
        return await transact(db, lambda transaction: self._insert_and_note(transaction, values, on_conflict, mark))

    async def _insert_and_note(self, db: Connection, values: Values, on_conflict: OnConflict, mark: str) -> str | None:
        row = await self._write(db, builder.insert_row(self.reach, values, on_conflict, mark), values)
        if row is not None:
            await self.note(db, [{self.table.key: key_of(self.table, row)} | values])
        return row

    async def note(self, db: Connection, rows: Sequence[Values]) -> dict[str, Received]:
        """Keep what new rows tell, and tell those who watch the table of them, in the transaction that inserts them.

        What has arrived, as of this transaction, of each device that counts them.
        """
        if not self._ledger or not rows:
            return {}
        await note_new_rows(db, self.table, CHANGES, [values[self.table.key] for values in rows])
        return await self._ledger.record(db, rows, now())

    async def recount(self, db: Connection, rows: Sequence[Values]) -> dict[str, Received]:
        """Keep once more what rows tell that were stored before, and answer the same as for new ones."""
        return await self._ledger.record(db, rows, now()) if self._ledger else {}

    async def update(self, db: Connection, key: object, values: Values) -> str | None:
        """Set columns of the row with this key; its JSON text, or None when there is no such row."""
        if not values:
            return await fetch_row(db, builder.lock_row(self.reach, key))
        if self._gives_away(values) and not await fetch_row(db, builder.select_row(self.reach, key)):
            # A row that the caller cannot see is missing, whatever it is to become.
            return None
        mark = self._mark(values)
        return await self._write(db, builder.update_row(self.reach, key, values, mark), values)

    def _gives_away(self, values: Values) -> bool:
        return self.reach.is_owned and values.get(self.table.owner, self.reach.person) != self.reach.person

    async def put(self, db: Connection, key: object, new: Values, changes: Values) -> tuple[str, bool]:
        """Change the row with this key, or insert a new one; its JSON text, and whether it is new."""
        changes = {name: value for name, value in changes.items() if name != self.table.key}
        for _ in range(MAX_TRIES):
            if row := await self.update(db, key, changes):
                return row, False
            if row := await self.insert(db, new, OnConflict.IGNORE):
                return row, True
            # Somebody inserted it in between, and may have deleted it again; or it is not the caller's.
        raise self.key_taken()

    async def find_or_insert(self, db: Connection, key: object, new: Values) -> tuple[str, bool]:
        """Insert a row, or find the one that has its key; its JSON text, and whether it is new."""
        for _ in range(MAX_TRIES):
            if row := await self.insert(db, new, OnConflict.IGNORE):
                return row, True
            if row := await fetch_row(db, builder.select_row(self.reach, key)):
                return row, False
        raise self.key_taken()

    def key_taken(self) -> KeyExists:
        """The error of a key that another row has, as the databases say it."""
        return KeyExists(f"a row with this {self.table.key} exists already")

    async def insert_many(self, db: Connection, rows: list[Checked], on_conflict: OnConflict) -> list[object]:
        """Insert rows; per row its key, or None where it was ignored because a row with its key exists."""
        stamps = self._stamps(self._stamps_of_insert)
        rows = [row._replace(values=self.owned(row.values)) for row in rows] if self.reach.is_owned else rows
        keys: list[object] = []
        new: list[Values] = []
        by_names = on_conflict is OnConflict.MERGE
        # One statement writes rows with the same columns; where it merges, also with the same that were named.
        for _, alike in groupby(rows, lambda row: (tuple(row.values), by_names and frozenset(row.named))):
            group = list(alike)
            columns = (*group[0].values, *stamps)
            kept = tuple(name for name in columns if name not in group[0].named and name not in self._stamps_of_update)
            values = [(*row.values.values(), *stamps.values()) for row in group]
            try:
                if self._ledger and on_conflict is OnConflict.MERGE:
                    written, inserted = await self._insert_or_merge(db, columns, values, kept)
                else:
                    written = await write_rows(db, builder.insert_rows(self.reach, columns, values, on_conflict, kept))
                    inserted = written
                if on_conflict is OnConflict.MERGE and None in written:
                    raise _at(written.index(None), self.key_taken())
                keys += written
                if self._ledger:
                    new += [row.values | {self.table.key: key} for row, key in zip(group, inserted, strict=True) if key]
            except ApiError as error:
                if isinstance(error, ReferenceBroken):
                    await self.refuse_erased(db, *(row.values for row in group))
                if error.row is not None:
                    await self._explain_row(db, error, len(keys) + error.row, group[error.row])
                raise
        # Whoever was erased before these rows were written is seen now; an erasure after that finds them.
        await self.refuse_erased(db, *(row.values for row in rows))
        await self.note(db, new)
        return keys

    async def insert_each(self, db: Connection, rows: list[Values]) -> list[object]:
        """Insert rows of which each stands for itself; per row its key, None where its key exists, or its refusal.

        Whether they are about somebody who was erased is for the caller to ask, and so is what else they tell.
        """
        stamps = self._stamps(self._stamps_of_insert)
        outcomes: list[object] = []
        for names, group in groupby(rows, tuple):
            added = tuple(stamps.values())
            values = [(*row.values(), *added) for row in group]
            statement = builder.insert_rows(self.reach, (*names, *stamps), values, OnConflict.IGNORE)
            outcomes += await write_rows_apart(db, statement)
        return outcomes

    async def find_erased(self, db: Connection, rows: Iterable[Values]) -> set[str]:
        """Those whom rows are about who were erased."""
        people = set(filter(None, map(self._person, rows)))
        return await self._tombstones.find_erased(db, people) if people else set()

    async def _insert_or_merge(
        self, db: Connection, columns: tuple[str, ...], rows: list[tuple[object, ...]], kept: tuple[str, ...]
    ) -> tuple[list[object], list[object]]:
        """Insert rows whose key is free, then merge the others: one statement would not tell which were new.

        Per row its key, and its key or None where it was merged.
        """
        inserted = await write_rows(db, builder.insert_rows(self.reach, columns, rows, OnConflict.IGNORE))
        places = [place for place, key in enumerate(inserted) if key is None]
        written = list(inserted)
        if places:
            others = [rows[place] for place in places]
            statement = builder.insert_rows(self.reach, columns, others, OnConflict.MERGE, kept)
            try:
                merged = await write_rows(db, statement)
            except ApiError as error:
                error.row = None if error.row is None else places[error.row]
                raise
            for place, key in zip(places, merged, strict=True):
                written[place] = key
        return written, inserted

    async def _explain_row(self, db: Connection, error: ApiError, index: int, row: Checked) -> None:
        """Say of an error which of many rows it is about."""
        if isinstance(error, RowConflict | ValueRefused):
            told = await self.explain_references(db, row.values) if isinstance(error, ReferenceBroken) else error
            problems = told.problems or (Problem("body", "", told.detail),)
            raise type(told)(
                f"{place_of(index, row.line)}: {told.detail}",
                tuple(each._replace(pointer=f"/{index}{each.pointer}", line=row.line) for each in problems),
            ) from error

    async def _write(self, db: Connection, statement: Statement, values: Values) -> str | None:
        try:
            row = await write_row(db, statement)
        except ReferenceBroken as error:
            await self.refuse_erased(db, values)
            raise await self.explain_references(db, values) from error
        if row is None:
            await self.refuse_erased(db, values)
        return row

    def _mark(self, values: Values) -> str:
        """The mark of the person whom values are about; empty where they are about nobody."""
        person = self._person(values)
        return self._tombstones.mark(person) if person else ""

    async def refuse_erased(self, db: Connection, *rows: Values) -> None:
        """Refuse rows about somebody who was erased.

        Raises:
            PersonErased: one is.
        """
        if await self.find_erased(db, rows):
            raise PersonErased(ERASED)

    def _person(self, values: Values) -> str:
        return str(values.get(self.table.owner) or "") if self.table.owner else ""

    async def explain_references(self, db: Connection, values: Mapping[str, object]) -> RowConflict:
        """Which foreign keys among these values point nowhere."""
        tables = {name: models.info for name, models in MODEL_MAP.items()}
        missing = await find_missing_references(db, tables, self.table, values)
        named = ", ".join(missing) or "the row"
        problems = tuple(Problem("body", f"/{name}", "refers to a row that does not exist") for name in missing)
        return RowConflict(f"{named} refers to a row that does not exist; create that one first", problems)

    def _stamps(self, names: tuple[str, ...]) -> Values:
        if not names:
            return {}
        instant = now()
        # A column without time zone takes the same time of UTC, without saying so.
        return {
            name: instant.replace(tzinfo=None) if self.table.by_name[name].kind is Kind.LOCAL_TIMESTAMP else instant
            for name in names
        }


def key_of(table: TableInfo, row: str) -> object:
    """The key of a row as JSON text: what the database chose stands only there."""
    key: object = _decode(row)[table.key]
    return key


def _at(row: int, error: ApiError) -> ApiError:
    error.row = row
    return error
