"""What can be done with one row of a table: one handler per request, the same for every table."""

from urllib.parse import quote

import msgspec

from src.api.bodies import Values, check_row, read_row
from src.api.conditions import Conditions, read_conditions, refuse_conditions, tag_header
from src.api.deletion import Deletion
from src.api.erasure import check_erasure, erase, row_not_found, wait_for_writers
from src.api.given_rows import given_row
from src.api.http import JSON_TYPE, PATCH_TYPES, ROWS_TYPES, Answer, Request, is_array
from src.api.many_rows import create_many
from src.api.merge_patch import Patch
from src.api.parameters.values import invalid, parse_flag
from src.api.preferences import IGNORE, MERGE, MINIMAL, REPRESENTATION, Preferences, read_preferences
from src.api.query import parse_key, parse_row_request, split_query
from src.api.writer import Writer, key_of
from src.core.access import Action
from src.core.errors import InvalidRequest, Problem, ReferenceBroken
from src.core.tables import Reach, TableInfo
from src.db.connection import Connection, Result, Work
from src.db.queries import builder
from src.db.queries.executor import fetch_row, write_row
from src.db.queries.writes import OnConflict


class RowHandlers:
    """The handlers of one table."""

    def __init__(self, table: str, *, auto_timestamps: bool) -> None:
        self._name = table
        self._auto_timestamps = auto_timestamps

    async def read_row(self, request: Request) -> Answer:
        """Answer the row with the key in the path."""
        reach = request.access(self._name, Action.READ).reach
        wanted = parse_row_request(reach.table, split_query(request.query_string))
        conditions = read_conditions(request)
        statement = builder.select_row(reach, _key(reach.table, request), wanted)
        row = _existing(await fetch_row(request.db, statement), reach.table, request)
        if conditions and (tag := conditions.find_unchanged(row)):
            return Answer(304, headers=((b"etag", tag.encode()),), rows=1)
        body = row.encode()
        return Answer(200, body, (tag_header(body),), rows=1)

    async def create_row(self, request: Request) -> Answer:
        """Insert the row in the body; or the rows of an array, of lines of JSON or of a CSV, all or none of them.

        `Prefer: resolution=ignore-duplicates` leaves rows whose key exists as they are, `resolution=merge-duplicates`
        gives them the columns that the body names. `return=minimal` answers no body, `tx=rollback` only tries.
        """
        request.refuse_parameters()
        refuse_conditions(request)
        prefers = read_preferences(request.header(b"prefer"))
        self.check_create(request)
        writer = self._writer(request, Action.CREATE)
        media_type, body = await request.bulk_body_of(*ROWS_TYPES)
        if media_type != JSON_TYPE or is_array(body):
            return await create_many(request, writer, media_type, body, prefers)
        checked = read_row(writer.models, writer.models.create, body)
        values = writer.new(checked.values)
        if prefers.resolution and writer.table.key in values:
            changes = {name: value for name, value in checked.values.items() if name in checked.named}
            row, is_new = await _resolve(request, writer, prefers, values, changes)
        else:
            row, is_new = await _run(request, prefers, lambda db: _insert(writer, db, values)), True
        if not is_new and not self._may_see(request):
            prefers = prefers._replace(returned=MINIMAL)
        location = f"{request.path}/{quote(_key_text(writer.table, values, row), safe='')}"
        return _answer_row(201 if is_new else 200, row, prefers, ((b"location", location.encode()),))

    def check_create(self, request: Request) -> None:
        """Refuse an insert by who may not insert rows; or may not change them, where it would.

        Raises:
            Forbidden, Unauthenticated: it is refused.
        """
        request.access(self._name, Action.CREATE)
        if read_preferences(request.header(b"prefer")).resolution == MERGE:
            request.access(self._name, Action.CHANGE)

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
        writer = self._writer(request, Action.CHANGE)
        if may_create:
            request.access(self._name, Action.CREATE)
        table, key = writer.table, _key(writer.table, request)
        values = _read_put(writer, await request.json_body(), key, may_create=may_create)
        changes = writer.changed({name: value for name, value in values.items() if name != table.key})

        async def put(db: Connection) -> tuple[str, bool]:
            if conditions:
                row = await fetch_row(db, builder.lock_row(writer.reach, key))
                conditions.check(row if may_create else _existing(row, table, request))
            if not may_create:
                return _existing(await writer.update(db, key, changes), table, request), False
            if conditions and conditions.wants_none:
                return await _create_only(writer, db, conditions, writer.new(values)), True
            return await writer.put(db, key, writer.new(values), changes)

        is_one_statement = not conditions and not may_create
        row, is_new = await _run(request, prefers, put, is_one_statement=is_one_statement)
        headers = ((b"location", request.path.encode()),) if is_new else ()
        return _answer_row(201 if is_new else 200, row, prefers, headers)

    async def patch_row(self, request: Request) -> Answer:
        """Change columns of the row with the key in the path: JSON merge patch (RFC 7396).

        Members that are left out stay as they are, null deletes, JSON documents are merged inside. What comes out is
        checked like a new row. With `If-Match` it changes only the row that the client has read.
        """
        request.refuse_parameters()
        prefers, conditions = read_preferences(request.header(b"prefer")), read_conditions(request)
        writer = self._writer(request, Action.CHANGE)
        table, key = writer.table, _key(writer.table, request)
        _, body = await request.body_of(*PATCH_TYPES)
        patch = Patch(writer.models, body)
        most = request.settings.max_body_bytes

        async def change(db: Connection) -> str:
            row = _existing(await fetch_row(db, builder.lock_row(writer.reach, key)), table, request)
            if conditions:
                conditions.check(row)
            values = patch.apply(row, most)
            if patch.names_key and values.pop(table.key) != key:
                raise _other_key(table)
            if not values:
                return row
            return _existing(await writer.update(db, key, writer.changed(values)), table, request)

        row = await _run(request, prefers, change, is_one_statement=False)
        return _answer_row(200, row, prefers)

    async def delete_row(self, request: Request) -> Answer:
        """Delete the row with the key in the path. With `If-Match`, only the row that the client has read.

        With `cascade=true` it erases every row of every table that carries this key under the same name, and answers
        how many of each.
        """
        cascades = _read_cascade(request)
        prefers, conditions = read_preferences(request.header(b"prefer")), read_conditions(request)
        deletion = Deletion(request.access(self._name, Action.CHANGE))
        table, reach, key = deletion.table, deletion.reach, _key(deletion.table, request)
        if cascades:
            return await self._erase_rows(request, reach, prefers, conditions, key)
        is_looked_at = conditions is not None or bool(deletion.hidden)

        async def delete(db: Connection) -> str:
            if is_looked_at:
                row = _existing(await fetch_row(db, builder.lock_row(reach, key)), table, request)
                await deletion.refuse_hidden(db, [key])
                if conditions:
                    conditions.check(row)
            try:
                return _existing(await write_row(db, builder.delete_row(reach, key)), table, request)
            except ReferenceBroken as error:
                raise await deletion.explain(db, [key]) from error

        row = await _run(request, prefers, delete, is_one_statement=not is_looked_at)
        if prefers.returned == REPRESENTATION:
            return Answer(200, row.encode(), prefers.applied("return", "tx"))
        return Answer(204, headers=prefers.applied("return", "tx"))

    async def _erase_rows(
        self, request: Request, reach: Reach, prefers: Preferences, conditions: Conditions | None, key: object
    ) -> Answer:
        check_erasure(request.principal, reach, key, request.key)

        async def erase_all(db: Connection) -> dict[str, int]:
            await wait_for_writers(db, reach.table)
            row = await fetch_row(db, builder.lock_row(reach, key))
            if conditions:
                conditions.check(_existing(row, reach.table, request))
            counts = await erase(db, reach, key, request.tombstones)
            if not any(counts.values()):
                raise row_not_found(reach.table, request.key)
            return counts

        limit_s = request.settings.erasure_timeout_s
        counts = await request.transact(erase_all, is_rehearsal=prefers.is_rehearsal, time_limit_s=limit_s)
        return Answer(200, msgspec.json.encode(counts), prefers.applied("tx"))

    def _writer(self, request: Request, action: Action) -> Writer:
        return Writer(request.access(self._name, action), request.tombstones, auto_timestamps=self._auto_timestamps)

    def _may_see(self, request: Request) -> bool:
        """Whether the caller may be shown a row that was there before."""
        return any(request.principal.may(self._name, action) for action in (Action.READ, Action.CHANGE))


async def _run(request: Request, prefers: Preferences, work: Work[Result], *, is_one_statement: bool = True) -> Result:
    """Carry out a request: one statement is atomic by itself, what needs more is one transaction."""
    if is_one_statement and not prefers.is_rehearsal:
        return await request.write(work)
    return await request.transact(work, is_rehearsal=prefers.is_rehearsal)


async def _insert(writer: Writer, db: Connection, values: Values) -> str:
    row = await writer.insert(db, values)
    assert row is not None, "an insert returns its row"
    return row


async def _resolve(
    request: Request, writer: Writer, prefers: Preferences, values: Values, changes: Values
) -> tuple[str, bool]:
    """Insert a row, or take the one that has its key: as it is, or with the columns that the body names."""
    key = values[writer.table.key]

    async def ignore(db: Connection) -> tuple[str, bool]:
        return await writer.find_or_insert(db, key, values)

    async def merge(db: Connection) -> tuple[str, bool]:
        return await writer.put(db, key, values, writer.changed(changes))

    return await _run(request, prefers, ignore if prefers.resolution == IGNORE else merge, is_one_statement=False)


async def _create_only(writer: Writer, db: Connection, conditions: Conditions, values: Values) -> str:
    row = await writer.insert(db, values, OnConflict.IGNORE)
    if row is None:
        conditions.check("")
    assert row is not None, "a row that is in the way fails the condition"
    return row


def _read_put(writer: Writer, body: bytes, key: object, *, may_create: bool) -> Values:
    """The values in the body of a PUT; of one that may create, as a new row must have them."""
    models = writer.models
    given = given_row(models, body)
    values = check_row(models, models.update, given).values
    if values.pop(models.key, None) not in (None, key):
        raise _other_key(writer.table)
    if may_create:
        given.value[models.key] = key
        values = check_row(models, models.create, given).values
    # A person's own row stays theirs when a body that replaces it does not say whose it is.
    is_said = models.owner in given.value or models.owner == models.key
    return values if is_said else writer.owned(values)


def _read_cascade(request: Request) -> bool:
    named = {name: text for name, text, _ in split_query(request.query_string)}
    for name, text in named.items():
        if name != "cascade":
            raise invalid(name, text, "is no parameter here; a delete takes cascade")
    return parse_flag("cascade", named.get("cascade", "false"))


def _key(table: TableInfo, request: Request) -> object:
    key = parse_key(table, request.key)
    if key is None:
        raise row_not_found(table, request.key)
    return key


def _existing(row: str | None, table: TableInfo, request: Request) -> str:
    if row is None:
        raise row_not_found(table, request.key)
    return row


def _key_text(table: TableInfo, values: Values, row: str) -> str:
    """The key of a new row; one that the database chose stands only in the row."""
    return str(values.get(table.key) or key_of(table, row))


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
