"""Requests that are carried out once, however often they arrive: the `Idempotency-Key` header.

The key, what the request does and its answer are committed in one transaction, so none is there without the others.
The key comes first: whoever brings the same one meanwhile waits for that transaction, in this process or another; on
PostgreSQL by the unique index, on SQLite by its one writer. A request that fails leaves no key behind.
(draft-ietf-httpapi-idempotency-key-header-07, whose 422 for another request under the same key is a 409 here.)
"""

from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from src.api.direct import Handler
from src.api.http import Answer, Read, Request, StreamedAnswer, check_length, read_body
from src.api.preferences import read_preferences
from src.core.errors import InvalidRequest, KeyReused, PersonErased, Problem, Unavailable
from src.core.tables import Kind, Reach
from src.core.values import now
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import change_rows, fetch_row, write_row
from src.db.queries.filters import is_null
from src.db.queries.query import Filter, Junction, Target
from src.db.queries.writes import OnConflict
from src.models import idempotency_keys

NAME = "Idempotency-Key"
HEADER = NAME.lower().encode()
MAX_KEY_LENGTH = 255
# How long an answer is kept at least.
KEPT_H = 24
# A body of many rows and what the server adds to them; longer answers are not to fill the database.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
# What makes another request of the same body, beside its address.
HEADERS = (b"content-type", b"prefer", b"if-match", b"if-none-match")
REPLAYED = (b"idempotency-replayed", b"true")
# How often a key may come and go while it is looked for.
MAX_TRIES = 10

KEYS = Reach.whole(idempotency_keys.TABLE.info)

Check = Callable[[Request], None]


class Head(msgspec.Struct):
    """What is stored of an answer beside its status and its body."""

    media_type: str
    headers: list[tuple[str, str]]
    location: str = ""
    """The address of the one row that was made."""
    reads: list[Read] | None = None


class Stored(msgspec.Struct):
    """A key as the database has it."""

    fingerprint: str
    status: int | None
    headers: Head | None
    answer: str | None


_decode = msgspec.json.Decoder(Stored).decode


def once(handler: Handler, check: Check) -> Handler:
    """Make a handler that carries out a request with an `Idempotency-Key` once, and answers it again after that.

    `check` refuses who may not ask this, or not any more: it runs before anything is answered again.
    """

    @wraps(handler)
    async def answer(request: Request) -> Answer | StreamedAnswer:
        key = read_key(request)
        # What is only tried leaves nothing behind, so it may as well be tried again.
        if key is None or read_preferences(request.header(b"prefer")).is_rehearsal:
            return await handler(request)
        check(request)
        settings = request.settings
        check_length(request.header(b"content-length"), settings.max_bulk_bytes)
        body = await read_body(request.receive, settings.max_bulk_bytes, settings.body_timeout_s)
        attempt = Attempt(_hash_of(request, key), _fingerprint_of(request, body))

        async def run(db: Connection) -> Answer:
            if stored := await attempt.take(db):
                return attempt.replay(stored)
            answer = await handler(request.inside(db, body))
            assert isinstance(answer, Answer), "what is written is not answered while it is made"
            await attempt.keep(db, answer)
            return answer

        return await request.transact(run)

    return answer


def read_key(request: Request) -> str | None:
    """The key that a client gave its request; None where it gave none.

    Raises:
        InvalidRequest: it is empty, too long or not printable, or there are two.
    """
    keys = [value for name, value in request.scope["headers"] if name == HEADER]
    if not keys:
        return None
    text: str = keys[0].decode("latin-1")
    if len(keys) > 1 or not (text.isascii() and text.isprintable() and 0 < len(text) <= MAX_KEY_LENGTH):
        reason = f"takes one key of 1 to {MAX_KEY_LENGTH} printable ASCII characters, such as a new UUID"
        raise InvalidRequest(f"{NAME} {reason}", (Problem("header", NAME, reason),))
    return text


class Attempt(NamedTuple):
    """One arrival of a request with a key."""

    key_hash: str
    fingerprint: str

    async def take(self, db: Connection) -> Stored | None:
        """Take the key; None, or what is stored under it by an earlier arrival, which is waited for."""
        values = {"key_hash": self.key_hash, "fingerprint": self.fingerprint, "created_at": now()}
        for _ in range(MAX_TRIES):
            if await write_row(db, builder.insert_row(KEYS, values, OnConflict.IGNORE)):
                return None
            if text := await fetch_row(db, builder.select_row(KEYS, self.key_hash)):
                return _decode(text)
            # It was cleaned up in between.
        raise Unavailable(f"the answer to this {NAME} is being cleaned up; try again")

    async def keep(self, db: Connection, answer: Answer) -> None:
        """Store the answer under the key.

        Raises:
            InvalidRequest: it is too long to be kept.
        """
        if len(answer.body) > MAX_ANSWER_BYTES:
            reason = f"keeps answers of at most {MAX_ANSWER_BYTES} bytes, and this one has {len(answer.body)}"
            raise InvalidRequest(
                f"{NAME} {reason}; send less at once, or Prefer: return=minimal", (Problem("header", NAME, reason),)
            )
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
        head = Head(answer.media_type.decode(), headers, dict(headers).get("location", ""), list(answer.reads) or None)
        values = {
            "status": answer.status,
            "headers": msgspec.json.encode(head).decode(),
            "answer": answer.body.decode(),
        }
        await change_rows(db, builder.update_rows(KEYS, values, (builder.has_key(KEYS.table, self.key_hash),)))

    def replay(self, stored: Stored) -> Answer:
        """The answer that is stored.

        Raises:
            KeyReused: it answers another request.
            PersonErased: it mentioned somebody who was erased meanwhile.
        """
        if stored.fingerprint != self.fingerprint:
            raise KeyReused(
                f"another request had this {NAME}: with another address, body, Content-Type or Prefer; "
                "send the same request again, or a new key"
            )
        if stored.status is None or stored.headers is None or stored.answer is None:
            raise PersonErased(FORGOTTEN)
        head = stored.headers
        headers = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers)
        body, reads = stored.answer.encode(), tuple(head.reads or ())
        return Answer(stored.status, body, (*headers, REPLAYED), head.media_type.encode(), reads=reads)


FORGOTTEN = "this was carried out before; what was answered is not kept, because somebody it may mention was erased"


async def forget_answers(db: Connection, person: str) -> None:
    """Forget stored answers that mention a person, or that have read rows which may be theirs.

    Their keys stay: what they stand for was done, and is not to be done again.
    """
    answer, head = Target("answer"), "headers"
    mentions = (
        Filter(answer, "contains", Kind.TEXT, ("", msgspec.json.encode(person).decode(), "")),
        Filter(answer, "contains", Kind.TEXT, ("", f'/{quote(person, safe="")}"', "")),
        Filter(Target(head, ("location",)), "like", Kind.TEXT, ("", f"/{quote(person, safe='')}")),
        is_null(Target(head, ("reads",)), answer=False),
    )
    nothing = {"status": None, "headers": None, "answer": None}
    conditions = (Junction(is_any=True, is_negated=False, conditions=mentions),)
    await change_rows(db, builder.update_rows(KEYS, nothing, conditions))


def _hash_of(request: Request, key: str) -> str:
    """A key is its caller's own: another one's same key is another key."""
    principal = request.principal
    return sha256(msgspec.json.encode([principal.role, principal.name, key])).hexdigest()


def _fingerprint_of(request: Request, body: bytes) -> str:
    named = [request.header(name).decode("latin-1") for name in HEADERS]
    what = sha256(msgspec.json.encode([request.scope["method"], request.path, request.query_string, *named]))
    what.update(body)
    return what.hexdigest()
