"""Filters: a small vocabulary of operators. A new operator is one line in `OPERATORS` and one row of tests."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, Union

from sqlalchemy import Delete, Select, Update, and_, not_, or_
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FromClause

from src.core.tables import Kind, Reach, TableInfo
from src.db.queries.documents import SEEN_AS, Seen, TargetShape
from src.db.queries.expressions import Expression
from src.db.queries.query import Condition, Filter, Junction, Target
from src.db.queries.statement import Form, Parameters, sql_table


class IsOneOf(Expression):
    """`column IN (...)` with one parameter for all values, so that their number does not change the SQL."""

    def postgresql(self, column: str, values: str) -> str:
        return f"{column} = ANY ({values})"

    def sqlite(self, column: str, values: str) -> str:
        return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  both parts are compiled by SQLAlchemy


class IsNoneOf(IsOneOf):
    """`column NOT IN (...)`; not true for null, whatever the values are."""

    def postgresql(self, column: str, values: str) -> str:
        return f"({column} IS NOT NULL AND NOT ({super().postgresql(column, values)}))"

    def sqlite(self, column: str, values: str) -> str:
        return f"({column} IS NOT NULL AND NOT ({super().sqlite(column, values)}))"


class IsLike(Expression):
    """Text matches a pattern, letter by letter."""

    def postgresql(self, text: str, pattern: str) -> str:
        return f"{text} LIKE {pattern}"

    def sqlite(self, text: str, pattern: str) -> str:
        # SQLite's LIKE takes letters of either case, its GLOB does not.
        return f"{text} GLOB {pattern}"


class IsLikeFolded(Expression):
    """Text matches a pattern, ASCII letters of either case."""

    def postgresql(self, text: str, pattern: str) -> str:
        # Another collation would fold all letters, which SQLite does not.
        return f'{text} COLLATE "C" ILIKE {pattern}'

    def sqlite(self, text: str, pattern: str) -> str:
        return rf"{text} LIKE {pattern} ESCAPE '\'"


# What the SQLite engine calls the function that matches long texts.
MATCH_FUNCTION = "text_matches"


class MatchesText(Expression):
    """The same two, for texts of any length: the placeholder carries `Form.PARTS`."""

    def __init__(self, text: ColumnElement[Any], parts: ColumnElement[Any], *, is_folded: bool) -> None:
        self.is_folded = is_folded
        super().__init__(text, parts)

    def postgresql(self, text: str, pattern: str) -> str:
        return f'{text} COLLATE "C" {"ILIKE" if self.is_folded else "LIKE"} {pattern}'

    def sqlite(self, text: str, parts: str) -> str:
        return f"{MATCH_FUNCTION}({text}, {parts}, {int(self.is_folded)})"


Rows = TypeVar("Rows", Select[Any], Update, Delete)

PATTERNS = (Form.PATTERN, Form.FOLDED_PATTERN)

Build = Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[Any]]


class Operator(NamedTuple):
    """What a filter's suffix means."""

    build: Build
    form: Form = Form.VALUE


OPERATORS: dict[str, Operator] = {
    "eq": Operator(lambda column, value: column == value),
    "ne": Operator(lambda column, value: column != value),
    "gte": Operator(lambda column, value: column >= value),
    "gt": Operator(lambda column, value: column > value),
    "lte": Operator(lambda column, value: column <= value),
    "lt": Operator(lambda column, value: column < value),
    "in": Operator(IsOneOf, Form.LIST),
    "nin": Operator(IsNoneOf, Form.LIST),
    "like": Operator(IsLike, Form.PATTERN),
    "ilike": Operator(IsLikeFolded, Form.FOLDED_PATTERN),
    "contains": Operator(IsLike, Form.PATTERN),
    "startswith": Operator(IsLike, Form.PATTERN),
}
# Its value decides what SQL it is, so it is two operators inside.
IS_NULL = "isnull"
NULL_TESTS: dict[str, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    "isnull": lambda column: column.is_(None),
    "isnotnull": lambda column: column.is_not(None),
}


class FilterShape(NamedTuple):
    """A filter without its values."""

    target: TargetShape
    operator: str
    kind: Kind

    def build(self, source: FromClause, parameters: Parameters) -> ColumnElement[Any]:
        """Build the condition on a row of `source`."""
        (target,) = self.target.build(source, parameters, self._seen())
        if self.operator in NULL_TESTS:
            return NULL_TESTS[self.operator](target)
        operator = OPERATORS[self.operator]
        if self.target.is_inside and operator.form in PATTERNS:
            parts = parameters.take(Kind.TEXT, Form.PARTS)
            return MatchesText(target, parts, is_folded=operator.form is Form.FOLDED_PATTERN)
        kind = Kind.TEXT if self.kind is Kind.JSON else self.kind
        return operator.build(target, parameters.take(kind, operator.form))

    def _seen(self) -> Seen:
        return Seen.SCALAR if self.operator in NULL_TESTS else SEEN_AS.get(self.kind, Seen.PIECE)


class JunctionShape(NamedTuple):
    """A junction without its values."""

    is_any: bool
    is_negated: bool
    parts: tuple["ConditionShape", ...]

    def build(self, source: FromClause, parameters: Parameters) -> ColumnElement[Any]:
        """Build the condition on a row of `source`."""
        parts = [part.build(source, parameters) for part in self.parts]
        junction = or_(*parts) if self.is_any else and_(*parts)
        return not_(junction.self_group()) if self.is_negated else junction


ConditionShape = Union[FilterShape, JunctionShape]  # noqa: UP007  a forward reference takes no |


def shape_of(condition: Condition) -> ConditionShape:
    """What decides the SQL of a condition."""
    if isinstance(condition, Junction):
        return JunctionShape(condition.is_any, condition.is_negated, tuple(map(shape_of, condition.conditions)))
    target, operator, kind, _ = condition
    if target.path:
        return FilterShape(TargetShape.of(target), operator, kind)
    return _shape_on_column(target.column, operator, kind)


@lru_cache(4096)
def _shape_on_column(column: str, operator: str, kind: Kind) -> FilterShape:
    return FilterShape(TargetShape(column, is_inside=False, places=()), operator, kind)


def collect_values(conditions: Iterable[Condition]) -> list[object]:
    """The values of conditions, in the order in which their shapes take their placeholders."""
    values: list[object] = []
    for condition in conditions:
        if isinstance(condition, Junction):
            values += collect_values(condition.conditions)
            continue
        if condition.target.path:
            values.append(condition.target.path)
        if condition.operator not in NULL_TESTS:
            values.append(condition.value)
    return values


def own_rows(reach: Reach) -> tuple[Condition, ...]:
    """The condition that a row belongs to the person of a reach; nothing where all rows can be reached."""
    if not reach.is_owned:
        return ()
    owner = reach.table.by_name[reach.table.owner]
    return (Filter(Target(owner.name), "eq", owner.kind, reach.person),)


def passing(rows: Rows, table: TableInfo, conditions: Iterable[ConditionShape], parameters: Parameters) -> Rows:
    """Those of the rows of a table that pass every filter: to be selected, updated or deleted."""
    source = sql_table(table)
    return rows.where(*(condition.build(source, parameters) for condition in conditions))


def is_null(target: Target, *, answer: bool) -> Filter:
    """The filter that a target is null, or is not."""
    return Filter(target, IS_NULL if answer else "isnotnull", Kind.TEXT, None)
