"""create_crud_router, and one call to it per table.

No `from __future__ import annotations` here: annotations are chosen per table at run time, and FastAPI could
not resolve their names.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

from fastapi import APIRouter

from src.api.dependencies import models_of
from src.api.direct import DirectRoute, Documented, Handler, documented
from src.api.documentation import (
    EXPORTS,
    LINK_HEADER,
    LIST_HEADERS,
    LOCATION_HEADER,
    Group,
    problems,
    success,
)
from src.api.lists import ListHandlers
from src.api.parameters.documented import (
    aggregate_parameters,
    body_parameter,
    key_parameter,
    list_parameters,
    long_query_parameter,
    path_name,
    row_parameters,
)
from src.api.rows import RowHandlers


def create_crud_router(
    *, table_name: str, prefix: str, tags: Sequence[str | Enum], auto_timestamps: bool = True
) -> APIRouter:
    """Make the routes of a table: list, read, create, replace and delete its rows.

    With `auto_timestamps` the server sets `created_at` and `updated_at`, where the table has them.

    Raises:
        LookupError: the table is not in MODEL_MAP.
    """
    models = models_of(table_name)
    handlers = RowHandlers(models, auto_timestamps=auto_timestamps)
    lists = ListHandlers(models.info)
    router = APIRouter(prefix=prefix, tags=list(tags), route_class=DirectRoute)
    name, row = table_name, models.read.__name__
    # Generated clients name their functions after these: list_events, create_event.
    many, one = _words(prefix), _words(row)
    row_path = f"/{{{path_name(models)}}}"
    key, body = key_parameter(models), body_parameter

    def add(
        method: str, path: str, operation: str, handler: Handler, parameters: dict[str, Documented], **more: Any
    ) -> None:
        endpoint = documented(handler, operation, parameters, handler.__doc__ or "")
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
        handlers.create_row,
        body(models.create),
        summary=f"Create a {row}",
        status_code=201,
        response_model=models.read,
        responses=success(201, "The new row.", LOCATION_HEADER) | problems(409, 413, 415),
    )
    add(
        "GET",
        row_path,
        f"read_{one}",
        handlers.read_row,
        key | row_parameters(models),
        summary=f"Read a {row}",
        response_model=models.read,
        responses=success(200, "The row.") | problems(404),
    )
    add(
        "PUT",
        row_path,
        f"replace_{one}",
        handlers.replace_row,
        key | body(models.update),
        summary=f"Replace a {row}",
        response_model=models.read,
        responses=success(200, "The row as it is now.") | problems(404, 409, 413, 415),
    )
    add(
        "DELETE",
        row_path,
        f"delete_{one}",
        handlers.delete_row,
        key,
        summary=f"Delete a {row}",
        status_code=204,
        response_model=None,
        responses=success(204, "The row is gone.") | problems(404, 409),
    )
    return router


def _words(name: str) -> str:
    """A path or the name of a model as the words of a function's name."""
    return "_".join(re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)).lower()


users_router = create_crud_router(table_name="users", prefix="/users", tags=["users"], auto_timestamps=True)
sessions_router = create_crud_router(table_name="sessions", prefix="/sessions", tags=["sessions"], auto_timestamps=True)
recordings_router = create_crud_router(
    table_name="recordings", prefix="/recordings", tags=["recordings"], auto_timestamps=True
)
algos_router = create_crud_router(table_name="algos", prefix="/algos", tags=["algos"], auto_timestamps=True)
events_router = create_crud_router(table_name="event_log", prefix="/events", tags=["events"], auto_timestamps=True)
