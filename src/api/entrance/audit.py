"""The audit: a line for every request that was denied, and for every look at other people's rows."""

import logging
from collections.abc import Iterable
from typing import Any

from starlette.types import Scope

from src.api.direct import Resource
from src.api.entrance.access import Principal
from src.api.errors import status_of
from src.api.http import Read, Request
from src.core.access import WATCHED
from src.core.errors import ApiError, Forbidden, NotServedHere, TooManyRequests, Unauthenticated
from src.core.logging import FIELDS, LineLog

DENIALS = (Unauthenticated, Forbidden, TooManyRequests, NotServedHere)

log = logging.getLogger("audit")
# It is kept whatever LOG_LEVEL leaves out.
log.setLevel(logging.INFO)


def record_denial(principal: Principal, scope: Scope, route: str, address: str, error: ApiError) -> None:
    """Write down who was denied what, from where, and why."""
    reason = error.reason if isinstance(error, Unauthenticated) else error.detail
    more = {"address": address, "status": status_of(error), "reason": reason}
    _write(scope, logging.WARNING, "denied", _who_and_what(principal, scope, scope["method"], route) | more)


def record_read(request: Request, resource: Resource, rows: int | None) -> None:
    """Write down who has read how many rows of other people, if the rows may be other people's.

    `rows` is None where reading was not what was asked.
    """
    if rows is not None and request.principal.role in WATCHED:
        record_reads(request, reads_of(request, resource, rows))


def record_reads(request: Request, reads: Iterable[Read]) -> None:
    """Write down who has read how many rows of other people in the parts of a request."""
    principal = request.principal
    if principal.role in WATCHED:
        for method, route, table, rows, key in reads:
            more = {"table": table, "rows": rows} | ({"key": key} if key else {})
            _write(request.scope, logging.INFO, "read", _who_and_what(principal, request.scope, method, route) | more)


def reads_of(request: Request, resource: Resource, rows: int | None) -> tuple[Read, ...]:
    """What a request has read, if the rows may be other people's; nothing where reading was not what was asked."""
    scope, policy = request.scope, resource.rule.policy
    if rows is None or policy is None:
        return ()
    # Rows of a table without owners may be expanded to rows that have one, by a URL or by a body.
    if not (policy.owner or request.principal.sight[policy.table].models.info.relations):
        return ()
    return (Read(scope["method"], resource.template, policy.table, rows, request.key),)


def _write(scope: Scope, level: int, text: str, fields: dict[str, Any]) -> None:
    """Write a line past `logging`, as requests do; but who has a handler of their own for the audit is told too."""
    if log.handlers:
        log.log(level, text, extra={FIELDS: fields})
        return
    lines: LineLog = scope["app"].state.audit
    lines.write(text, fields, logging.getLevelName(level).lower())


def _who_and_what(principal: Principal, scope: Scope, method: str, route: str) -> dict[str, Any]:
    return {
        "role": principal.role.value,
        "who": principal.name,
        "method": method,
        "route": route,
        "request_id": scope.get("request_id", ""),
    }
