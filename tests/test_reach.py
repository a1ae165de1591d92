"""No statement about rows that have an owner can be built without a word of whose rows it may touch."""

import inspect
from collections.abc import Callable

import pytest

from src.api.direct import index_of
from src.api.query import parse_list_request, split_query
from src.core.access import Action, Role
from src.core.tables import Reach, SortTerm
from src.db.engines.postgresql import DIALECT as POSTGRESQL
from src.db.engines.sqlite import DIALECT as SQLITE
from src.db.queries import builder
from src.db.queries.query import Aggregation, Measure, Query
from src.db.queries.statement import Dialect, ManyStatement, Statement
from src.db.queries.writes import OnConflict
from src.main import app

ADA = "ada-whose-rows-they-are"
BY_KEY = (SortTerm("session_id", is_descending=False),)
COUNT = Aggregation((), (), (Measure("count", "count", None),), (), "UTC", 10)
CHANGE = {"started_at": None}
BUILDERS: dict[str, Callable[[Reach], Statement]] = {
    "select_row": lambda reach: builder.select_row(reach, "s"),
    "lock_row": lambda reach: builder.lock_row(reach, "s"),
    "select_page": lambda reach: builder.select_page(reach, Query((), BY_KEY, 10)),
    "select_all": lambda reach: builder.select_all(reach, Query((), BY_KEY, 10)),
    "select_archive": lambda reach: builder.select_archive([(reach, "session_id", "s")]),
    "count_rows": lambda reach: builder.count_rows(reach, ()),
    "select_keys": lambda reach: builder.select_keys(reach, ()),
    "select_rows": lambda reach: builder.select_rows(reach, ()),
    "aggregate": lambda reach: builder.aggregate(reach, COUNT),
    "update_row": lambda reach: builder.update_row(reach, "s", CHANGE),
    "delete_row": lambda reach: builder.delete_row(reach, "s"),
    "update_rows": lambda reach: builder.update_rows(reach, CHANGE, ()),
    "delete_rows": lambda reach: builder.delete_rows(reach, ()),
}
# What inserts is refused by the owner's value, which `test_leaks.py` tries; what locks a table touches no row.
OTHERS = {"insert_row", "insert_rows", "insert_or_lock_row", "lock_table", "has_key", "has_one_of"}


@pytest.fixture
def reach() -> Reach:
    policies = index_of(app).policies
    return policies.principal(Role.USER, ADA).access("sessions", Action.READ).reach


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("name", BUILDERS)
def test_statement_touches_the_persons_own_rows(reach: Reach, name: str, dialect: Dialect) -> None:
    sql, arguments = BUILDERS[name](reach).compile(dialect)
    assert list(arguments).count(ADA) == 1
    assert "user_id" in sql.partition("WHERE")[2]
    # Of the rows of everybody there is no such condition, or the test above could not fail.
    _, arguments = BUILDERS[name](Reach.whole(reach.table)).compile(dialect)
    assert ADA not in arguments


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_row_that_is_there_instead_of_a_new_one_is_the_persons_own(reach: Reach, dialect: Dialect) -> None:
    sql, arguments = builder.insert_or_lock_row(reach, {"session_id": "s", "user_id": ADA}).compile(dialect)
    assert list(arguments) == ["s", ADA, ADA]
    assert "user_id" in sql.partition("WHERE")[2]


EXPANDED: dict[str, Callable[[Reach, Query], Statement]] = {
    "select_row": lambda reach, query: builder.select_row(reach, "s", query.selection),
    "select_page": builder.select_page,
    "select_all": builder.select_all,
}


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize(("expand", "levels"), [("user", 2), ("user.sessions", 3), ("user.recordings", 3)])
@pytest.mark.parametrize("name", EXPANDED)
def test_related_rows_are_the_persons_own_too(
    reach: Reach, name: str, expand: str, levels: int, dialect: Dialect
) -> None:
    """The tables of this project refer to each other by their owners, so that no answer would show the difference."""
    query = parse_list_request(reach.table, split_query(f"expand={expand}")).query
    _, arguments = EXPANDED[name](reach, query).compile(dialect)
    assert list(arguments).count(ADA) == levels


def test_merge_changes_the_persons_own_rows(reach: Reach) -> None:
    statement: ManyStatement = builder.insert_rows(reach, ("session_id", "user_id"), [("s", ADA)], OnConflict.MERGE)
    assert statement.more == (ADA,)


def test_every_builder_is_looked_at() -> None:
    public = {
        name
        for name, made in inspect.getmembers(builder, inspect.isfunction)
        if made.__module__ == builder.__name__ and not name.startswith("_")
    }
    assert public == set(BUILDERS) | OTHERS
