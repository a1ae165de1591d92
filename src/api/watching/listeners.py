"""Those who watch a table, one by one: what each sees, where it stands, and what waits for it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from src.core.tables import Reach
from src.db.queries.query import Condition, Filter

MAX_WAITING_BYTES = 64 * 1024


class Sighting(NamedTuple):
    """What a listener sees of a table's new rows. Those with an equal one are told the same."""

    reach: Reach
    filters: tuple[Condition, ...]

    @property
    def only_owner(self) -> str | None:
        """Whose rows alone can be among them, as far as that is plain."""
        table, person = self.reach
        if self.reach.is_owned:
            return person
        for each in self.filters:
            if isinstance(each, Filter) and each.target == (table.owner, ()) and each.operator == "eq":
                return str(each.value)
        return None


class Event(NamedTuple):
    """A new row as a client is told of it."""

    number: int
    text: bytes


class Piece(NamedTuple):
    """What a client is sent at once."""

    text: bytes
    rows: int


class Listener:
    """One client that watches a table."""

    __slots__ = ("_pieces", "_waiting", "_waiting_bytes", "has_ended", "is_at_end", "number", "sighting")

    def __init__(self, sighting: Sighting, number: int) -> None:
        self.sighting = sighting
        self.number = number
        """The number of the first row of which it was not told."""
        self.is_at_end = False
        """Whether the reader tells it."""
        self.has_ended = False
        # Most listeners are idle, and there may be thousands: an empty list and no event keep them small.
        self._pieces: list[Piece] = []
        self._waiting_bytes = 0
        self._waiting: asyncio.Future[bool] | None = None

    def give(self, end: int, events: Sequence[Event], text: bytes) -> bool:
        """Take what there is of the rows before number `end`; False where it has no room for that.

        `text` is that of all events.
        """
        if events and events[0].number < self.number:
            events = [event for event in events if event.number >= self.number]
            text = text_of(events)
        if events:
            has_room = self._waiting_bytes + len(text) <= MAX_WAITING_BYTES
            if not has_room and (self._pieces or len(events) > 1):
                return False
            self._pieces.append(Piece(text, len(events)))
            self._waiting_bytes += len(text)
            self._wake(is_news=True)
        self.number = max(self.number, end)
        return True

    @property
    def has_pieces(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._pieces)

    def take(self) -> Piece | None:
        """The next piece that waits."""
        if not self._pieces:
            return None
        piece = self._pieces.pop(0)
        self._waiting_bytes -= len(piece.text)
        return piece

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to take or the end has come; False when neither was in so many seconds."""
        if self._pieces or self.has_ended:
            return True
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        patience = loop.call_later(seconds, lambda: self._wake(is_news=False))
        try:
            return await self._waiting
        finally:
            patience.cancel()

    def _wake(self, *, is_news: bool) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(is_news)

    def end(self) -> None:
        """Tell it nothing more."""
        self.has_ended = True
        self._wake(is_news=True)


def that_fit(events: Sequence[Event]) -> Sequence[Event]:
    """As many events from the first on as a listener has room for; one in any case."""
    room = MAX_WAITING_BYTES
    for place, event in enumerate(events):
        room -= len(event.text)
        if room < 0 and place:
            return events[:place]
    return events


def write_event(number: int, row: str) -> bytes:
    """A new row as a server-sent event."""
    if "\n" in row or "\r" in row:
        # A document that somebody else wrote may have line feeds between its tokens.
        row = row.replace("\n", " ").replace("\r", " ")
    return f"id: {number}\nevent: insert\ndata: {row}\n\n".encode()


def text_of(events: Iterable[Event]) -> bytes:
    """Events as they are sent one after the other."""
    return b"".join([text for _, text in events])
