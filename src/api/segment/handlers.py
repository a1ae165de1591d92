"""Segment's tracking API: its SDKs, and those of RudderStack, deliver events here unmodified.

An SDK forgets what was answered with 200, waits after 429 and 503, and gives a whole batch up after any other error. So
what is wrong with one message never costs another: it is told in the answer, and the others are stored.
"""

from collections.abc import Sequence

import msgspec

from src.api.deliveries.delivering import Outcome, Result, Verdict, deliver
from src.api.deliveries.given_events import MAX_EVENTS, GivenEvent, Unreadable
from src.api.direct import Handler
from src.api.given_rows import given_row
from src.api.http import FORM_TYPE, GZIP, JSON_TYPE, Answer, Request
from src.api.segment.messages import Columns, Envelope, event_of, read_envelope
from src.api.writer import Writer
from src.core.access import Action
from src.core.errors import BodyTooLarge, InvalidRequest, Unavailable
from src.core.values import now

# A message that is sent alone comes in none.
ALONE = Envelope([])
STORED = (Result.OK, Result.DUPLICATE)


class SegmentHandlers:
    """The handlers that store messages as rows of a table."""

    def __init__(self, table: str, columns: Columns) -> None:
        self._name = table
        self._columns = columns

    async def store_batch(self, request: Request) -> Answer:
        """Store the messages of a batch, each for itself; what was stored before is not stored again.

        For SDKs of Segment and RudderStack, whose write key is an API key with the scope `events:append`. `results` has
        the messages that cannot be stored.
        """
        writer = self._writer(request)
        envelope = read_envelope(await _read(request))
        if len(envelope.batch) > MAX_EVENTS:
            raise BodyTooLarge(f"{MAX_EVENTS} messages are the most in one batch; send the others in another one")
        return _answer(await self._store(request, writer, envelope.batch, envelope, ""))

    def store_one(self, type_: str) -> Handler:
        """The handler that stores a message of this type."""

        async def store_message(request: Request) -> Answer:
            """Store one message; what was stored before is not stored again."""
            writer = self._writer(request)
            message = msgspec.Raw(await _read(request))
            return _answer_one(await self._store(request, writer, [message], ALONE, type_))

        return store_message

    def _writer(self, request: Request) -> Writer:
        request.refuse_parameters()
        return Writer(request.access(self._name, Action.CREATE), request.tombstones, auto_timestamps=True)

    async def _store(
        self, request: Request, writer: Writer, messages: Sequence[msgspec.Raw], envelope: Envelope, type_: str
    ) -> Outcome:
        received_at = now()

        def read(message: msgspec.Raw) -> GivenEvent:
            try:
                event = event_of(self._columns, bytes(message), envelope, type_, received_at)
                return given_row(writer.models, event.text)._replace(filled=event.filled)
            except InvalidRequest as error:
                return Unreadable(error.detail.replace("the body", "the message"))

        return await deliver(request, writer, map(read, messages), None, is_rehearsal=False)


async def _read(request: Request) -> bytes:
    # RudderStack's SDK for Node calls all that it gzips a form. Web pages of others cannot: browsers ask first (CORS)
    # about a request with a Content-Encoding.
    is_packed = request.header(b"content-encoding").lower() in GZIP
    _, body = await request.packed_body_of(*((JSON_TYPE, FORM_TYPE) if is_packed else (JSON_TYPE,)))
    return body


def _answer(outcome: Outcome) -> Answer:
    """The answer to all messages of a request.

    Raises:
        Unavailable: one may be stored later; SDKs send all of them again for this, and for nothing that is said of one.
    """
    for verdict in outcome.verdicts.values():
        if verdict.result is Result.RETRY:
            raise Unavailable(verdict.detail)
    refused = {label: _told(verdict) for label, verdict in outcome.verdicts.items() if verdict.result not in STORED}
    return Answer(200, msgspec.json.encode({"success": True} | ({"results": refused} if refused else {})))


def _answer_one(outcome: Outcome) -> Answer:
    """The answer to one message.

    Raises:
        InvalidRequest: it cannot be stored.
    """
    (verdict,) = outcome.verdicts.values()
    if verdict.result not in STORED:
        raise InvalidRequest(verdict.detail)
    return _answer(outcome)


def _told(verdict: Verdict) -> dict[str, str]:
    return {"result": verdict.result.value, "detail": verdict.detail}
