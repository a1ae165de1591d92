"""The audit: a line for every request that was denied, and for every look at other people's rows."""

import logging
from typing import Any

from starlette.types import Scope

from src.api.access import Principal
from src.api.direct import Resource
from src.api.errors import status_of
from src.api.http import Request
from src.core.access import WATCHED
from src.core.errors import ApiError, Forbidden, NotServedHere, TooManyRequests, Unauthenticated
from src.core.logging import FIELDS

DENIALS = (Unauthenticated, Forbidden, TooManyRequests, NotServedHere)

log = logging.getLogger("audit")
# It is kept whatever LOG_LEVEL leaves out.
log.setLevel(logging.INFO)


def record_denial(principal: Principal, scope: Scope, route: str, address: str, error: ApiError) -> None:
    """Write down who was denied what, from where, and why."""
    reason = error.reason if isinstance(error, Unauthenticated) else error.detail
    more = {"address": address, "status": status_of(error), "reason": reason}
    _write(logging.WARNING, "denied", _who_and_what(principal, scope, route) | more)


def record_read(request: Request, resource: Resource, rows: int | None) -> None:
    """Write down who has read how many rows of other people, if the rows may be other people's.

    `rows` is None where reading was not what was asked.
    """
    principal, scope, policy = request.principal, request.scope, resource.rule.policy
    if rows is None or principal.role not in WATCHED or policy is None:
        return
    # Rows of a table without owners may be expanded to rows that have one, by a URL or by a body.
    if policy.owner or principal.sight[policy.table].models.info.relations:
        more = {"table": policy.table, "rows": rows} | ({"key": request.key} if request.key else {})
        _write(logging.INFO, "read", _who_and_what(principal, scope, resource.template) | more)


def _write(level: int, text: str, fields: dict[str, Any]) -> None:
    """Write a line as `log.log` does, without its search for who called, which costs as much as the rest of it."""
    log.handle(log.makeRecord(log.name, level, __file__, 0, text, (), None, extra={FIELDS: fields}))


def _who_and_what(principal: Principal, scope: Scope, route: str) -> dict[str, Any]:
    return {
        "role": principal.role.value,
        "who": principal.name,
        "method": scope["method"],
        "route": route,
        "request_id": scope.get("request_id", ""),
    }
