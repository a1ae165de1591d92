"""What surrounds every request: its id, its log line, and the problem document when it ends in an error."""

import logging
import re
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.api.direct import Resource, find_handler, index_of
from src.api.entrance.access import FOR_ADMINS, NOBODY, PUBLIC, Rule
from src.api.entrance.audit import DENIALS, record_denial, record_read, record_reads
from src.api.entrance.callers import is_for_admins
from src.api.entrance.door import Door, HeaderPairs
from src.api.entrance.security_headers import secure_messages
from src.api.errors import DEFECT, answer_error, answer_status
from src.api.http import Answer, Request, StreamedAnswer, check_length
from src.api.metrics.figures import RequestCounts
from src.api.sending import StreamSender, compress_messages, is_cut_off, send_answer
from src.core.errors import AnswerCutOff, ApiError
from src.core.logging import FIELDS, LineLog
from src.core.values import new_uuid

_match_request_id = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z").match

log = logging.getLogger("defects")


class Envelope:
    """Pure ASGI middleware: answers direct routes itself, and wraps the answers of all others."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, counts: RequestCounts, requests: LineLog | None) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._counts = counts
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                # By now all routes are there; one that cannot be served stops the start.
                index = index_of(scope["app"])
                scope["app"].state.door = Door(scope["app"].state.settings, index.policies)
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        exchange = Exchange(scope, send)
        try:
            declared = exchange.open()
            scope["app"].state.door.read_scheme(scope)
            resource, key = scope["app"].state.route_index.find(scope)
            if resource is None:
                # Direct routes know how large their bodies may be.
                check_length(declared, self._max_body_bytes)
                if is_for_admins(scope):
                    await exchange.admit(FOR_ADMINS)
                await self._app(scope, receive, exchange.send)
            else:
                await exchange.answer(resource, key, receive)
        except Exception as error:
            if exchange.status:
                # The answer has begun: cutting it off is the only way to say that it is not whole.
                if is_cut_off(error):
                    log.warning("cut off: %s", error, extra={FIELDS: {"request_id": exchange.request_id}})
                else:
                    exchange.status = 500
                    _log_defect(exchange)
                raise AnswerCutOff from error
            await exchange.send_answer(exchange.answer_to(error))
        finally:
            seconds = perf_counter() - began
            route = exchange.template
            self._counts.add((scope["method"], route, exchange.status), seconds, exchange.bytes_sent)
            if self._requests:
                self._requests.write("request", exchange.log_fields(route, seconds))


class Exchange:
    """One request and its answer, as far as it went."""

    __slots__ = (
        "_head",
        "_limits",
        "bytes_sent",
        "principal",
        "request_id",
        "route",
        "rule",
        "scope",
        "send_message",
        "status",
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.send_message = send
        self.request_id = ""
        self.route = ""
        self.rule = PUBLIC
        self.status = 0
        self.bytes_sent = 0
        self.principal = NOBODY
        self._limits: HeaderPairs = ()
        self._head: Message | None = None

    def open(self) -> bytes:
        """Take the client's id of the request or make one; the declared length of the body."""
        declared = b""
        for name, value in self.scope["headers"]:
            if name == b"x-request-id":
                if _match_request_id(value):
                    self.request_id = value.decode()
            elif name == b"content-length":
                declared = value
        self.request_id = self.request_id or new_uuid()
        self.scope["request_id"] = self.request_id
        return declared

    async def admit(self, rule: Rule) -> None:
        """Find out who asks, and whether the route answers them.

        Raises:
            Unauthenticated, Forbidden, TooManyRequests, Unavailable: it does not.
        """
        if not rule.is_public:
            door: Door = self.scope["app"].state.door
            # Who asks is known before they are counted, so that the audit can say who was refused.
            self.principal, self._limits = await door.identify(self.scope, takes_write_keys=rule.takes_write_keys)
            self._limits += door.count(self.principal)
            self.principal.check(rule)

    async def answer(self, resource: Resource, key: str, receive: Receive) -> None:
        """Answer by a direct route."""
        self.route = resource.template
        self.rule = resource.rule
        await self.admit(resource.rule)
        handle = find_handler(resource, self.scope["method"])
        request = Request(self.scope, receive, key, self.principal)
        answer = await handle(request)
        rows = answer.rows if isinstance(answer, Answer) else None
        try:
            if isinstance(answer, StreamedAnswer):
                await self.stream(answer, receive)
            else:
                await self.send_answer(answer)
        finally:
            if isinstance(answer, StreamedAnswer) and answer.tally:
                rows = answer.tally.rows
            record_read(request, resource, rows)
            if isinstance(answer, Answer) and answer.reads:
                record_reads(request, answer.reads)

    async def send_answer(self, answer: Answer) -> None:
        """Send an answer of our own."""
        self.status = answer.status
        if self._limits:
            answer = answer._replace(headers=(*answer.headers, *self._limits))
        self.bytes_sent = await send_answer(answer, self.scope, self.send_message, self.request_id)

    async def stream(self, answer: StreamedAnswer, receive: Receive) -> None:
        """Send an answer of our own while it is made."""
        if self._limits:
            answer = answer._replace(headers=(*answer.headers, *self._limits))
        sender = StreamSender(self.scope, receive, self.send_message, self.scope["app"].state.settings.export_stall_s)
        try:
            await sender.send(answer, self.request_id)
        finally:
            if sender.has_begun:
                self.status = 200
                self.bytes_sent = sender.bytes_sent

    async def send(self, message: Message) -> None:
        """Pass on a message of somebody else's answer, with the request's id and what browsers are told on its head.

        The head waits for the body, which may be compressed, and whose scripts the head may name.
        """
        if message["type"] == "http.response.start":
            own = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message.get("headers", ()), own, *self._limits]
            self._head = message
            return
        if head := self._head:
            self._head = None
            self.status = head["status"]
            secure_messages(head, message, self.scope)
            await compress_messages(head, message, self.scope)
            await self.send_message(head)
        self.bytes_sent += len(message.get("body", b""))
        await self.send_message(message)

    def answer_to(self, error: Exception) -> Answer:
        """The answer to what was raised; a defect is logged with its traceback."""
        if isinstance(error, DENIALS):
            address = self.scope["app"].state.door.address(self.scope)
            record_denial(self.principal, self.scope, self.route, address, error)
        if isinstance(error, ApiError):
            has_code = self.rule.takes_write_keys
            return answer_error(error, self.scope["path"], self.request_id, has_code=has_code)
        _log_defect(self)
        return answer_status(500, DEFECT, self.scope["path"], self.request_id)

    @property
    def template(self) -> str:
        """The path as it was declared, never as it was asked; `-` where nobody declared it."""
        return self.route or getattr(self.scope.get("route"), "path", "-")

    def log_fields(self, route: str, seconds: float) -> dict[str, Any]:
        """What the request's line says."""
        return {
            "method": self.scope["method"],
            "route": route,
            "status": self.status,
            "ms": round(seconds * 1000, 2),
            "bytes": self.bytes_sent,
            "request_id": self.request_id,
        }


def _log_defect(exchange: Exchange) -> None:
    log.exception("defect", extra={FIELDS: {"request_id": exchange.request_id}})
