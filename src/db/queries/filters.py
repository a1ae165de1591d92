"""Filters: a small vocabulary of operators. A new operator is one line here and one row of tests."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import NullType


class IsOneOf(FunctionElement[Any]):
    """`column IN (...)` with one parameter for all values, so that their number does not change the SQL."""

    inherit_cache = False
    # With Boolean, SQLite would append ` = 1`.
    type = NullType()


@compiles(IsOneOf, "postgresql")
def _is_one_of_on_postgresql(element: IsOneOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **kw)} = ANY ({compiler.process(values, **kw)})"


@compiles(IsOneOf, "sqlite")
def _is_one_of_on_sqlite(element: IsOneOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **kw)} IN (SELECT value FROM json_each({compiler.process(values, **kw)}))"  # noqa: S608  both parts are compiled by SQLAlchemy


Operator = Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[Any]]

OPERATORS: dict[str, Operator] = {
    "eq": lambda column, value: column == value,
    "gte": lambda column, value: column >= value,
    "lte": lambda column, value: column <= value,
    "in": IsOneOf,
}
LIST_OPERATORS = frozenset({"in"})
