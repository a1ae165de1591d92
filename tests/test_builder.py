"""Statements: one per shape, values bound, and answered from an index."""

import asyncio
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from src.api.cursors import make_cursor
from src.api.parameters.filters import PATTERNS
from src.api.query import parse_list_request, split_query
from src.core.tables import Kind, Reach, SortTerm
from src.db.engines.postgresql import DIALECT as POSTGRESQL
from src.db.engines.sqlite import DIALECT as SQLITE
from src.db.queries import builder
from src.db.queries.filters import OPERATORS, is_null
from src.db.queries.query import (
    Aggregation,
    Condition,
    Field,
    Filter,
    Group,
    GroupOrder,
    Junction,
    Measure,
    Query,
    Selection,
    Target,
)
from src.db.queries.statement import Dialect, Statement
from src.models import event_log, users
from tests.databases import is_sqlite, run_sql

EVENTS, USERS = event_log.TABLE.info, users.TABLE.info
ALL_USERS = Reach.whole(USERS)
BY_KEY = (SortTerm("user_id", is_descending=False),)


IS_VALUE = Filter(Target("user_id"), "eq", Kind.TEXT, "a")
SORTS = [
    (SortTerm("created_at", is_descending=descending), SortTerm("user_id", is_descending=descending))
    for descending in (False, True)
]


def conditions(value: str) -> list[Condition]:
    """A condition of every shape: each operator on a column, and on each kind of value inside a document."""
    found: list[Condition] = [
        Filter(Target("user_id"), operator, Kind.TEXT, (value,)) for operator in OPERATORS if operator not in PATTERNS
    ]
    found += [Filter(Target("user_id"), operator, Kind.TEXT, (value,)) for operator in ("like", "ilike")]
    for path in ((value,), (value, "0")):
        inside = Target("body_data", path)
        found += [
            Filter(inside, "eq", Kind.TEXT, value),
            Filter(inside, "eq", Kind.DOUBLE, 1.0),
            Filter(inside, "eq", Kind.BOOLEAN, True),
            Filter(inside, "eq", Kind.JSON, "null"),
            is_null(inside, answer=True),
            is_null(inside, answer=False),
        ]
    for is_any, is_negated in ((True, False), (True, True), (False, True)):
        found.append(Junction(is_any, is_negated, (found[0], found[1])))
    return found


def aggregations(value: str) -> list[Aggregation]:
    """Aggregations of several shapes."""
    inside, created = Target("body_data", (value,)), Target("created_at")
    shapes: list[tuple[tuple[Group, ...], tuple[Measure, ...], str]] = [
        ((), (Measure(value, "count", None),), "UTC"),
        ((Group(value, inside),), (Measure(value, "avg", inside),), "UTC"),
        ((Group(value, created, "day"),), (Measure(value, "max", created),), "UTC"),
        ((Group(value, created, "week"),), (Measure(value, "max", created),), value),
    ]
    return [
        Aggregation(
            (), groups, measures, tuple(GroupOrder(n, is_descending=False) for n in range(len(groups))), zone, 10
        )
        for groups, measures, zone in shapes
    ]


def statements(value: str) -> list[Statement]:
    """A statement of every shape, on one table."""
    return [
        builder.select_row(ALL_USERS, value),
        builder.select_page(ALL_USERS, Query((), BY_KEY, 10)),
        builder.insert_row(ALL_USERS, {"user_id": value}),
        builder.update_row(ALL_USERS, value, {"user_id": value}),
        builder.delete_row(ALL_USERS, value),
        builder.count_rows(ALL_USERS, (IS_VALUE,)),
        builder.count_rows(ALL_USERS, ()),
        builder.select_keys(ALL_USERS, (IS_VALUE,)),
        builder.select_all(ALL_USERS, Query((), BY_KEY, 10)),
        builder.select_row(ALL_USERS, value, Selection((Field(value, Target("body_data", (value,))),))),
        *(builder.select_page(ALL_USERS, Query((condition,), BY_KEY, 10)) for condition in conditions(value)),
        *(builder.select_page(ALL_USERS, Query((), sort, 10)) for sort in SORTS),
        *(builder.aggregate(ALL_USERS, each) for each in aggregations(value)),
    ]


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_no_two_shapes_share_a_text(dialect: Dialect) -> None:
    texts = [statement.compile(dialect)[0] for statement in statements("a")]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_values_are_bound_and_never_stand_in_the_text(dialect: Dialect) -> None:
    value = "x'; DROP TABLE users; --"
    for statement, other in zip(statements(value), statements("b"), strict=True):
        text, arguments = statement.compile(dialect)
        assert value not in text
        assert text == other.compile(dialect)[0]
        assert holds(arguments, value) == holds(statement.values, value)


def holds(values: Iterable[object], value: str) -> bool:
    """Whether a value stands among others or inside of one; each database has its own form of names and paths."""
    return "DROP TABLE" in repr(values) and value in repr(values).replace('\\"', '"').replace("\\'", "'")


def plan(url: str, query_string: str) -> str:
    """How the database would answer a list of events."""
    query = parse_list_request(EVENTS, split_query(query_string)).query
    text, arguments = builder.select_page(Reach.whole(EVENTS), query).compile(SQLITE if is_sqlite(url) else POSTGRESQL)
    if is_sqlite(url):
        for argument in arguments:
            text = text.replace("?", _literal(argument), 1)
        return "\n".join(str(row[3]) for row in run_sql(url, f"EXPLAIN QUERY PLAN {text}"))
    for number in range(len(arguments), 0, -1):
        text = text.replace(f"${number}", _literal(arguments[number - 1]))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, explain(url, text)).result()


async def explain(url: str, text: str) -> str:
    """The plan of PostgreSQL, which would scan an empty table whatever its indexes are."""
    connection: Any = await asyncpg.connect(url)
    try:
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {text}"))
    finally:
        await connection.close()


def _literal(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def cursor_after(query_string: str) -> str:
    asked = parse_list_request(EVENTS, split_query(query_string))
    row = {column.name: None for column in EVENTS.columns} | {
        "event_id": "01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e",
        "ts": "2026-01-31T09:30:00+00:00",
    }
    return make_cursor(asked.query.sort, json.dumps(row), asked.digest, is_backward=False)


FILTERS = ["", "user_id=ada", "session_id=s", "event_type=tap", "event_source=app", "user_id=ada&ts_gte=2026-01-01"]


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("place", ["page=7", "cursor"])
def test_documented_lists_are_read_from_an_index_in_its_order(migrated_url: str, filters: str, place: str) -> None:
    query = f"{filters}&size=100" if filters else "size=100"
    query += f"&cursor={cursor_after(query)}" if place == "cursor" else f"&{place}"
    found = plan(migrated_url, query)
    assert "ix_event_log" in found, found
    if is_sqlite(migrated_url):
        assert "USE TEMP B-TREE" not in found
        assert "SCAN event_log\n" not in found + "\n"
    else:
        assert "Sort" not in found
        if place == "cursor":
            assert "ROW(ts, event_id)" in found
