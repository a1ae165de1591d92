"""What can be asked of a table's rows together: pages, counts, exports, aggregates; the same for every table."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from src.api.formats import JSON, Columns, Format, Rows, choose_format
from src.api.http import Answer, Request, StreamedAnswer, Tally
from src.api.links import link_to_cursors, link_to_pages
from src.api.long_query import read_long_query
from src.api.preferences import read_preferences
from src.api.query import (
    ListRequest,
    Pair,
    parse_aggregate_request,
    parse_list_request,
    split_query,
)
from src.core.access import Action
from src.core.errors import InvalidRequest, Problem
from src.core.tables import Kind, Reach, TableInfo
from src.db.connection import Connection, Database
from src.db.queries import builder
from src.db.queries.aggregates import AggregateShape
from src.db.queries.executor import count_rows, estimate_rows, fetch_groups, fetch_page, stream_rows
from src.db.queries.query import Aggregation, Selection, names_of
from src.db.queries.statement import Statement

Headers = tuple[tuple[bytes, bytes], ...]


class ListHandlers:
    """The handlers of one table."""

    def __init__(self, table: str) -> None:
        self._name = table

    async def list_rows(self, request: Request) -> Answer | StreamedAnswer:
        """Answer one page of the rows that pass every filter, or all of them as an export."""
        return await self._answer_list(request, split_query(request.query_string))

    async def query_rows(self, request: Request) -> Answer | StreamedAnswer:
        """Answer what a list does; its parameters stand in the body, which has no limit of a URL.

        A JSON object, or a form. To follow a `Link`, send the same body to its address.
        """
        return await self._answer_list(request, await read_long_query(request))

    async def aggregate_rows(self, request: Request) -> Answer | StreamedAnswer:
        """Answer numbers over the rows that pass every filter, by groups: counts, sums, averages, extremes."""
        return await self._answer_aggregate(request, split_query(request.query_string))

    async def query_aggregate(self, request: Request) -> Answer | StreamedAnswer:
        """Answer what an aggregate does; its parameters stand in the body."""
        return await self._answer_aggregate(request, await read_long_query(request))

    async def _answer_list(self, request: Request, pairs: list[Pair]) -> Answer | StreamedAnswer:
        reach = request.access(self._name, Action.READ).reach
        asked = parse_list_request(reach.table, pairs)
        format_ = choose_format(asked.format, request.header(b"accept"))
        count = asked.counted or read_preferences(request.header(b"prefer")).counted
        if format_ is not JSON:
            _refuse_places(format_, asked.places)
        headers = await _count(request.db, reach, asked, count) if count else ()
        if format_ is not JSON:
            columns = _columns_of_rows(reach.table, asked.query.selection)
            return self._export(request.database, builder.select_all(reach, asked.query), format_, columns, headers)
        rows = await fetch_page(request.db, builder.select_page(reach, asked.query))
        has_more = len(rows) > asked.query.size
        if has_more:
            rows.pop()
        if asked.query.cursor and asked.query.cursor.is_backward:
            rows.reverse()
        if asked.has_page:
            query = asked.query
            link = link_to_pages(request.path, asked.kept, query.offset, query.size, has_more=has_more)
        else:
            link = link_to_cursors(request.path, asked, rows, has_more=has_more)
        texts = [row[0] for row in rows]
        return Answer(200, f"[{','.join(texts)}]".encode(), ((b"link", link), *headers), rows=len(texts))

    async def _answer_aggregate(self, request: Request, pairs: list[Pair]) -> Answer | StreamedAnswer:
        reach = request.access(self._name, Action.READ).reach
        asked = parse_aggregate_request(reach.table, pairs)
        format_ = choose_format(asked.format, request.header(b"accept"))
        if format_ is not JSON:
            _refuse_places(format_, asked.places)
            statement = builder.aggregate(reach, asked.aggregation, is_whole=True)
            columns = _columns_of_groups(reach.table, asked.aggregation)
            return self._export(request.database, statement, format_, columns, ())
        groups = await fetch_groups(request.db, builder.aggregate(reach, asked.aggregation))
        size, offset = asked.aggregation.size, asked.aggregation.offset
        link = link_to_pages(request.path, asked.kept, offset, size, has_more=len(groups) > size)
        body = f"[{','.join(groups[:size])}]".encode()
        return Answer(200, body, ((b"link", link),), rows=min(len(groups), size))

    def _export(
        self, db: Database, statement: Statement, format_: Format, columns: Columns, headers: Headers
    ) -> StreamedAnswer:
        name = f"{self._name}.{format_.suffix}".encode("ascii", "replace").replace(b'"', b"_")
        disposition = (b"content-disposition", b'attachment; filename="' + name + b'"')
        tally = Tally()
        chunks = _encoded(format_, columns, stream_rows(db, statement), tally)
        return StreamedAnswer(chunks, format_.media_type, (*headers, disposition), format_.is_compressible, tally)


async def _count(db: Connection, reach: Reach, asked: ListRequest, count: str) -> Headers:
    """The number of all rows that pass every filter, and how it was found."""
    conditions = asked.query.filters
    number = await estimate_rows(db, reach, conditions) if count == "estimated" else None
    applied = "estimated" if number is not None else "exact"
    if number is None:
        number = await count_rows(db, reach, conditions)
    return (b"x-total-count", b"%d" % number), (b"preference-applied", f"count={applied}".encode())


async def _encoded(
    format_: Format, columns: Columns, rows: AsyncGenerator[list[str], None], tally: Tally
) -> AsyncGenerator[bytes, None]:
    assert format_.encode is not None
    async with aclosing(rows):
        # Nothing is written before the database has answered: until then, an error has an answer of its own.
        first: list[str] = await anext(rows, [])
        async for piece in format_.encode(columns, _with_first(first, rows, tally)):
            yield piece


async def _with_first(first: list[str], rows: Rows, tally: Tally) -> Rows:
    if first:
        tally.rows += len(first)
        yield first
    async for batch in rows:
        tally.rows += len(batch)
        yield batch


def _refuse_places(format_: Format, places: tuple[str, ...]) -> None:
    for name in places:
        reason = f"has no meaning in {format_.name}, which has all rows; leave it out, or ask for format=json"
        raise InvalidRequest(f"{name} {reason}", (Problem("query", name, reason),))


def _columns_of_rows(table: TableInfo, selection: Selection) -> Columns:
    """What the rows of a list have."""
    columns = [(column.name, column.kind) for column in table.columns]
    if selection.fields:
        columns = [
            (field.name, Kind.JSON if field.target.path else table.by_name[field.target.column].kind)
            for field in selection.fields
        ]
    return [*columns, *((expansion.relation.name, Kind.JSON) for expansion in selection.expansions)]


def _columns_of_groups(table: TableInfo, asked: Aggregation) -> Columns:
    """What the rows of an aggregate have."""
    names = names_of(asked.groups, asked.measures)
    return list(zip(names, AggregateShape.of(table, asked, is_whole=True).kinds(), strict=True))
