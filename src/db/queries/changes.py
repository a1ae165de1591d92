"""Statements on changes: what tells of new rows, and the numbers that order it.

A change is stored without a position, and gets one when it is committed: `src/db/feeds.py` says how.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.sql import ClauseElement

from src.core.tables import Kind, TableInfo
from src.db.queries.builder import has_one_of
from src.db.queries.filters import ConditionShape, collect_values, passing, shape_of
from src.db.queries.query import Change
from src.db.queries.statement import Dialect, Parameters, Statement, sql_table
from src.db.queries.writes import CHANGE_COLUMNS, InsertShape, Returned


def note_rows(table: TableInfo, change: Change, keys: Sequence[object]) -> Statement:
    """Insert a change that tells of rows with these keys; returns nothing."""
    columns = (*CHANGE_COLUMNS, "count", "row_keys")
    document = msgspec.json.encode({"keys": keys}).decode()
    values = (change.change_id, table.name, change.created_at, len(keys), document)
    return Statement(InsertShape(change.changes, columns, returned=Returned.NOTHING), values)


def number_changes(changes: TableInfo, table: str, since: str, first: int, most: int) -> Statement:
    """Give the next positions to changes without one whose ids are not below `since`; returns their counts."""
    return Statement(NumberShape(changes), (table, since, most, first))


def select_changes(changes: TableInfo, table: str, number: int, most: int) -> Statement:
    """Select the change that tells of the row with a number, and those after it: positions and keys, in order.

    They are as many changes as it takes for so many rows.
    """
    return Statement(ChangesShape(changes), (table, table, number, number, most, most))


def select_owners(table: TableInfo, owner: str, keys: Iterable[object]) -> Statement:
    """Select the owners of the rows with these keys, each once."""
    condition = has_one_of(table, keys)
    return Statement(OwnersShape(table, owner, shape_of(condition)), tuple(collect_values((condition,))))


@dataclass(frozen=True, slots=True)
class NumberShape:
    """Positions for changes that have none."""

    changes: TableInfo

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.changes)
        change_id, position, count = source.c["change_id"], source.c["position"], source.c["count"]
        pending = select(change_id, count).where(source.c["table_name"] == parameters.take(), position.is_(None))
        pending = pending.where(change_id >= parameters.take(Kind.UUID)).order_by(change_id)
        rows = pending.limit(parameters.take(Kind.INTEGER)).subquery("pending")
        before: Any = func.sum(rows.c["count"]).over(order_by=rows.c["change_id"]) - rows.c["count"]
        first = parameters.take(Kind.INTEGER)
        numbered = select(rows.c["change_id"], (before + first).label("number")).subquery("numbered")
        write = update(source).values(position=numbered.c["number"]).where(change_id == numbered.c["change_id"])
        return write.returning(count)


@dataclass(frozen=True, slots=True)
class ChangesShape:
    """Changes from the one that tells of the row with a number, until there are enough rows, in order."""

    changes: TableInfo

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source, before = sql_table(self.changes), sql_table(self.changes).alias("before")
        position, count = source.c["position"], source.c["count"]
        rows_before: Any = func.sum(count).over(order_by=position) - count
        rows = select(position, source.c["row_keys"], rows_before.label("rows_before"))
        rows = rows.where(source.c["table_name"] == parameters.take())
        # The number may stand in the middle of a change, which the index finds by the position before it.
        found: Any = select(func.max(before.c["position"])).where(before.c["table_name"] == parameters.take())
        found = found.where(before.c["position"] <= parameters.take(Kind.INTEGER)).scalar_subquery()
        rows = rows.where(position >= func.coalesce(found, 0), position + count > parameters.take(Kind.INTEGER))
        some = rows.order_by(position).limit(parameters.take(Kind.INTEGER)).subquery("some")
        wanted = select(some.c["position"], some.c["row_keys"])
        return wanted.where(some.c["rows_before"] < parameters.take(Kind.INTEGER)).order_by(some.c["position"])


@dataclass(frozen=True, slots=True)
class OwnersShape:
    """The owners of the rows that pass a filter."""

    table: TableInfo
    owner: str
    condition: ConditionShape

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        source = sql_table(self.table)
        return passing(select(source.c[self.owner]).distinct(), self.table, (self.condition,), parameters)
