"""Erasing everything that carries one key: a person, and every row of every table with that person's `user_id`."""

from contextlib import suppress

from src.api.dependencies import carriers_of
from src.core.errors import FeatureMissing
from src.core.tables import TableInfo
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import change_rows
from src.db.queries.query import Filter, Target


async def erase(db: Connection, table: TableInfo, key: object) -> dict[str, int]:
    """Delete the row with this key, and all rows of other tables that carry it; per table, how many.

    The row itself is locked by now, so that no row can begin to refer to it by a foreign key. Where there is none, an
    insert may be on its way that the first delete does not see: those who write to that table are waited for, and what
    they left is deleted too. Nobody is kept waiting for longer than that second delete takes.
    """
    counts: dict[str, int] = {}
    for name, other in carriers_of(table).items():
        carried = (Filter(Target(table.key), "eq", other.by_name[table.key].kind, key),)
        counts[name] = await change_rows(db, builder.delete_rows(other, carried))
        if db.dialect.has_table_locks and not _is_guarded(other, table):
            # Some distributed databases lock no tables; there, an insert in this very moment may stay.
            with suppress(FeatureMissing):
                await change_rows(db, builder.lock_table(other))
            counts[name] += await change_rows(db, builder.delete_rows(other, carried))
    own = await change_rows(db, builder.delete_rows(table, (builder.has_key(table, key),)))
    return {table.name: own, **counts}


def _is_guarded(other: TableInfo, table: TableInfo) -> bool:
    """Whether a foreign key keeps rows from carrying a key that does not exist."""
    return any(
        (reference.column, reference.referred_table, reference.referred_column) == (table.key, table.name, table.key)
        for reference in other.foreign_keys
    )
