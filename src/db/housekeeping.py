"""What is cleaned up in the background: rows that have been kept for long enough."""

import asyncio
import logging
import random
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from src.core.errors import ApiError
from src.core.tables import Kind, Reach, TableInfo
from src.core.values import now
from src.db.connection import Database
from src.db.queries import builder
from src.db.queries.executor import change_rows, fetch_keys
from src.db.queries.query import Condition, Filter, Target

# Others write between two of these.
ROWS_AT_ONCE = 500

log = logging.getLogger("housekeeping")


class Retention(NamedTuple):
    """How long rows of a table are kept."""

    table: TableInfo
    column: str
    """When a row was made. There is an index on it."""
    hours: float

    def expired(self) -> tuple[Condition, ...]:
        """The condition that a row has been kept for long enough."""
        end = now() - timedelta(hours=self.hours)
        return (Filter(Target(self.column), "lt", Kind.TIMESTAMP, end),)


class Housekeeping:
    """Deletes what need not be kept any longer, now and then; several processes may do so at once."""

    def __init__(self, db: Database, retentions: Iterable[Retention], interval_s: float) -> None:
        self._db = db
        self._retentions = tuple(retentions)
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, after a while; processes that were started together take turns."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End it."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s * random.uniform(0.5, 1.5))  # noqa: S311  not a secret
            for retention in self._retentions:
                await self._try_to_clean(retention)

    async def _try_to_clean(self, retention: Retention) -> None:
        try:
            if count := await clean(self._db, retention):
                log.info("%d old rows of %s were deleted", count, retention.table.name)
        except ApiError as error:
            log.warning("Old rows of %s could not be deleted: %s", retention.table.name, error)
        except Exception:
            # Whatever it is, it will be tried again.
            log.exception("old rows of %s could not be deleted", retention.table.name)


async def clean(db: Database, retention: Retention) -> int:
    """Delete the rows of a table that have been kept for long enough, a few at a time; how many they were."""
    reach, expired = Reach.whole(retention.table), retention.expired()
    count = 0
    while keys := await fetch_keys(db, builder.select_keys(reach, expired, ROWS_AT_ONCE)):
        count += await change_rows(db, builder.delete_rows(reach, (builder.has_one_of(retention.table, keys),)))
        if len(keys) < ROWS_AT_ONCE:
            break
    return count
