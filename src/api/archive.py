"""Everything that the service holds about a person, as one stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from src.api.dependencies import carriers_of
from src.api.erasure import check_is_own, row_not_found
from src.api.formats import encode_ndjson
from src.api.http import NDJSON_TYPE, Request, StreamedAnswer, Tally
from src.api.query import parse_key
from src.core.access import Action
from src.core.tables import Reach
from src.db.queries import builder
from src.db.queries.executor import stream_rows
from src.db.queries.statement import Statement


class ArchiveHandlers:
    """The handler of one table whose rows are people."""

    def __init__(self, table: str) -> None:
        self._name = table

    async def read_archive(self, request: Request) -> StreamedAnswer:
        """Answer everything that is stored about a person: their row, and all rows that carry their key.

        Lines of JSON, `{"table": ..., "row": {...}}`, streamed from one snapshot.
        """
        request.refuse_parameters()
        reach = request.access(self._name, Action.READ).reach
        key = parse_key(reach.table, request.key)
        check_is_own(request.principal, reach, key, request.key)
        others = [request.access(name, Action.READ).reach for name in carriers_of(self._name)]
        column = reach.table.key
        statement = builder.select_archive([(each, column, key) for each in (reach, *others)])
        tally = Tally()
        chunks = self._lines(request, reach, statement, tally)
        disposition = (b"content-disposition", b'attachment; filename="archive.ndjson"')
        return StreamedAnswer(chunks, NDJSON_TYPE, (disposition,), tally=tally)

    async def _lines(
        self, request: Request, reach: Reach, statement: Statement, tally: Tally
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(stream_rows(request.database, statement)) as batches:
            async for piece in encode_ndjson((), _counted(batches, tally)):
                yield piece
        if not tally.rows:
            raise row_not_found(reach.table, request.key)


async def _counted(batches: AsyncGenerator[list[str], None], tally: Tally) -> AsyncGenerator[list[str], None]:
    async for batch in batches:
        tally.rows += len(batch)
        yield batch
