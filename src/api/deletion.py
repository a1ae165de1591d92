"""What stands in the way of deleting rows."""

from collections.abc import Sequence
from typing import Any

import msgspec

from src.api.dependencies import MODEL_MAP
from src.api.entrance.access import Access
from src.api.http import shortened
from src.core.errors import Forbidden, RowConflict
from src.core.tables import Reach
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import count_referring_rows, fetch_rows

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Deletion:
    """The deletion of rows of one table that a request may touch."""

    def __init__(self, access: Access) -> None:
        self.table = access.table
        self.reach = access.reach
        self._access = access
        self._whole = Reach.whole(MODEL_MAP[access.table.name].info)
        self.hidden = self._whole.table.by_name.keys() - access.table.by_name.keys()
        """The columns that the caller does not know of."""

    async def refuse_hidden(self, db: Connection, keys: Sequence[object]) -> None:
        """Lock rows that the caller is about to delete, and refuse that where hidden columns say something.

        What an admin has decided about an account would go with the row, and a new one would say nothing of it.

        Raises:
            Forbidden: one does.
        """
        if not self.hidden or not keys:
            return
        condition = builder.has_one_of(self._whole.table, keys)
        for row, key in await fetch_rows(db, builder.select_rows(self._whole, (condition,), is_locked=True)):
            values = _decode(row)
            if any(values[name] not in (None, False) for name in self.hidden):
                raise Forbidden(f"the row {shortened(str(key))} holds what only an admin may delete")

    async def explain(self, db: Connection, keys: Sequence[object]) -> RowConflict:
        """Who refers to rows that were to be deleted, as far as the caller may know."""
        counts = await count_referring_rows(db, self._access.related(), self.table, keys)
        named = ", ".join(f"{count} of {name}" for name, count in counts.items()) or "rows of another table"
        return RowConflict(f"rows refer to this one: {named}; delete them first")
