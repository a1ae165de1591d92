"""What can be done with one row of a table: one handler per request, the same for every table."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from src.api.bodies import read_values
from src.api.dependencies import MODEL_MAP
from src.api.http import Answer, Request, shortened
from src.api.query import parse_key, parse_row_request, split_query
from src.core.errors import InvalidRequest, Problem, ReferenceBroken, RowConflict, RowNotFound
from src.core.models import TableModels
from src.core.tables import Kind, TableInfo
from src.core.values import now
from src.db.connection import Database
from src.db.queries import builder
from src.db.queries.executor import (
    count_referring_rows,
    fetch_row,
    find_missing_references,
    write_row,
)
from src.db.queries.statement import Statement

CREATED_AT, UPDATED_AT = "created_at", "updated_at"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RowHandlers:
    """The handlers of one table."""

    def __init__(self, models: TableModels, *, auto_timestamps: bool) -> None:
        self._models = models
        self._table = models.info
        stamps = models.server_columns if auto_timestamps else ()
        self._stamps_of_insert = tuple(name for name in (CREATED_AT, UPDATED_AT) if name in stamps)
        self._stamps_of_update = tuple(name for name in (UPDATED_AT,) if name in stamps)

    async def read_row(self, request: Request) -> Answer:
        """Answer the row with the key in the path."""
        wanted = parse_row_request(self._table, split_query(request.query_string))
        row = await fetch_row(request.db, builder.select_row(self._table, self._key(request), wanted))
        return Answer(200, self._existing(row, request).encode())

    async def create_row(self, request: Request) -> Answer:
        """Insert the row in the body."""
        request.refuse_parameters()
        values = read_values(self._models, self._models.create, await request.json_body())
        values |= self._stamps(self._stamps_of_insert)
        row = await self._write(request.db, builder.insert_row(self._table, values), values)
        assert row is not None, "an insert returns its row"
        location = f"{request.path}/{quote(self._key_text(values, row), safe='')}"
        return Answer(201, row.encode(), ((b"location", location.encode()),))

    async def replace_row(self, request: Request) -> Answer:
        """Replace the row with the key in the path by the one in the body."""
        request.refuse_parameters()
        values = read_values(self._models, self._models.update, await request.json_body())
        key = self._key(request)
        if values.pop(self._table.key, None) not in (None, key):
            raise InvalidRequest(
                f"{self._table.key} in the body differs from the key in the path; a row keeps its key",
                (Problem("body", f"/{self._table.key}", "must be the key in the path"),),
            )
        values |= self._stamps(self._stamps_of_update)
        row = await self._write(request.db, builder.update_row(self._table, key, values), values)
        return Answer(200, self._existing(row, request).encode())

    async def delete_row(self, request: Request) -> Answer:
        """Delete the row with the key in the path."""
        request.refuse_parameters()
        key = self._key(request)
        try:
            self._existing(await write_row(request.db, builder.delete_row(self._table, key)), request)
        except ReferenceBroken as error:
            tables = [models.info for models in MODEL_MAP.values()]
            counts = await count_referring_rows(request.db, tables, self._table, key)
            named = ", ".join(f"{count} of {name}" for name, count in counts.items()) or "rows of another table"
            raise RowConflict(f"rows refer to this one: {named}; delete them first") from error
        return Answer(204)

    async def _write(self, db: Database, statement: Statement, values: Mapping[str, object]) -> str | None:
        try:
            return await write_row(db, statement)
        except ReferenceBroken as error:
            tables = {name: models.info for name, models in MODEL_MAP.items()}
            missing = await find_missing_references(db, tables, self._table, values)
            named = ", ".join(missing) or "the row"
            problems = tuple(Problem("body", f"/{name}", "refers to a row that does not exist") for name in missing)
            raise RowConflict(
                f"{named} refers to a row that does not exist; create that one first", problems
            ) from error

    def _stamps(self, names: tuple[str, ...]) -> dict[str, object]:
        if not names:
            return {}
        instant = now()
        # A column without time zone takes the same time of UTC, without saying so.
        return {
            name: instant.replace(tzinfo=None) if self._table.by_name[name].kind is Kind.LOCAL_TIMESTAMP else instant
            for name in names
        }

    def _key(self, request: Request) -> object:
        key = parse_key(self._table, request.key)
        if key is None:
            raise _not_found(self._table, request.key)
        return key

    def _existing(self, row: str | None, request: Request) -> str:
        if row is None:
            raise _not_found(self._table, request.key)
        return row

    def _key_text(self, values: Mapping[str, object], row: str) -> str:
        """The key of a new row; one that the database chose stands only in the row."""
        return str(values.get(self._table.key) or _decode(row)[self._table.key])


def _not_found(table: TableInfo, key: str) -> RowNotFound:
    return RowNotFound(f"no row of {table.name} has the {table.key} {shortened(key)!r}")
