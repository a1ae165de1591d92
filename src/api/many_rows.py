"""What can be done with many rows of a table at once: insert a list, change or delete those that pass filters."""

from typing import NamedTuple

import msgspec

from src.api.bodies import Values, read_rows
from src.api.conditions import refuse_conditions
from src.api.deletion import Deletion
from src.api.given_rows import MAX_ROWS
from src.api.http import PATCH_TYPES, Answer, Request, shortened
from src.api.long_bodies import read_in_turns
from src.api.merge_patch import Patch
from src.api.preferences import IGNORE, MERGE, Preferences, read_preferences
from src.api.query import parse_conditions, split_query
from src.api.writer import Writer
from src.core.access import Action
from src.core.errors import InvalidRequest, Problem, ReferenceBroken, RowConflict
from src.core.tables import Reach
from src.db.connection import Connection, Work
from src.db.queries import builder
from src.db.queries.executor import change_rows, fetch_keys, fetch_rows
from src.db.queries.query import Condition
from src.db.queries.writes import OnConflict

# How many rows a request may change that does not say so, and how many it may change at all.
DEFAULT_AFFECTED = 1000
MAX_AFFECTED = 100_000

RESOLUTIONS = {"": OnConflict.REFUSE, IGNORE: OnConflict.IGNORE, MERGE: OnConflict.MERGE}


async def create_many(request: Request, writer: Writer, media_type: bytes, body: bytes, prefers: Preferences) -> Answer:
    """Insert the rows of a body, all of them or none; answer those that were written, in their order."""
    rows = await read_in_turns(request, body, lambda text: read_rows(writer.models, media_type, text))

    async def insert(db: Connection) -> list[str]:
        keys = await writer.insert_many(db, rows, RESOLUTIONS[prefers.resolution])
        written = [key for key in keys if key is not None]
        if prefers.is_minimal or not written:
            return []
        # Rows are read back by their keys: SQLite takes three times as long to return them one by one.
        found = await fetch_rows(db, builder.select_rows(writer.reach, (builder.has_one_of(writer.table, written),)))
        by_key = {str(key): row for row, key in found}
        encode = db.dialect.encoders.get(writer.table.key_kind, str)
        return [by_key[str(encode(key))] for key in written]

    written = await request.transact(insert, is_rehearsal=prefers.is_rehearsal)
    applied = prefers.applied("return", "resolution", "tx")
    if prefers.is_minimal:
        return Answer(201, headers=applied)
    return Answer(201, f"[{','.join(written)}]".encode(), applied)


class ManyRowsHandlers:
    """The handlers of one table for those of its rows that pass filters."""

    def __init__(self, table: str, *, auto_timestamps: bool) -> None:
        self._name = table
        self._auto_timestamps = auto_timestamps

    async def patch_rows(self, request: Request) -> Answer:
        """Change columns of all rows that pass every filter, of which there must be one; answers how many.

        The body is a JSON merge patch (RFC 7396). When more rows pass than `Prefer: max-affected=N` allows, 1000
        without it, nothing happens.
        """
        refuse_conditions(request)
        writer = self._writer(request)
        prefers = read_preferences(request.header(b"prefer"))
        filters = parse_conditions(writer.table, split_query(request.query_string))
        _, body = await request.body_of(*PATCH_TYPES)
        patch = Patch(writer.models, body)
        if patch.names_key:
            reason = "a row keeps its key"
            problem = Problem("body", f"/{writer.table.key}", reason)
            raise InvalidRequest(f"{writer.table.key}: {reason}", (problem,))
        if patch.merges_documents:
            patch.check()
            most = min(_most_affected(prefers), MAX_ROWS)
            found = await _find(request.db, writer.reach, filters, most)
            max_bytes = request.settings.max_body_bytes
            return await self._answer(request, prefers, lambda db: _merge_each(db, writer, found, patch, max_bytes))
        changes = writer.changed(patch.values())
        found = await _find(request.db, writer.reach, filters, _most_affected(prefers))
        return await self._answer(request, prefers, lambda db: _change(db, writer, found, changes))

    async def delete_rows(self, request: Request) -> Answer:
        """Delete all rows that pass every filter, of which there must be one; answers how many.

        When more rows pass than `Prefer: max-affected=N` allows, 1000 without it, nothing happens.
        """
        refuse_conditions(request)
        deletion = Deletion(request.access(self._name, Action.CHANGE))
        prefers = read_preferences(request.header(b"prefer"))
        filters = parse_conditions(deletion.table, split_query(request.query_string))
        found = await _find(request.db, deletion.reach, filters, _most_affected(prefers))
        return await self._answer(request, prefers, lambda db: _delete(db, deletion, found))

    def _writer(self, request: Request) -> Writer:
        return Writer(
            request.access(self._name, Action.CHANGE), request.tombstones, auto_timestamps=self._auto_timestamps
        )

    async def _answer(self, request: Request, prefers: Preferences, work: Work[int]) -> Answer:
        count = await request.transact(work, is_rehearsal=prefers.is_rehearsal)
        applied = prefers.applied("return", "max-affected", "tx")
        if prefers.is_minimal:
            return Answer(204, headers=applied)
        return Answer(200, msgspec.json.encode({"count": count}), applied)


class Found(NamedTuple):
    """The rows that a request is about."""

    keys: list[object]
    conditions: tuple[Condition, ...]


async def _find(db: Connection, reach: Reach, filters: tuple[Condition, ...], most: int) -> Found:
    """The rows that pass now. They are looked for before the transaction, so that it is short."""
    keys = await fetch_keys(db, builder.select_keys(reach, filters, most + 1))
    if len(keys) > most:
        reason = f"more than {most} {'row passes' if most == 1 else 'rows pass'} the filters; nothing was changed"
        raise InvalidRequest(
            f"{reason}; Prefer: max-affected=N allows more, or less", (Problem("header", "Prefer", reason),)
        )
    # The filters hold once more when the rows are written: one that was changed meanwhile may not pass any more.
    return Found(keys, (builder.has_one_of(reach.table, keys), *filters))


async def _change(db: Connection, writer: Writer, found: Found, values: Values) -> int:
    try:
        count = await change_rows(db, builder.update_rows(writer.reach, values, found.conditions))
    except ReferenceBroken as error:
        await writer.refuse_erased(db, values)
        raise await writer.explain_references(db, values) from error
    await writer.refuse_erased(db, values)
    return count


async def _merge_each(db: Connection, writer: Writer, found: Found, patch: Patch, max_bytes: int) -> int:
    rows = await fetch_rows(db, builder.select_rows(writer.reach, found.conditions, is_locked=True))
    for row, key in rows:
        try:
            await writer.update(db, key, writer.changed(patch.apply(row, max_bytes)))
        except (InvalidRequest, RowConflict) as error:
            raise type(error)(f"the row {shortened(str(key))}: {error.detail}", error.problems) from error
    return len(rows)


async def _delete(db: Connection, deletion: Deletion, found: Found) -> int:
    await deletion.refuse_hidden(db, found.keys)
    try:
        return await change_rows(db, builder.delete_rows(deletion.reach, found.conditions))
    except ReferenceBroken as error:
        raise await deletion.explain(db, found.keys) from error


def _most_affected(prefers: Preferences) -> int:
    return min(int(prefers.max_affected), MAX_AFFECTED) if prefers.max_affected else DEFAULT_AFFECTED
