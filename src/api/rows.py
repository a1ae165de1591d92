"""What can be done with one row of a table: one handler per request, the same for every table."""

from typing import Any
from urllib.parse import quote

import msgspec

from src.api.bodies import Values, check_row, read_row
from src.api.conditions import Conditions, read_conditions, refuse_conditions, tag_header
from src.api.erasure import erase
from src.api.given_rows import given_row
from src.api.http import JSON_TYPE, PATCH_TYPES, ROWS_TYPES, Answer, Request, is_array, shortened
from src.api.many_rows import create_many
from src.api.merge_patch import Patch
from src.api.parameters.values import invalid, parse_flag
from src.api.preferences import IGNORE, MERGE, REPRESENTATION, Preferences, read_preferences
from src.api.query import parse_key, parse_row_request, split_query
from src.api.writer import Writer
from src.core.errors import InvalidRequest, Problem, ReferenceBroken, RowNotFound
from src.core.tables import TableInfo
from src.db.connection import Connection, Result, Work
from src.db.queries import builder
from src.db.queries.executor import fetch_row, transact, write_row
from src.db.queries.writes import OnConflict

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RowHandlers:
    """The handlers of one table."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._models = writer.models
        self._table = writer.table

    async def read_row(self, request: Request) -> Answer:
        """Answer the row with the key in the path."""
        wanted = parse_row_request(self._table, split_query(request.query_string))
        conditions = read_conditions(request)
        statement = builder.select_row(self._table, self._key(request), wanted)
        row = self._existing(await fetch_row(request.db, statement), request)
        if conditions and (tag := conditions.find_unchanged(row)):
            return Answer(304, headers=((b"etag", tag.encode()),))
        body = row.encode()
        return Answer(200, body, (tag_header(body),))

    async def create_row(self, request: Request) -> Answer:
        """Insert the row in the body; or the rows of an array, of lines of JSON or of a CSV, all or none of them.

        `Prefer: resolution=ignore-duplicates` leaves rows whose key exists as they are, `resolution=merge-duplicates`
        gives them the columns that the body names. `return=minimal` answers no body, `tx=rollback` only tries.
        """
        request.refuse_parameters()
        refuse_conditions(request)
        prefers = read_preferences(request.header(b"prefer"))
        media_type, body = await request.bulk_body_of(*ROWS_TYPES)
        if media_type != JSON_TYPE or is_array(body):
            return await create_many(request, self._writer, media_type, body, prefers)
        checked = read_row(self._models, self._models.create, body)
        values = self._writer.new(checked.values)
        if prefers.resolution and self._table.key in values:
            changes = {name: value for name, value in checked.values.items() if name in checked.named}
            row, is_new = await self._resolve(request, prefers, values, changes)
        else:
            row, is_new = await self._run(request, prefers, lambda db: self._insert(db, values)), True
        location = f"{request.path}/{quote(self._key_text(values, row), safe='')}"
        return _answer_row(201 if is_new else 200, row, prefers, ((b"location", location.encode()),))

    async def replace_row(self, request: Request) -> Answer:
        """Replace the row with the key in the path by the one in the body.

        With `If-None-Match: *` it creates the row and only creates; with `Prefer: resolution=merge-duplicates` it
        creates or replaces it. With `If-Match` it replaces only the row that the client has read.
        """
        request.refuse_parameters()
        prefers, conditions = read_preferences(request.header(b"prefer")), read_conditions(request)
        if prefers.resolution == IGNORE:
            reason = "a row is put in any case; say If-None-Match: * to put a new one only"
            raise InvalidRequest(f"Prefer: resolution={IGNORE}: {reason}", (Problem("header", "Prefer", reason),))
        may_create = prefers.resolution == MERGE or bool(conditions and conditions.wants_none)
        key = self._key(request)
        values = self._read_put(await request.json_body(), key, may_create=may_create)
        changes = self._writer.changed({name: value for name, value in values.items() if name != self._table.key})

        async def put(db: Connection) -> tuple[str, bool]:
            if conditions:
                row = await fetch_row(db, builder.lock_row(self._table, key))
                conditions.check(row if may_create else self._existing(row, request))
            if not may_create:
                return self._existing(await self._writer.update(db, key, changes), request), False
            if conditions and conditions.wants_none:
                return await self._create_only(db, conditions, self._writer.new(values)), True
            return await self._writer.put(db, key, self._writer.new(values), changes)

        is_one_statement = not conditions and not may_create
        row, is_new = await self._run(request, prefers, put, is_one_statement=is_one_statement)
        headers = ((b"location", request.path.encode()),) if is_new else ()
        return _answer_row(201 if is_new else 200, row, prefers, headers)

    async def patch_row(self, request: Request) -> Answer:
        """Change columns of the row with the key in the path: JSON merge patch (RFC 7396).

        Members that are left out stay as they are, null deletes, JSON documents are merged inside. What comes out is
        checked like a new row. With `If-Match` it changes only the row that the client has read.
        """
        request.refuse_parameters()
        prefers, conditions = read_preferences(request.header(b"prefer")), read_conditions(request)
        key = self._key(request)
        _, body = await request.body_of(*PATCH_TYPES)
        patch = Patch(self._models, body)
        most = request.settings.max_body_bytes

        async def change(db: Connection) -> str:
            row = self._existing(await fetch_row(db, builder.lock_row(self._table, key)), request)
            if conditions:
                conditions.check(row)
            values = patch.apply(row, most)
            if patch.names_key and values.pop(self._table.key) != key:
                raise _other_key(self._table)
            if not values:
                return row
            return self._existing(await self._writer.update(db, key, self._writer.changed(values)), request)

        row = await self._run(request, prefers, change, is_one_statement=False)
        return _answer_row(200, row, prefers)

    async def delete_row(self, request: Request) -> Answer:
        """Delete the row with the key in the path. With `If-Match`, only the row that the client has read.

        With `cascade=true` it erases every row of every table that carries this key under the same name, and answers
        how many of each.
        """
        cascades = self._read_cascade(request)
        prefers, conditions = read_preferences(request.header(b"prefer")), read_conditions(request)
        key = self._key(request)
        if cascades:
            return await self._erase_rows(request, prefers, conditions, key)

        async def delete(db: Connection) -> str:
            if conditions:
                row = self._existing(await fetch_row(db, builder.lock_row(self._table, key)), request)
                conditions.check(row)
            try:
                return self._existing(await write_row(db, builder.delete_row(self._table, key)), request)
            except ReferenceBroken as error:
                raise await self._writer.explain_delete(db, [key]) from error

        row = await self._run(request, prefers, delete, is_one_statement=not conditions)
        if prefers.returned == REPRESENTATION:
            return Answer(200, row.encode(), prefers.applied("return", "tx"))
        return Answer(204, headers=prefers.applied("return", "tx"))

    async def _erase_rows(
        self, request: Request, prefers: Preferences, conditions: Conditions | None, key: object
    ) -> Answer:
        async def erase_all(db: Connection) -> dict[str, int]:
            row = await fetch_row(db, builder.lock_row(self._table, key))
            if conditions:
                conditions.check(self._existing(row, request))
            counts = await erase(db, self._table, key)
            if not any(counts.values()):
                raise _not_found(self._table, request.key)
            return counts

        limit_s = request.settings.erasure_timeout_s
        counts = await transact(request.db, erase_all, is_rehearsal=prefers.is_rehearsal, time_limit_s=limit_s)
        return Answer(200, msgspec.json.encode(counts), prefers.applied("tx"))

    async def _run(
        self, request: Request, prefers: Preferences, work: Work[Result], *, is_one_statement: bool = True
    ) -> Result:
        """Carry out a request: one statement is atomic by itself, what needs more is one transaction."""
        if is_one_statement and not prefers.is_rehearsal:
            return await work(request.db)
        return await transact(request.db, work, is_rehearsal=prefers.is_rehearsal)

    async def _insert(self, db: Connection, values: Values) -> str:
        row = await self._writer.insert(db, values)
        assert row is not None, "an insert returns its row"
        return row

    async def _resolve(
        self, request: Request, prefers: Preferences, values: Values, changes: Values
    ) -> tuple[str, bool]:
        """Insert a row, or take the one that has its key: as it is, or with the columns that the body names."""
        key = values[self._table.key]

        async def ignore(db: Connection) -> tuple[str, bool]:
            while True:
                if row := await self._writer.insert(db, values, OnConflict.IGNORE):
                    return row, True
                if row := await fetch_row(db, builder.select_row(self._table, key)):
                    return row, False

        async def merge(db: Connection) -> tuple[str, bool]:
            return await self._writer.put(db, key, values, self._writer.changed(changes))

        work = ignore if prefers.resolution == IGNORE else merge
        return await self._run(request, prefers, work, is_one_statement=False)

    async def _create_only(self, db: Connection, conditions: Conditions, values: Values) -> str:
        row = await self._writer.insert(db, values, OnConflict.IGNORE)
        if row is None:
            conditions.check("")
        assert row is not None, "a row that is in the way fails the condition"
        return row

    def _read_put(self, body: bytes, key: object, *, may_create: bool) -> Values:
        """The values in the body of a PUT; of one that may create, as a new row must have them."""
        given = given_row(self._models, body)
        values = check_row(self._models, self._models.update, given).values
        if values.pop(self._table.key, None) not in (None, key):
            raise _other_key(self._table)
        if may_create:
            given.value[self._table.key] = key
            values = check_row(self._models, self._models.create, given).values
        return values

    def _read_cascade(self, request: Request) -> bool:
        named = {name: text for name, text, _ in split_query(request.query_string)}
        for name, text in named.items():
            if name != "cascade":
                raise invalid(name, text, "is no parameter here; a delete takes cascade")
        return parse_flag("cascade", named.get("cascade", "false"))

    def _key(self, request: Request) -> object:
        key = parse_key(self._table, request.key)
        if key is None:
            raise _not_found(self._table, request.key)
        return key

    def _existing(self, row: str | None, request: Request) -> str:
        if row is None:
            raise _not_found(self._table, request.key)
        return row

    def _key_text(self, values: Values, row: str) -> str:
        """The key of a new row; one that the database chose stands only in the row."""
        return str(values.get(self._table.key) or _decode(row)[self._table.key])


def _answer_row(status: int, row: str, prefers: Preferences, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    body = row.encode()
    headers = (*headers, tag_header(body), *prefers.applied("return", "resolution", "tx"))
    if prefers.is_minimal:
        return Answer(201 if status == 201 else 204, headers=headers)
    return Answer(status, body, headers)


def _other_key(table: TableInfo) -> InvalidRequest:
    return InvalidRequest(
        f"{table.key} in the body differs from the key in the path; a row keeps its key",
        (Problem("body", f"/{table.key}", "must be the key in the path"),),
    )


def _not_found(table: TableInfo, key: str) -> RowNotFound:
    return RowNotFound(f"no row of {table.name} has the {table.key} {shortened(key)!r}")
