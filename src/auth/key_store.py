"""API keys in the database."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from hmac import compare_digest
from time import monotonic, time
from typing import NamedTuple

import msgspec

from src.auth.api_keys import NewKey, hash_of, make_key, read_key
from src.auth.timed_cache import TimedCache
from src.core.errors import ApiError
from src.core.tables import Reach, TableInfo
from src.core.values import now
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import fetch_row, fetch_rows, write_row

MAX_KEYS = 10_000
HOUR_S = 3600.0

log = logging.getLogger("auth")


class StoredKey(msgspec.Struct):
    """A key as the database has it."""

    key_id: str
    name: str
    key_hash: str
    scopes: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def ends_at(self) -> float:
        """When it stops to count, in seconds of Unix time."""
        ends = [end.timestamp() for end in (self.expires_at, self.revoked_at) if end]
        return min(ends, default=float("inf"))


_decode = msgspec.json.Decoder(StoredKey).decode


class ApiKey(NamedTuple):
    """A key that counts."""

    key_id: str
    scopes: frozenset[str]


class KeyTable:
    """The table of keys."""

    def __init__(self, table: TableInfo) -> None:
        self._reach = Reach.whole(table)

    async def find(self, db: Connection, key_id: str) -> StoredKey | None:
        """The key with this id."""
        text = await fetch_row(db, builder.select_row(self._reach, key_id))
        return None if text is None else _decode(text)

    async def list(self, db: Connection) -> list[StoredKey]:
        """All keys, the oldest first."""
        keys = [_decode(text) for text, _ in await fetch_rows(db, builder.select_rows(self._reach, ()))]
        return sorted(keys, key=lambda key: (key.created_at, key.key_id))

    async def create(self, db: Connection, name: str, scopes: frozenset[str], expires_at: datetime | None) -> NewKey:
        """Make a key and store its hash."""
        new, instant = make_key(), now()
        values = {
            "key_id": new.key_id,
            "name": name,
            "key_hash": new.key_hash,
            "scopes": " ".join(sorted(scopes)),
            "expires_at": expires_at,
            "created_at": instant,
            "updated_at": instant,
        }
        await write_row(db, builder.insert_row(self._reach, values))
        return new

    async def change(self, db: Connection, key_id: str, **values: datetime | None) -> bool:
        """Set instants of a key; whether there is such a key."""
        statement = builder.update_row(self._reach, key_id, {**values, "updated_at": now()})
        return await write_row(db, statement) is not None


class KeyStore:
    """Finds the keys that callers show, each at most once in `cache_s` seconds."""

    def __init__(self, table: TableInfo, cache_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._keys = KeyTable(table)
        self._cache_s = cache_s
        self._clock = clock
        self._found: TimedCache[ApiKey] = TimedCache(MAX_KEYS, clock)
        self._trusted: TimedCache[bool] = TimedCache(MAX_KEYS, clock)
        self._looking: dict[str, asyncio.Future[ApiKey | None]] = {}
        self._used_until: TimedCache[bool] = TimedCache(MAX_KEYS, clock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, db: Connection, text: str, before_look: Callable[[], None]) -> ApiKey | None:
        """The key that a text is; None when there is none, or it has ended.

        `before_look` is called before one is looked at that has not counted within the last hour, and may raise.
        """
        key_hash = hash_of(text)
        key = self._found.get(key_hash)
        if key is None:
            if self._trusted.get(key_hash) is None:
                before_look()
            parts = read_key(text)
            key = await self._find_once(db, *parts) if parts else None
        if key is not None and self._used_until.get(key.key_id) is None:
            self._note_use(db, key.key_id)
        return key

    async def close(self) -> None:
        """Wait for what runs in the background."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _find_once(self, db: Connection, key_id: str, key_hash: str) -> ApiKey | None:
        """Look a key up; many who ask for it at once share the look."""
        looking = self._looking.get(key_hash)
        if looking is None:
            looking = self._looking[key_hash] = asyncio.ensure_future(self._look(db, key_id, key_hash))
            looking.add_done_callback(lambda _: self._looking.pop(key_hash, None))
        return await asyncio.shield(looking)

    async def _look(self, db: Connection, key_id: str, key_hash: str) -> ApiKey | None:
        stored = await self._keys.find(db, key_id)
        if stored is None or not compare_digest(stored.key_hash, key_hash):
            return None
        remaining_s = stored.ends_at() - time()
        if remaining_s <= 0:
            return None
        key = ApiKey(key_id, frozenset(stored.scopes.split()))
        self._found.put(key_hash, key, min(self._cache_s, remaining_s))
        self._trusted.put(key_hash, value=True, seconds=HOUR_S)
        used = stored.last_used_at
        if used and used.timestamp() // HOUR_S == time() // HOUR_S:
            self._used_until.put(key_id, value=True, seconds=HOUR_S - time() % HOUR_S)
        return key

    def _note_use(self, db: Connection, key_id: str) -> None:
        """Write down, once an hour and beside the request, that a key is used."""
        self._used_until.put(key_id, value=True, seconds=HOUR_S - time() % HOUR_S)
        task = asyncio.create_task(self._write_use(db, key_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_use(self, db: Connection, key_id: str) -> None:
        hour = now().replace(minute=0, second=0, microsecond=0)
        try:
            await self._keys.change(db, key_id, last_used_at=hour)
        except ApiError as error:
            log.warning("The use of the API key %s could not be written down: %s", key_id, error)
