"""The new rows of a table as a feed: numbered in the order in which they were committed.

    a request ─▶ rows, and a change without position     in one transaction; nobody waits for a number
    number()  ─▶ positions for changes that are committed   one at a time, by a lock of the table's row in `feeds`
    read()    ─▶ (number, key), (number, key), ...       a row's number: its change's position and its place in that

Numbers that are drawn by inserts are not committed in their order, so a reader at 12 may have missed 11 that came
late. Here a number is given to what all can see already, and the next numbers wait for the commit of these: whoever
has seen a number has seen every number before it. Any process may number; if one dies, its lock goes with it.
"""

from collections.abc import Sequence
from time import monotonic, time
from typing import NamedTuple

import msgspec

from src.core.errors import InvalidRequest
from src.core.tables import Kind, Reach, SortTerm, TableInfo
from src.core.values import new_uuid, now
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.changes import note_rows, number_changes, select_changes, select_owners
from src.db.queries.executor import (
    change_rows,
    fetch_page,
    fetch_row,
    fetch_values,
    transact,
    write_row,
    write_values,
)
from src.db.queries.filters import is_null
from src.db.queries.query import Change, Condition, Filter, Query, Target
from src.db.queries.writes import OnConflict

# A change tells of so many rows; more rows of a transaction are several changes.
KEYS_PER_CHANGE = 1000
CHANGES_PER_TURN = 1000
ROWS_PER_READ = 200
ROWS_PER_DELETE = 10_000
# Looking for changes without position costs as much as many of them had none once, until the database has cleaned up
# behind a long reader. So most looks go no further back than this; those of long transactions are found by the others.
RECENT_S = 10.0
FULL_LOOK_EVERY_S = 2.0

FIRST_NUMBER = 1


class _Feed(msgspec.Struct):
    next_position: int


class _Keys(msgspec.Struct):
    keys: list[str | int]


class _Change(msgspec.Struct):
    position: int


_decode_feed = msgspec.json.Decoder(_Feed).decode
_decode_keys = msgspec.json.Decoder(_Keys).decode
_decode_change = msgspec.json.Decoder(_Change).decode


class FeedTables(NamedTuple):
    """The service's own tables behind feeds."""

    changes: TableInfo
    feeds: TableInfo


class PlaceUnknown(InvalidRequest):
    """A place in a feed that is kept no longer, or not reached yet."""


class NumberedKey(NamedTuple):
    """A new row: its number, and its key as text."""

    number: int
    key: str


class Feed:
    """The feed of one table."""

    def __init__(self, table: TableInfo, tables: FeedTables) -> None:
        self._table = table
        self._changes, self._feeds = Reach.whole(tables.changes), Reach.whole(tables.feeds)
        changes = tables.changes.by_name
        self._of_table = Filter(Target("table_name"), "eq", changes["table_name"].kind, table.name)
        self._full_look_at = 0.0

    async def number(self, db: Connection) -> None:
        """Give numbers to new rows that have none; to recent ones, and every few seconds to all."""
        is_full = monotonic() >= self._full_look_at
        if is_full:
            self._full_look_at = monotonic() + FULL_LOOK_EVERY_S
        await self._number_since("" if is_full else _id_of(time() - RECENT_S), db)

    async def number_all(self, db: Connection) -> None:
        """Give numbers to all new rows that were committed before now."""
        await self._number_since("", db)

    async def _number_since(self, since: str, db: Connection) -> None:
        since = since or _id_of(0)
        pending = (
            self._of_table,
            is_null(Target("position"), answer=True),
            Filter(Target("change_id"), "gte", Kind.UUID, since),
        )
        while await fetch_values(db, builder.select_keys(self._changes, pending, 1)):
            await transact(db, lambda transaction: self._take_turn(transaction, since))

    async def _take_turn(self, db: Connection, since: str) -> None:
        """Number some changes. Nobody else does so before this transaction ends, and then sees what it did."""
        name = self._table.name
        first = await self._lock(db)
        statement = number_changes(self._changes.table, name, since, first, CHANGES_PER_TURN)
        if count := sum(await write_values(db, statement)):
            await write_row(db, builder.update_row(self._feeds, name, {"next_position": first + count}))

    async def _lock(self, db: Connection) -> int:
        """Wait for whoever numbers this table; the next number."""
        lock = builder.lock_row(self._feeds, self._table.name)
        row = await fetch_row(db, lock)
        if row is None:
            values = {"table_name": self._table.name, "next_position": FIRST_NUMBER, "created_at": now()}
            await write_row(db, builder.insert_row(self._feeds, values, OnConflict.IGNORE))
            row = await fetch_row(db, lock)
        assert row is not None, "nobody deletes a feed"
        return _decode_feed(row).next_position

    async def next_number(self, db: Connection) -> int:
        """The number that the next new row gets."""
        row = await fetch_row(db, builder.select_row(self._feeds, self._table.name))
        return _decode_feed(row).next_position if row else FIRST_NUMBER

    async def read(self, db: Connection, number: int) -> list[NumberedKey]:
        """The new rows from a number on, in order: some of them, none if there is none yet.

        Raises:
            PlaceUnknown: the one with this number is kept no longer.
        """
        statement = select_changes(self._changes.table, self._table.name, number, ROWS_PER_READ)
        rows: list[NumberedKey] = []
        for position, document in await fetch_page(db, statement):
            if position > number and not rows:
                raise _forgotten(number, position)
            rows += [
                NumberedKey(each, str(key))
                for each, key in enumerate(_decode_keys(document).keys, position)
                if each >= number
            ]
        return rows[:ROWS_PER_READ]

    async def check(self, db: Connection, number: int) -> None:
        """Refuse a number from where nobody can read on.

        Raises:
            PlaceUnknown: rows from this number on are kept no longer, or it is past the next one.
        """
        following = await self.next_number(db)
        if number > following:
            raise PlaceUnknown(
                f"{number - 1} was never given as an id here; the last one is {following - 1}. Start anew: read the "
                "list, and watch without an id"
            )
        oldest = await fetch_page(db, select_changes(self._changes.table, self._table.name, FIRST_NUMBER, 1))
        first = oldest[0][0] if oldest else following
        if number < first:
            raise _forgotten(number, first)

    async def owners(self, db: Connection, owner: str, keys: Sequence[str]) -> set[str]:
        """Whose the rows with these keys are."""
        return set(await fetch_values(db, select_owners(self._table, owner, keys)))

    async def forget(self, db: Connection, before_s: float) -> int:
        """Delete changes that were stored before an instant, in seconds of Unix time, oldest first, some of them.

        Those from the first younger one on stay, so that what is kept has no gap. The number of deleted changes.
        """
        oldest = await self._first(db)
        if oldest is None:
            return 0
        limit = now().fromtimestamp(before_s, now().tzinfo)
        younger = await self._first(db, Filter(Target("created_at"), "gte", Kind.TIMESTAMP, limit))
        end = min(await self.next_number(db) if younger is None else younger, oldest + ROWS_PER_DELETE)
        if end <= oldest:
            return 0
        older = Filter(Target("position"), "lt", Kind.INTEGER, end)
        return await change_rows(db, builder.delete_rows(self._changes, (self._of_table, older)))

    async def _first(self, db: Connection, *conditions: Condition) -> int | None:
        """The position of the first numbered change that passes filters."""
        is_numbered = is_null(Target("position"), answer=False)
        sort = (SortTerm("position", is_descending=False), SortTerm("change_id", is_descending=False))
        query = Query((self._of_table, is_numbered, *conditions), sort, size=0)
        rows = await fetch_page(db, builder.select_page(self._changes, query))
        return _decode_change(rows[0][0]).position if rows else None


async def note_new_rows(db: Connection, table: TableInfo, changes: TableInfo, keys: Sequence[object]) -> None:
    """Store that rows with these keys are new, in the transaction that inserts them."""
    for start in range(0, len(keys), KEYS_PER_CHANGE):
        statement = note_rows(table, new_change(changes), keys[start : start + KEYS_PER_CHANGE])
        await change_rows(db, statement)


def new_change(changes: TableInfo) -> Change:
    """Make a change that is to be stored."""
    return Change(changes, new_uuid(), now())


def _id_of(seconds: float) -> str:
    """The smallest id of what is made at an instant, in seconds of Unix time, or later."""
    digits = f"{round(seconds * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


def _forgotten(number: int, first: int) -> PlaceUnknown:
    return PlaceUnknown(
        f"what came after the id {number - 1} is kept no longer; the oldest that is kept is {first}. Start anew: read "
        "the list, and watch without an id"
    )
