"""How answers are sent: whole or while they are made, compressed where the client takes it."""

import asyncio
from contextlib import aclosing
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from src.api.compression import MIN_BYTES, Coding, Compressor, choose_coding
from src.api.entrance.security_headers import security_headers
from src.api.http import CACHE_CONTROL, VARY, Answer, Headers, StreamedAnswer
from src.core.errors import Unavailable

# No content, not modified.
BODILESS = (204, 304)
# Already compressed inside.
PACKED = (b"image/", b"font/")
# Takes a few milliseconds to compress.
LARGE_BYTES = 512 * 1024


class ClientGone(Exception):
    """The client went away, or took nothing for too long, while its answer was being sent."""


def coding_for(scope: Scope) -> Coding | None:
    """The content coding that a request takes."""
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            return choose_coding(value)
    return None


async def send_answer(answer: Answer, scope: Scope, send: Send, request_id: str) -> int:
    """Send an answer; to HEAD without its body. The number of bytes of its body."""
    status, body, more, media_type, *_ = answer
    headers: Headers = [*more, (b"x-request-id", request_id.encode()), VARY, CACHE_CONTROL, *security_headers(scope)]
    if status not in BODILESS:
        if len(body) >= MIN_BYTES and (coding := coding_for(scope)):
            body = await compress(coding, body)
            headers = [_tag_of_coding(header, coding) if header[0] == b"etag" else header for header in headers]
            headers.append((b"content-encoding", coding.name))
        if body:
            headers.append((b"content-type", media_type))
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
    return len(body)


def _tag_of_coding(header: tuple[bytes, bytes], coding: Coding) -> tuple[bytes, bytes]:
    """The entity tag of a row that is sent compressed: those are other bytes."""
    return (b"etag", b'%s-%s"' % (header[1][:-1], coding.name))


async def compress(coding: Coding, body: bytes) -> bytes:
    """Compress a body; a large one beside other requests."""
    return coding.compress(body) if len(body) <= LARGE_BYTES else await asyncio.to_thread(coding.compress, body)


async def compress_messages(start: Message, body: Message, scope: Scope) -> None:
    """Compress an answer of somebody else in two messages, where that gains something."""
    headers = {name.lower(): value for name, value in start["headers"]}
    content = body.get("body", b"")
    if body.get("more_body") or len(content) < MIN_BYTES or b"content-encoding" in headers:
        return
    if headers.get(b"content-type", b"").startswith(PACKED):
        return
    if coding := coding_for(scope):
        body["body"] = await compress(coding, content)
        headers |= {b"content-length": b"%d" % len(body["body"]), b"content-encoding": coding.name}
    start["headers"] = [*headers.items(), (b"vary", b"Accept-Encoding")]


class StreamSender:
    """Sends one answer while it is made."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, stall_s: float) -> None:
        self.bytes_sent = 0
        self.has_begun = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._stall_s = stall_s

    async def send(self, answer: StreamedAnswer, request_id: str) -> None:
        """Send an answer piece by piece; what fails before the first piece has nothing sent.

        Raises:
            ClientGone: nobody takes the rest.
        """
        coding = coding_for(self._scope) if answer.is_compressible else None
        headers: Headers = [*answer.headers, (b"x-request-id", request_id.encode()), VARY, CACHE_CONTROL]
        headers.extend(security_headers(self._scope))
        headers.append((b"content-type", answer.media_type))
        if coding:
            headers.append((b"content-encoding", coding.name))
        async with aclosing(answer.chunks) as chunks:
            # HEAD fails as GET does, so its answer is begun too.
            first = await anext(chunks, b"")
            await self._begin(headers)
            if self._scope["method"] == "HEAD":
                await self._pass_on(b"", is_last=True)
                return
            gone = asyncio.ensure_future(self._wait_until_gone())
            if leave := answer.leave:
                gone.add_done_callback(lambda _: leave())
            try:
                await self._send_pieces(first, chunks, coding.compressor() if coding else None, gone)
            finally:
                gone.cancel()

    async def _begin(self, headers: Headers) -> None:
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_pieces(
        self, first: bytes, chunks: Any, compressor: Compressor | None, gone: asyncio.Future[None]
    ) -> None:
        piece: bytes | None = first
        while piece is not None:
            if gone.done():
                raise ClientGone("the client went away")
            packed = compressor.compress(piece) if compressor and piece else piece
            if packed:
                await self._pass_on(packed)
            piece = await anext(chunks, None)
        await self._pass_on(compressor.flush() if compressor else b"", is_last=True)

    async def _pass_on(self, body: bytes, *, is_last: bool = False) -> None:
        self.bytes_sent += len(body)
        message = {"type": "http.response.body", "body": body, "more_body": not is_last}
        try:
            await asyncio.wait_for(self._send(message), self._stall_s)
        except TimeoutError:
            raise ClientGone(f"the client took nothing for {self._stall_s:g} seconds") from None

    async def _wait_until_gone(self) -> None:
        """Wait for the end of the connection; what is left of a request's body is skipped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def is_cut_off(error: BaseException) -> bool:
    """Whether an answer that has begun ends for a reason that is no defect."""
    return isinstance(error, ClientGone | Unavailable)
