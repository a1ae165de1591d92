"""Erasing everything that carries one key: a person, and every row of every table with that person's `user_id`."""

from contextlib import suppress

from src.api.dependencies import carriers_of
from src.api.entrance.access import Principal
from src.api.http import shortened
from src.api.idempotency import forget_answers
from src.auth.tombstones import Tombstones
from src.core.access import Action, Role
from src.core.errors import FeatureMissing, RowNotFound
from src.core.tables import Reach, TableInfo
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import change_rows
from src.db.queries.query import Filter, Target


def check_is_own(principal: Principal, reach: Reach, key: object, text: str) -> None:
    """Let people ask about themselves only; whoever is not a user may ask about anybody.

    Raises:
        RowNotFound: it is about somebody else, as if they did not exist.
    """
    if principal.role is Role.USER and (reach.table.owner != reach.table.key or key != principal.person):
        raise row_not_found(reach.table, text)


def check_erasure(principal: Principal, reach: Reach, key: object, text: str) -> None:
    """Refuse an erasure that is not the caller's to ask for. People may erase themselves.

    Raises:
        RowNotFound: it is about somebody else.
        Forbidden: it would delete rows of a table that the caller may not change.
    """
    check_is_own(principal, reach, key, text)
    if principal.role is not Role.USER:
        for name in carriers_of(reach.table.name):
            principal.access(name, Action.CHANGE)


def row_not_found(table: TableInfo, key: str) -> RowNotFound:
    """The error of a key that no row has, or none that the caller may see."""
    return RowNotFound(f"no row of {table.name} has the {table.key} {shortened(key)!r}")


async def wait_for_writers(db: Connection, table: TableInfo) -> None:
    """Wait for all who write to a table, and keep others from it until the transaction ends.

    Some distributed databases lock no tables; there, an insert in this very moment may stay.
    """
    if db.dialect.has_table_locks:
        with suppress(FeatureMissing):
            await change_rows(db, builder.lock_table(table))


async def erase(db: Connection, reach: Reach, key: object, tombstones: Tombstones) -> dict[str, int]:
    """Delete the row with this key, and all rows of other tables that carry it; per table, how many.

    A person leaves a tombstone behind, by which rows that arrive later are refused.

    Nobody writes to the row's table by now (`wait_for_writers`), and the row is locked, so that no row can begin to
    refer to it by a foreign key. Where there is none, an insert may be on its way that the first delete does not see:
    those who write to that table are waited for, and what they left is deleted too. Nobody is kept waiting for longer
    than that second delete takes.
    """
    table = reach.table
    counts: dict[str, int] = {}
    if table.owner == table.key:
        await tombstones.put(db, str(key))
    for name, other in carriers_of(table.name).items():
        carried = (Filter(Target(table.key), "eq", other.by_name[table.key].kind, key),)
        counts[name] = await change_rows(db, builder.delete_rows(Reach.whole(other), carried))
        if db.dialect.has_table_locks and not _is_guarded(other, table):
            await wait_for_writers(db, other)
            counts[name] += await change_rows(db, builder.delete_rows(Reach.whole(other), carried))
    own = await change_rows(db, builder.delete_rows(reach, (builder.has_key(table, key),)))
    if table.owner == table.key:
        # By now, all who wrote about the person have finished, and so are the answers that they got.
        await forget_answers(db, str(key))
    return {table.name: own, **counts}


def _is_guarded(other: TableInfo, table: TableInfo) -> bool:
    """Whether a foreign key keeps rows from carrying a key that does not exist."""
    return any(
        (reference.column, reference.referred_table, reference.referred_column) == (table.key, table.name, table.key)
        for reference in other.foreign_keys
    )
