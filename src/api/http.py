"""The few pieces of HTTP that handlers of rows use: a request, an answer, a body.

Starlette's own classes do more than a row needs; measured, they cost as much as reading the row.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.types import Message, Receive, Scope

from src.api.entrance.access import Access, Principal
from src.auth.tombstones import Tombstones
from src.core.access import Action
from src.core.config import Settings
from src.core.errors import BodyTooLarge, InvalidRequest, Problem, RequestTimeout, UnsupportedMedia
from src.db.connection import Connection, Database, Result, Work
from src.db.queries.executor import transact

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = b"application/json"
FORM_TYPE = b"application/x-www-form-urlencoded"
MERGE_PATCH_TYPE = b"application/merge-patch+json"
NDJSON_TYPE = b"application/x-ndjson"
CSV_TYPE = b"text/csv"
# What new rows may come as, and what changes of a row.
ROWS_TYPES = (JSON_TYPE, NDJSON_TYPE, CSV_TYPE)
PATCH_TYPES = (MERGE_PATCH_TYPE, JSON_TYPE)
# The two names of one coding (RFC 9110).
GZIP = (b"gzip", b"x-gzip")
PLAIN = (b"", b"identity")
# What the body of a long query may be.
QUERY_TYPES = (JSON_TYPE, FORM_TYPE)
# What an answer may depend on, for caches.
VARY = (b"vary", b"Accept, Accept-Encoding, Authorization, Prefer")
# A client may keep an answer for itself, and asks whether it still holds before it uses it again.
CACHE_CONTROL = (b"cache-control", b"private, no-cache")


class Read(NamedTuple):
    """Rows that a part of a request has read, and that may be other people's."""

    method: str
    route: str
    """The path as it was declared."""
    table: str
    rows: int
    key: str
    """The row's key in the path; empty for a table's rows."""


class Answer(NamedTuple):
    """What a handler returns."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: bytes = JSON_TYPE
    rows: int | None = None
    """How many rows, or groups of rows, were read; None where reading was not what was asked."""
    reads: tuple[Read, ...] = ()
    """What the parts of a batch have read."""


class Tally:
    """The number of rows that a streamed answer has sent so far."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = 0


class StreamedAnswer(NamedTuple):
    """What a handler returns whose body is made while it is sent. Closing `chunks` frees what it holds."""

    chunks: AsyncGenerator[bytes, None]
    media_type: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_compressible: bool = True
    tally: Tally | None = None
    leave: Callable[[], None] | None = None
    """For an answer without end: called when its client has gone, so that the body ends."""


class Request(NamedTuple):
    """A request for a row or for a table's rows."""

    scope: Scope
    receive: Receive
    key: str
    """The row's key in the path, decoded; empty for a table's rows."""
    principal: Principal
    """Who asks."""
    transaction: Connection | None = None
    """What a part of a batch runs on."""

    def access(self, table: str, action: Action) -> Access:
        """What the request may touch of a table.

        Raises:
            Forbidden: its caller may not do this there.
            Unauthenticated: nobody may without saying who they are.
        """
        return self.principal.access(table, action)

    @property
    def db(self) -> Connection:
        """What the request's statements run on."""
        return self.transaction or self.database

    @property
    def database(self) -> Database:
        """The database of the application that serves the request."""
        database: Database = self.scope["app"].state.database
        return database

    @property
    def tombstones(self) -> Tombstones:
        """Who was erased."""
        tombstones: Tombstones = self.scope["app"].state.tombstones
        return tombstones

    async def write(self, work: Work[Result]) -> Result:
        """Carry out work whose one statement is atomic by itself."""
        await self._prepare()
        return await work(self.db)

    async def transact(
        self, work: Work[Result], *, is_rehearsal: bool = False, time_limit_s: float | None = None
    ) -> Result:
        """Carry out work in one transaction, all or nothing; of a rehearsal, nothing is stored."""
        await self._prepare()
        return await transact(self.db, work, is_rehearsal=is_rehearsal, time_limit_s=time_limit_s)

    async def _prepare(self) -> None:
        if not self.transaction:
            await self.tombstones.prepare(self.database)

    @property
    def path(self) -> str:
        """The path as the client wrote it, with the prefix of a proxy if there is one."""
        return quote(self.scope["path"], safe="/:@!$&'()*+,;=~")

    @property
    def query_string(self) -> str:
        """What stands after `?`, still encoded."""
        text: str = self.scope["query_string"].decode("latin-1")
        return text

    def header(self, name: bytes) -> bytes:
        """The value of a header, or nothing; several make one list. `name` in lower case."""
        values = [value for key, value in self.scope["headers"] if key == name]
        return values[0] if len(values) == 1 else b", ".join(values)

    async def json_body(self) -> bytes:
        """Read a body that says that it is JSON.

        Raises:
            UnsupportedMedia: another media type, another character set, or an encoding.
            BodyTooLarge: more bytes than the limit.
        """
        _, body = await self.body_of(JSON_TYPE)
        return body

    async def body_of(self, *media_types: bytes) -> tuple[bytes, bytes]:
        """Read a body of one of these media types, with as many bytes as one row may have; which it is, and the body.

        Raises:
            UnsupportedMedia: another media type, another character set, or an encoding.
            BodyTooLarge: more bytes than the limit.
        """
        return await self._read(media_types, self.settings.max_body_bytes)

    async def bulk_body_of(self, *media_types: bytes) -> tuple[bytes, bytes]:
        """The same with as many bytes as many rows may have; what is no list of rows has the limit of one."""
        media_type, body = await self._read(media_types, self.settings.max_bulk_bytes)
        if media_type == JSON_TYPE and len(body) > self.settings.max_body_bytes and not is_array(body):
            raise _too_large(self.settings.max_body_bytes)
        return media_type, body

    async def packed_body_of(self, *media_types: bytes) -> tuple[bytes, bytes]:
        """The same of a body that may be gzipped, with as many bytes as many rows may have, packed and unpacked.

        Raises:
            InvalidRequest: it is said to be gzipped and is not.
        """
        most, coding = self.settings.max_bulk_bytes, self.header(b"content-encoding").lower()
        if coding not in (*GZIP, *PLAIN):
            raise UnsupportedMedia(
                "a body is read as it is here, or gzipped; send it without Content-Encoding, or gzip it"
            )
        if coding not in GZIP:
            return await self._read(media_types, most)
        media_type, packed = await self._read(media_types, most, coding=b"")
        return media_type, unpack(packed, most)

    async def _read(
        self, media_types: tuple[bytes, ...], max_bytes: int, coding: bytes | None = None
    ) -> tuple[bytes, bytes]:
        coding = self.header(b"content-encoding") if coding is None else coding
        media_type = check_media_type(self.header(b"content-type"), coding, media_types)
        check_length(self.header(b"content-length"), max_bytes)
        if self.transaction:
            # The body of a part has arrived with its batch; on SQLite it is read where no event loop runs.
            return media_type, await _receive_all(self.receive, max_bytes)
        return media_type, await read_body(self.receive, max_bytes, self.settings.body_timeout_s)

    @property
    def settings(self) -> Settings:
        """The settings of the application that serves the request."""
        settings: Settings = self.scope["app"].state.settings
        return settings

    def inside(self, db: Connection, body: bytes) -> "Request":
        """The same request with a body that has arrived, as a part of a transaction."""
        return self._replace(receive=receive_of(body), transaction=db)

    def refuse_parameters(self) -> None:
        """Refuse a query where none is read: a misspelled parameter must not be ignored in silence."""
        if self.scope["query_string"]:
            name = shortened(self.query_string.partition("=")[0])
            raise InvalidRequest(
                f"{name} is no parameter here: this request takes none",
                (Problem("query", name, "this request takes no parameters"),),
            )


def check_media_type(content_type: bytes, content_encoding: bytes, known: tuple[bytes, ...]) -> bytes:
    """Refuse a body that is none of the known media types in UTF-8; which of them it is.

    A missing type is refused too: a foreign web page can send that without asking first (CORS).
    """
    if content_encoding.lower() not in PLAIN:
        raise UnsupportedMedia("a body is read as it is here; send it without Content-Encoding")
    if content_type in known:
        return content_type
    media_type, _, parameters = content_type.lower().partition(b";")
    media_type = media_type.strip()
    if media_type not in known:
        raise UnsupportedMedia(f"send a body with Content-Type: {b' or '.join(known).decode()}")
    charset = parameters.strip().partition(b"charset=")[2].strip(b'" ')
    if charset not in (b"", b"utf-8", b"utf8"):
        raise UnsupportedMedia("a body is read in UTF-8")
    return media_type


def is_array(body: bytes) -> bool:
    """Whether a body of JSON is an array, by its first sign."""
    return body[:1] == b"[" or body[:1000].lstrip()[:1] == b"["


def check_length(declared: bytes, max_bytes: int) -> None:
    """Refuse a body by its declared length, before a byte of it is read."""
    if len(declared) > 18 or (declared.isdigit() and int(declared) > max_bytes):
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_bytes} bytes")


async def read_body(receive: Receive, max_bytes: int, timeout_s: float) -> bytes:
    """Read a whole body of at most `max_bytes` bytes, which must be here in `timeout_s` seconds.

    Raises:
        BodyTooLarge: it has more.
        RequestTimeout: it is not; whatever trickles in gets no more time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _receive_all(receive, max_bytes)
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {timeout_s:g} seconds") from None


def receive_of(body: bytes) -> Receive:
    """What is called to receive a body that has arrived already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return receive


async def _receive_all(receive: Receive, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the client went away in the middle of its body")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unpack(packed: bytes, max_bytes: int) -> bytes:
    """Unpack a gzipped body, of which never more than the limit is made.

    Raises:
        InvalidRequest: it is not gzip.
        BodyTooLarge: it has more bytes than the limit.
    """
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = unpacker.decompress(packed, max_bytes + 1)
    except zlib.error:
        raise InvalidRequest("the body is not gzip, as Content-Encoding says") from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidRequest("the body is not one whole piece of gzip, as Content-Encoding says")
    return body


def shortened(text: str, limit: int = 100) -> str:
    """A client's text as an error may repeat it: printable, at most `limit` characters."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
