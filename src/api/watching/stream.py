"""A table's new rows as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from src.api.http import Request, StreamedAnswer, Tally
from src.api.parameters.values import invalid
from src.api.query import LAST_EVENT_ID, LAST_ID, parse_stream_request, split_query
from src.api.watching.listeners import Listener, Sighting
from src.api.watching.watch import RETRY_S, Watch, Watches
from src.core.access import Action
from src.core.errors import ApiError, InvalidRequest, Problem, TooManyRequests, Unavailable

EVENT_STREAM_TYPE = b"text/event-stream"
KEEP_ALIVE_S = 15.0
# How often, at most, it is asked whether a caller's credentials still count.
MIN_CHECK_S = 1.0
# A browser comes again so many milliseconds after a stream has ended.
RETRY_MS = 1000
# A proxy that collects answers must pass this one on as it comes: nginx asks for the header.
HEADERS = ((b"x-accel-buffering", b"no"),)

_match_last_id = re.compile(LAST_ID).fullmatch


class StreamHandlers:
    """The handler of one table."""

    def __init__(self, table: str) -> None:
        self._name = table

    async def watch_rows(self, request: Request) -> StreamedAnswer:
        """Answer new rows that pass every filter, as they are committed, as server-sent events without end.

        Each has the row's number as its `id`, the name `insert`, and the row as its data. With the last `id` in
        `Last-Event-ID` a stream goes on where another one stopped: nothing is lost and nothing comes twice, whichever
        process answers. Numbers follow the order of commits, not that of any time in the rows.
        """
        reach = request.access(self._name, Action.READ).reach
        if request.transaction:
            raise InvalidRequest("a stream is no part of a batch; ask for it alone")
        filters, asked_id = parse_stream_request(reach.table, split_query(request.query_string))
        last_id = _read_last_id(request.header(b"last-event-id").decode("latin-1"), asked_id)
        watches: Watches = request.scope["app"].state.watches
        watch = watches.of(self._name)
        if last_id is None:
            number = await watch.place_now()
        else:
            number = last_id + 1
            await watch.feed.check(request.db, number)
        listener = Listener(Sighting(reach, filters), number)
        tally = Tally()
        chunks = _chunks(request, watch, listener, tally)
        return StreamedAnswer(
            chunks, EVENT_STREAM_TYPE, HEADERS, is_compressible=False, tally=tally, leave=listener.end
        )


async def _chunks(request: Request, watch: Watch, listener: Listener, tally: Tally) -> AsyncGenerator[bytes, None]:
    # An id without data makes no event; the client knows from where to go on even if none ever comes.
    yield b"retry: %d\n%b" % (RETRY_MS, _place_of(listener))
    check_s = max(MIN_CHECK_S, request.settings.credentials_cache_s)
    spoke_at = checked_at = monotonic()

    def patience_s() -> float:
        return max(0.0, min(checked_at + check_s, spoke_at + KEEP_ALIVE_S) - monotonic())

    async with aclosing(watch.follow(listener, patience_s)) as pieces:
        async for piece in pieces:
            if monotonic() - checked_at >= check_s:
                if not await _still_counts(request, listener):
                    return
                checked_at = monotonic()
            if piece:
                spoke_at = monotonic()
                tally.rows += piece.rows
                yield piece.text
            elif monotonic() - spoke_at >= KEEP_ALIVE_S and not listener.has_pieces:
                # What came during the check is behind the listener's number, and not sent yet.
                spoke_at = monotonic()
                yield b": still here\n%b" % _place_of(listener)


def _place_of(listener: Listener) -> bytes:
    return b"id: %d\n\n" % (listener.number - 1)


async def _still_counts(request: Request, listener: Listener) -> bool:
    """Whether the caller is still who they were; asked until somebody can tell, and nothing is sent meanwhile."""
    door = request.scope["app"].state.door
    while not listener.has_ended:
        try:
            return bool(await door.identify_again(request.scope) == request.principal)
        except (Unavailable, TooManyRequests):
            await asyncio.sleep(RETRY_S)
        except ApiError:
            return False
    return False


def _read_last_id(header: str, parameter: str) -> int | None:
    """The last id that the client knows; the header comes first, which browsers send when they come again."""
    for name, place, text in (("Last-Event-ID", "header", header), (LAST_EVENT_ID, "query", parameter)):
        if text and not _match_last_id(text):
            reason = "takes the id of an event of this stream, an integer of up to 18 digits"
            if place == "query":
                raise invalid(name, text, reason)
            raise InvalidRequest(f"{name}: {reason}", (Problem(place, name, reason),))
    text = header or parameter
    return int(text) if text else None
