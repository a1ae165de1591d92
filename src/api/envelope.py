"""What surrounds every request: its id, its log line, and the problem document when it ends in an error."""

import logging
import re
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.api.errors import DEFECT, answer_error, answer_status
from src.api.http import Answer, check_declared_length, send_answer
from src.core.errors import ApiError
from src.core.logging import FIELDS, RequestLog
from src.core.values import new_uuid_text

_match_request_id = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z").match

defects_log = logging.getLogger("defects")


class Envelope:
    """Pure ASGI middleware, outside of everything that can raise."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, log: RequestLog | None) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        try:
            check_declared_length(scope["headers"], self._max_body_bytes)
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            if exchange.status:
                # The answer has begun: cutting it off is the only way to say that it is not whole.
                exchange.status = 500
                _log_defect(exchange)
                raise
            await send_answer(exchange.answer_to(error), scope, exchange.send)
        finally:
            if self._log:
                self._log.write(exchange.log_fields())


class Exchange:
    """One request and its answer, as far as it went."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self._send = send
        self.request_id = _request_id(scope)
        self.status = 0
        self._bytes = 0
        self._began = perf_counter()
        scope["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Pass a message on, with the request's id on the answer's head."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
        else:
            self._bytes += len(message.get("body", b""))
        await self._send(message)

    def answer_to(self, error: Exception) -> Answer:
        """The answer to what was raised; a defect is logged with its traceback."""
        if isinstance(error, ApiError):
            return answer_error(error, self.scope["path"], self.request_id)
        _log_defect(self)
        return answer_status(500, DEFECT, self.scope["path"], self.request_id)

    def log_fields(self) -> dict[str, Any]:
        """What the request's line says."""
        scope = self.scope
        return {
            "method": scope["method"],
            "route": scope.get("route_template") or _route_template(scope),
            "status": self.status,
            "ms": round((perf_counter() - self._began) * 1000, 2),
            "bytes": self._bytes,
            "request_id": self.request_id,
        }


def _request_id(scope: Scope) -> str:
    """The client's id of the request if it is one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _match_request_id(value):
            return str(value, "ascii")
    return new_uuid_text()


def _route_template(scope: Scope) -> str:
    """The path as it was declared, never as it was asked: addresses can hold personal data."""
    return getattr(scope.get("route"), "path", "-")


def _log_defect(exchange: Exchange) -> None:
    defects_log.exception("defect", extra={FIELDS: {"request_id": exchange.request_id}})
