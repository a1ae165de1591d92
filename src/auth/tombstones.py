"""Who was erased: keyed hashes, from which nobody can be named again without the key."""

import hmac
import secrets as random
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256

import msgspec

from src.core.errors import PersonErased, SchemaMismatch
from src.core.tables import Reach, TableInfo
from src.core.values import now
from src.db.connection import Connection, Database
from src.db.queries import builder
from src.db.queries.executor import change_rows, fetch_keys, fetch_row, write_row
from src.db.queries.writes import OnConflict

KEY_NAME = "tombstones"
KEY_BYTES = 32
# Hashes of people who write are wanted again and again.
CACHED_MARKS = 10_000


class Tombstones:
    """Makes the marks of people, and knows which of them were erased.

    The key is a setting, or else a secret that the service makes once and keeps in its database.
    """

    def __init__(self, tombstones: TableInfo, secrets: TableInfo, key: str) -> None:
        self._tombstones = Reach.whole(tombstones)
        self._secrets = Reach.whole(secrets)
        self._key = key
        self._mark = lru_cache(CACHED_MARKS)(self._make_mark)

    async def prepare(self, database: Database) -> None:
        """Have the key before the first mark is made.

        Never in a transaction: one that is undone would take the key back which this process goes on using, and marks
        would be made that no other process knows.
        """
        if not self._key:
            # A database of somebody else's tables lacks ours, which only rows about people need.
            with suppress(SchemaMismatch):
                self._key = await self._find_key(database)

    def mark(self, person: str) -> str:
        """The mark of a person: 64 hexadecimal digits.

        Raises:
            SchemaMismatch: the database has no place for the key.
        """
        if not self._key:
            raise SchemaMismatch("the database lacks the tables of who was erased; run: alembic upgrade head")
        return self._mark(person)

    async def put(self, db: Connection, person: str) -> None:
        """Remember that a person was erased."""
        values = {"tombstone": self.mark(person), "created_at": now()}
        await change_rows(db, builder.insert_row(self._tombstones, values, OnConflict.IGNORE))

    async def refuse_erased(self, db: Connection, people: Iterable[str]) -> None:
        """Refuse rows about people of whom one was erased.

        Raises:
            PersonErased: one was.
        """
        if await self.find_erased(db, people):
            raise PersonErased(ERASED)

    async def find_erased(self, db: Connection, people: Iterable[str]) -> set[str]:
        """Those of some people who were erased."""
        marks = {self.mark(person): person for person in people}
        condition = builder.has_one_of(self._tombstones.table, marks)
        return {marks[str(mark)] for mark in await fetch_keys(db, builder.select_keys(self._tombstones, (condition,)))}

    def _make_mark(self, person: str) -> str:
        return hmac.digest(self._key.encode(), person.encode(), sha256).hex()

    async def _find_key(self, db: Database) -> str:
        """The key in the database; the first of all processes who looks makes it."""
        text = await fetch_row(db, builder.select_row(self._secrets, KEY_NAME))
        if text is None:
            new = {"name": KEY_NAME, "value": random.token_hex(KEY_BYTES), "created_at": now()}
            await write_row(db, builder.insert_row(self._secrets, new, OnConflict.IGNORE))
            text = await fetch_row(db, builder.select_row(self._secrets, KEY_NAME))
        assert text is not None, "a secret that was just stored is there"
        value: str = msgspec.json.decode(text)["value"]
        return value


ERASED = "the person was erased; rows about them are not stored any more"
