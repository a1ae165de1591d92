"""What keeps the service from serving: the database away, migrations behind, models that do not match."""

import asyncio
from collections.abc import Sequence
from time import monotonic

from sqlalchemy.engine import URL

from src.core.errors import ApiError
from src.core.tables import TableInfo
from src.db.introspection import current_revision, differences, read_tables
from src.db.revisions import head_revision

# Probes come from several places every few seconds; reading the catalog for each would be load for nothing.
FRESH_S = 2.0


class Readiness:
    """Looks at the database now and then, by a connection of its own, so that a full pool does not hide it."""

    def __init__(self, url: URL, tables: Sequence[TableInfo]) -> None:
        self._url = url
        self._tables = tables
        self._looking = asyncio.Lock()
        self._found: list[str] = []
        self._fresh_until = 0.0

    async def find_obstacles(self) -> list[str]:
        """Sentences that say what is wrong and what to run; none when the service can serve."""
        async with self._looking:
            if monotonic() > self._fresh_until:
                self._found = await self._look()
                self._fresh_until = monotonic() + FRESH_S
            return self._found

    async def _look(self) -> list[str]:
        try:
            revision = await current_revision(self._url)
            live = await read_tables(self._url)
        except ApiError as error:
            return [error.detail]
        newest = await asyncio.to_thread(head_revision)
        behind = [] if revision == newest else [f"migrations are at {revision}, not {newest}: run alembic upgrade head"]
        return behind + [text for table in self._tables for text in differences(table, live.get(table.name))]
