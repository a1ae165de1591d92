"""Those who watch a table: one reader per table and process tells all who have seen what there is.

    a listener behind ─▶ reads for itself, a piece at a time, as fast as its client takes them
    a listener at the end ─▶ is given pieces by the reader, which looks for new rows every `POLL_S` seconds
                             and reads them once for all who see the same columns, owner and filters

One that is given more than it takes stands behind again. So nobody holds more than `MAX_WAITING_BYTES` and a piece.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from time import time
from typing import TypeVar

from src.api.dependencies import MODEL_MAP
from src.api.watching.listeners import Event, Listener, Piece, Sighting, text_of, that_fit, write_event
from src.core.config import Settings
from src.core.errors import ApiError, ShuttingDown, Unavailable
from src.db.connection import Database
from src.db.feeds import Feed, FeedTables, NumberedKey
from src.db.queries import builder
from src.db.queries.executor import fetch_rows
from src.models import changes, feeds

POLL_S = 0.05
# How long to wait before the database is asked again that was away.
RETRY_S = 1.0
# After so many new rows at once the next look comes without a pause.
MANY_ROWS = 100
# How many listeners of a table may read for themselves at the same moment: requests need connections too.
READING_AT_ONCE = 3
# How often rows are numbered that nobody watches, and how often changes are forgotten.
IDLE_S = 5.0
FORGET_EVERY_S = 600.0

Result = TypeVar("Result")

log = logging.getLogger("watch")


class Watch:
    """Those who watch one table in this process."""

    def __init__(self, database: Database, table: str) -> None:
        self._db = database
        self.feed = Feed(MODEL_MAP[table].info, FeedTables(changes.TABLE.info, feeds.TABLE.info))
        self._groups: dict[Sighting, set[Listener]] = {}
        """Those at the end."""
        self._number = 0
        """The number of the first row that the reader has not read; without meaning while nobody is at the end."""
        self._reader: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(READING_AT_ONCE)
        self.listeners: set[Listener] = set()

    async def place_now(self) -> int:
        """The number of the first row that is committed from now on."""
        await self.feed.number_all(self._db)
        return await self.feed.next_number(self._db)

    async def follow(self, listener: Listener, patience_s: Callable[[], float]) -> AsyncGenerator[Piece | None, None]:
        """Yield what a listener is told, in pieces; None wherever nothing came for so many seconds.

        Also None where a listener that stands behind has read rows of which it sees none.
        It ends with the listener, or where that cannot be told all.
        """
        self.listeners.add(listener)
        try:
            while not listener.has_ended:
                if piece := listener.take():
                    yield piece
                elif not (listener.is_at_end or self._takes_over(listener)):
                    await self._read_alone(listener)
                    if not listener.has_pieces:
                        yield None
                elif not await listener.wait(patience_s()):
                    yield None
        finally:
            self.listeners.discard(listener)
            self._leave(listener)

    def _takes_over(self, listener: Listener) -> bool:
        """Let the reader tell a listener from now on, if that has seen what the reader has read."""
        if not self._groups or listener.number < self._number:
            return False
        self._join(listener)
        return True

    def _join(self, listener: Listener) -> None:
        self._groups.setdefault(listener.sighting, set()).add(listener)
        listener.is_at_end = True
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    def _leave(self, listener: Listener) -> None:
        listener.is_at_end = False
        if members := self._groups.get(listener.sighting):
            members.discard(listener)
            if not members:
                del self._groups[listener.sighting]

    async def _read_alone(self, listener: Listener) -> None:
        """Read on for a listener that stands behind. The first one that finds nothing wakes the reader."""
        try:
            async with self._turns:
                keys = await self.feed.read(self._db, listener.number)
                if keys:
                    events = await self._events(listener.sighting, keys)
                    given = that_fit(events)
                    last = keys[-1] if len(given) == len(events) else given[-1]
                    listener.give(last.number + 1, given, text_of(given))
                elif not self._groups:
                    self._number = listener.number
                    self._join(listener)
        except Unavailable:
            await listener.wait(RETRY_S)
        except ApiError as error:
            log.warning("a stream ended: %s", error)
            listener.end()

    async def _read(self) -> None:
        """Tell those at the end of new rows, for as long as there are any."""
        while self._groups:
            try:
                is_behind = await self._read_on()
                await asyncio.sleep(0 if is_behind else POLL_S)
            except Exception:
                # Whatever it is, those who watch must not wait for ever: they come again.
                log.exception("defect")
                self.end()
                await asyncio.sleep(RETRY_S)
        self._reader = None

    async def _read_on(self) -> bool:
        """Number and read what is new, once; whether there may be more."""
        number = self._number
        await self._insist(lambda: self.feed.number(self._db))
        keys = await self._insist(lambda: self.feed.read(self._db, number))
        if not keys or number != self._number:
            return bool(keys)
        # From here on, whoever joins stands behind these rows.
        self._number = keys[-1].number + 1
        groups = [(sighting, tuple(listeners)) for sighting, listeners in self._groups.items()]
        owners = await self._owners(keys, (sighting for sighting, _ in groups))
        for sighting, listeners in groups:
            events: list[Event] = []
            if sighting.only_owner is None or sighting.only_owner in owners:
                events = await self._insist(lambda each=sighting: self._events(each, keys))  # type: ignore[misc]
            text = text_of(events)
            for listener in listeners:
                if listener.is_at_end and not listener.give(self._number, events, text):
                    self._leave(listener)
        return len(keys) >= MANY_ROWS

    async def _owners(self, keys: Sequence[NumberedKey], sightings: Iterable[Sighting]) -> set[str]:
        """Whose the new rows are, where somebody sees those of one person only."""
        owner = next((each.reach.table.owner for each in sightings if each.only_owner is not None), "")
        if not owner:
            return set()
        return await self._insist(lambda: self.feed.owners(self._db, owner, [key for _, key in keys]))

    async def _events(self, sighting: Sighting, keys: Sequence[NumberedKey]) -> list[Event]:
        """What a sighting has of the new rows, in their order; one that is gone is left out."""
        reach, filters = sighting
        among = builder.has_one_of(reach.table, [key for _, key in keys])
        found = await fetch_rows(self._db, builder.select_rows(reach, (*filters, among)))
        rows = {str(key): row for row, key in found}
        return [Event(number, write_event(number, rows[key])) for number, key in keys if key in rows]

    async def _insist(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Ask the database until it answers: what was read once is not read again for those at the end."""
        while True:
            try:
                return await ask()
            except Unavailable as error:
                log.warning("watching waits: %s", error)
                await asyncio.sleep(RETRY_S)

    def end(self) -> None:
        """End all streams of the table; their clients go on elsewhere."""
        for listener in self.listeners:
            listener.end()

    async def close(self) -> None:
        """End all streams, and the reader."""
        self.end()
        if self._reader:
            self._reader.cancel()
            await asyncio.wait([self._reader])


class Watches:
    """The tables of an application that can be watched."""

    def __init__(self, database: Database, settings: Settings, tables: Iterable[str]) -> None:
        self._db = database
        self._max_listeners = settings.max_streams
        self._kept_s = settings.stream_retention_h * 3600
        self._watches = {table: Watch(database, table) for table in tables}
        self._has_ended = False
        self._tending = asyncio.create_task(self._tend())

    def of(self, table: str) -> Watch:
        """Those who watch a table, for one more.

        Raises:
            Unavailable: this process takes no more.
        """
        if self._has_ended:
            raise ShuttingDown("the process is about to end; watch again and another one answers")
        if sum(len(watch.listeners) for watch in self._watches.values()) >= self._max_listeners:
            raise Unavailable(f"{self._max_listeners} streams are open in this process; try again, or ask the list")
        return self._watches[table]

    def end(self) -> None:
        """End all streams, and begin none."""
        self._has_ended = True
        for watch in self._watches.values():
            watch.end()

    async def close(self) -> None:
        """End everything before the database closes."""
        self.end()
        self._tending.cancel()
        await asyncio.wait([self._tending])
        for watch in self._watches.values():
            await watch.close()

    async def _tend(self) -> None:
        """Number what nobody watches, and forget what is too old."""
        forgets_at = 0.0
        while True:
            await asyncio.sleep(IDLE_S)
            is_due = time() >= forgets_at
            try:
                for watch in self._watches.values():
                    await watch.feed.number_all(self._db)
                    if is_due:
                        await self._forget(watch)
            except Unavailable:
                continue
            except Exception:
                log.exception("defect")
            if is_due:
                forgets_at = time() + FORGET_EVERY_S

    async def _forget(self, watch: Watch) -> None:
        """Forget what is too old, a little at a time."""
        before_s = time() - self._kept_s
        is_done = False
        while not is_done:
            is_done = not await watch.feed.forget(self._db, before_s)
