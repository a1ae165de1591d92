"""create_crud_router, and one call to it per table.

No `from __future__ import annotations` here: annotations are chosen per table at run time, and FastAPI could
not resolve their names.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from src.api.archive import ArchiveHandlers
from src.api.deliveries.handlers import DeliveryHandlers
from src.api.dependencies import models_of
from src.api.direct import DirectRoute, Documented, Handler, documented
from src.api.documentation import (
    ETAG_HEADER,
    EVENT_STREAM,
    EXPORTS,
    LINK_HEADER,
    LIST_HEADERS,
    LOCATION_HEADER,
    NO_CONTENT,
    NOT_MODIFIED,
    REPLAYED_HEADER,
    Count,
    DeliveryAnswer,
    Group,
    problems,
    success,
)
from src.api.entrance.access import Rule
from src.api.idempotency import once
from src.api.lists import ListHandlers
from src.api.many_rows import ManyRowsHandlers
from src.api.parameters.documented import (
    aggregate_parameters,
    body_parameter,
    cascade_parameter,
    condition_parameters,
    delivered_parameter,
    filter_parameters,
    idempotency_parameter,
    key_parameter,
    list_parameters,
    long_query_parameter,
    path_name,
    prefer_parameter,
    row_parameters,
    rows_parameter,
    stream_parameters,
    unchanged_parameter,
)
from src.api.rows import RowHandlers
from src.api.watching.stream import StreamHandlers
from src.core.access import APPEND, NOTHING, READ, WRITE, Permission, Policy, Role
from src.core.models import TableModels
from src.core.tables import Delivery, Kind

# Whom rows belong to, where nothing else is said.
OWNER = "user_id"


def create_crud_router(  # noqa: PLR0913  a table is declared in one call
    *,
    table_name: str,
    prefix: str,
    tags: Sequence[str | Enum],
    auto_timestamps: bool = True,
    owner: str | None = None,
    users_may: Permission | None = None,
    hidden: Mapping[Role, tuple[str, ...]] | None = None,
    delivery: Delivery | None = None,
) -> APIRouter:
    """Make the routes of a table: list, read, create, replace and delete its rows.

    With `auto_timestamps` the server sets `created_at` and `updated_at`, where the table has them.

    `owner` is the column with the user id of the person whom a row belongs to: without it `user_id`, if the table has
    such a column; `""` says that rows belong to nobody. `users_may` is what people may do with their own rows
    (everything, if it is left out), or with all rows where these belong to nobody (nothing). `hidden` are columns that
    do not exist for a role.

    With a `delivery`, new rows can be watched as they arrive.

    Raises:
        LookupError: the table is not in MODEL_MAP, or the owner is not a column of it.
        TypeError: the owner's column does not hold text.
    """
    models = models_of(table_name)
    policy = _policy(models, prefix, owner, users_may, hidden or {})._replace(delivery=delivery)
    handlers = RowHandlers(table_name, auto_timestamps=auto_timestamps)
    many_rows = ManyRowsHandlers(table_name, auto_timestamps=auto_timestamps)
    lists = ListHandlers(table_name)
    router = APIRouter(prefix=prefix, tags=list(tags), route_class=DirectRoute)
    name, row = table_name, models.read.__name__
    # Generated clients name their functions after these: list_events, create_event.
    many, one = _words(prefix), _words(row)
    row_path = f"/{{{path_name(models)}}}"
    key, body = key_parameter(models), body_parameter

    def add(
        method: str, path: str, operation: str, handler: Handler, parameters: dict[str, Documented], **more: Any
    ) -> None:
        endpoint = documented(handler, operation, parameters, handler.__doc__ or "", Rule(policy=policy))
        router.add_api_route(path, endpoint, methods=[method], operation_id=operation, **more)

    add(
        "GET",
        "",
        f"list_{many}",
        lists.list_rows,
        list_parameters(models),
        summary=f"List rows of {name}",
        response_model=list[models.read],  # type: ignore[name-defined]  # chosen at run time
        responses=success(200, "One page of rows, or all of them as an export.", LIST_HEADERS, EXPORTS) | problems(),
    )
    add(
        "POST",
        "/-/query",
        f"query_{many}",
        lists.query_rows,
        long_query_parameter(models),
        summary=f"List rows of {name} by a long query",
        response_model=list[models.read],  # type: ignore[name-defined]
        responses=success(200, "One page of rows, or all of them as an export.", LIST_HEADERS, EXPORTS)
        | problems(413, 415),
    )
    add(
        "GET",
        "/-/aggregate",
        f"aggregate_{many}",
        lists.aggregate_rows,
        aggregate_parameters(models),
        summary=f"Count and measure rows of {name} by groups",
        response_model=list[Group],
        responses=success(200, "One page of groups, or all of them as an export.", LINK_HEADER, EXPORTS) | problems(),
    )
    # OpenAPI 3.1 has no such method.
    for path, handler in (("", lists.query_rows), ("/-/aggregate", lists.query_aggregate)):
        add("QUERY", path, f"long_query_{many}", handler, {}, include_in_schema=False)
    add(
        "POST",
        "",
        f"create_{one}",
        once(handlers.create_row, handlers.check_create),
        rows_parameter(models.create)
        | prefer_parameter("resolution=ignore-duplicates", "resolution=merge-duplicates")
        | idempotency_parameter(),
        summary=f"Create a {row}, or many",
        status_code=201,
        response_model=models.read | list[models.read],  # type: ignore[name-defined]
        responses=success(
            201, "The new row, or the new rows of a body of many.", LOCATION_HEADER | ETAG_HEADER | REPLAYED_HEADER
        )
        | success(200, "The row that had the key, where `resolution` says what becomes of it.", ETAG_HEADER)
        | problems(409, 410, 413, 415),
    )
    add(
        "PATCH",
        "",
        f"change_{many}",
        many_rows.patch_rows,
        filter_parameters(models) | body(models.patch) | prefer_parameter("max-affected=N"),
        summary=f"Change all rows of {name} that pass filters",
        response_model=Count,
        responses=success(200, "How many rows were changed.") | NO_CONTENT | problems(409, 410, 413, 415),
    )
    add(
        "DELETE",
        "",
        f"delete_{many}",
        many_rows.delete_rows,
        filter_parameters(models) | prefer_parameter("max-affected=N"),
        summary=f"Delete all rows of {name} that pass filters",
        response_model=Count,
        responses=success(200, "How many rows were deleted.") | NO_CONTENT | problems(409),
    )
    add(
        "GET",
        row_path,
        f"read_{one}",
        handlers.read_row,
        key | row_parameters(models) | unchanged_parameter(),
        summary=f"Read a {row}",
        response_model=models.read,
        responses=success(200, "The row.", ETAG_HEADER) | NOT_MODIFIED | problems(404, 412),
    )
    add(
        "PUT",
        row_path,
        f"replace_{one}",
        handlers.replace_row,
        key
        | body(models.update)
        | condition_parameters(may_create=True)
        | prefer_parameter("resolution=merge-duplicates"),
        summary=f"Replace a {row}",
        response_model=models.read,
        responses=success(200, "The row as it is now.", ETAG_HEADER)
        | success(201, "The new row.", LOCATION_HEADER | ETAG_HEADER)
        | NO_CONTENT
        | problems(404, 409, 410, 412, 413, 415),
    )
    add(
        "PATCH",
        row_path,
        f"change_{one}",
        handlers.patch_row,
        key | body(models.patch) | condition_parameters() | prefer_parameter(),
        summary=f"Change a {row}",
        response_model=models.read,
        responses=success(200, "The row as it is now.", ETAG_HEADER)
        | NO_CONTENT
        | problems(404, 409, 410, 412, 413, 415),
    )
    add(
        "DELETE",
        row_path,
        f"delete_{one}",
        handlers.delete_row,
        key | cascade_parameter() | condition_parameters() | prefer_parameter("return=representation"),
        summary=f"Delete a {row}",
        status_code=204,
        response_model=None,
        responses=success(204, "The row is gone.")
        | success(200, "How many rows of each table were erased; or the row, where `Prefer` asks for it.")
        | problems(404, 409, 412),
    )
    if delivery:
        add(
            "POST",
            "/-/batch",
            f"deliver_{many}",
            DeliveryHandlers(table_name, auto_timestamps=auto_timestamps).deliver_rows,
            delivered_parameter(models.create) | prefer_parameter("return=representation"),
            summary=f"Deliver rows of {name}, each for itself",
            response_model=DeliveryAnswer,
            response_model_exclude_none=True,
            responses=success(200, "What became of each row.") | problems(413, 415),
        )
        add(
            "GET",
            "/-/stream",
            f"watch_{many}",
            StreamHandlers(table_name).watch_rows,
            stream_parameters(models),
            summary=f"Watch new rows of {name} as they arrive",
            response_class=Response,
            responses=success(200, "Server-sent events, without end.", content=EVENT_STREAM) | problems(),
        )
    if policy.owner == models.key:
        add(
            "GET",
            f"{row_path}/archive",
            f"read_{one}_archive",
            ArchiveHandlers(table_name).read_archive,
            key,
            summary=f"Read everything about a {row}",
            response_class=Response,
            responses=success(200, "Lines of JSON (`application/x-ndjson`).") | problems(404),
        )
    return router


def _policy(
    models: TableModels,
    prefix: str,
    owner: str | None,
    users_may: Permission | None,
    hidden: Mapping[Role, tuple[str, ...]],
) -> Policy:
    columns = models.info.by_name
    if owner is None:
        owner = OWNER if OWNER in columns and columns[OWNER].kind is Kind.TEXT else ""
    for name in filter(None, (owner, *(name for names in hidden.values() for name in names))):
        if name not in columns:
            raise LookupError(f"{models.table} has no column {name!r}")
    if owner and columns[owner].kind is not Kind.TEXT:
        raise TypeError(f"{models.table}.{owner} holds {columns[owner].kind}; user ids are text")
    if users_may is None:
        users_may = WRITE if owner else NOTHING
    return Policy(models.table, prefix.rpartition("/")[2], owner, users_may, hidden)


def _words(name: str) -> str:
    """A path or the name of a model as the words of a function's name."""
    return "_".join(re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)).lower()


# What an operator decides about a person. The person neither reads nor writes it, nor does a service: one that may
# write users could make an admin of somebody, and be more than its scopes say.
ABOUT_ACCOUNT = ("role", "disabled", "tokens_valid_after")

users_router = create_crud_router(
    table_name="users",
    prefix="/users",
    tags=["users"],
    auto_timestamps=True,
    owner="user_id",
    hidden={Role.USER: ABOUT_ACCOUNT, Role.SERVICE: ABOUT_ACCOUNT, Role.RESEARCHER: ("firebase_data",)},
)
sessions_router = create_crud_router(
    table_name="sessions", prefix="/sessions", tags=["sessions"], auto_timestamps=True, owner="user_id"
)
recordings_router = create_crud_router(
    table_name="recordings", prefix="/recordings", tags=["recordings"], auto_timestamps=True, owner="user_id"
)
algos_router = create_crud_router(
    table_name="algos", prefix="/algos", tags=["algos"], auto_timestamps=True, users_may=READ
)
events_router = create_crud_router(
    table_name="event_log",
    prefix="/events",
    tags=["events"],
    auto_timestamps=True,
    owner="user_id",
    users_may=APPEND,
    delivery=Delivery(
        device="device_id",
        seq="seq",
        sent_at="sent_at",
        session="session_id",
        happened_at="ts",
        utc_offset="utc_offset_min",
    ),
)
receipts_router = create_crud_router(
    table_name="receipts", prefix="/receipts", tags=["receipts"], auto_timestamps=True, owner="user_id", users_may=READ
)
session_clocks_router = create_crud_router(
    table_name="session_clocks",
    prefix="/session-clocks",
    tags=["session-clocks"],
    auto_timestamps=True,
    owner="user_id",
    users_may=READ,
)
