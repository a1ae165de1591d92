"""A statement: what to run, and the values to run it with.

Its `shape` says everything but the values (table, columns, operators, order), so that SQLAlchemy builds
and compiles each shape once per dialect; measured 0.3 ms to compile, 1.5 µs to look up and bind.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from sqlalchemy import BigInteger, Double, Numeric
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.sql import ClauseElement, column, table
from sqlalchemy.sql.elements import BindParameter, ColumnClause
from sqlalchemy.sql.expression import TableClause, bindparam
from sqlalchemy.types import NullType, TypeEngine

from src.core.tables import Kind, TableInfo

# Clients choose shapes (which filters, which order), so their number has a bound.
CACHED_SHAPES = 4096

# PostgreSQL learns the other types from the column beside the parameter; a wider one than a small
# column's keeps a filter past its range an empty list instead of an error.
PARAMETER_TYPES: dict[Kind, TypeEngine[Any]] = {
    Kind.INTEGER: BigInteger(),
    Kind.DOUBLE: Double(),
    Kind.NUMERIC: Numeric(),
}

Encoder = Callable[[Any], object]


@dataclass(frozen=True, eq=False)
class Dialect:
    """What differs between databases: how SQL is written, and which values their drivers take."""

    name: str
    sql: SqlDialect
    encoders: dict[Kind, Encoder]
    """Kinds whose values the driver does not take as they are."""
    encode_list: Callable[[Kind, Sequence[object]], object]
    """The one argument that carries the values of an `in`."""


class Parameter(NamedTuple):
    """A value of a statement: what kind it is, and whether it is a list of such values."""

    kind: Kind
    is_list: bool = False

    def bind(self, index: int) -> BindParameter[Any]:
        """Make the placeholder of the statement's value at `index`."""
        type_ = NullType() if self.is_list else PARAMETER_TYPES.get(self.kind, NullType())
        return bindparam(f"p{index}", type_=type_)


class Shape(Hashable, Protocol):
    """Everything of a statement but its values; hashable."""

    def parameters(self) -> Iterator[Parameter]:
        """Yield the values that a statement of this shape takes, in order."""

    def build(self, dialect: Dialect, binds: tuple[BindParameter[Any], ...]) -> ClauseElement:
        """Build the statement around the placeholders of those values."""


class Statement(NamedTuple):
    """A shape and its values, in the order of the shape's parameters."""

    shape: Shape
    values: tuple[object, ...]

    def compile(self, dialect: Dialect) -> tuple[str, list[object]]:
        """The SQL text, and the arguments as the dialect's driver takes them."""
        sql, plan = _compile(self.shape, dialect)
        values = self.values
        return sql, [values[index] if encode is None else encode(values[index]) for index, encode in plan]


@lru_cache(CACHED_SHAPES)
def _compile(shape: Shape, dialect: Dialect) -> tuple[str, tuple[tuple[int, Encoder | None], ...]]:
    """Compile a shape: its SQL, and per placeholder the index of its value and how to encode it."""
    parameters = tuple(shape.parameters())
    binds = tuple(parameter.bind(index) for index, parameter in enumerate(parameters))
    compiled: Any = shape.build(dialect, binds).compile(dialect=dialect.sql)
    indexes = {bind.key: index for index, bind in enumerate(binds)}
    plan = (
        (indexes[name], _encoder(dialect, parameters[indexes[name]]))
        if name in indexes
        else (0, _constant(compiled.params[name]))
        for name in compiled.positiontup or ()
    )
    return str(compiled), tuple(plan)


def _encoder(dialect: Dialect, parameter: Parameter) -> Encoder | None:
    if parameter.is_list:
        return lambda values: dialect.encode_list(parameter.kind, values)
    encode = dialect.encoders.get(parameter.kind)
    return (lambda value: None if value is None else encode(value)) if encode else None


def _constant(value: object) -> Encoder:
    """A placeholder of SQLAlchemy's own: SQLite writes a LIMIT without OFFSET as `LIMIT ? OFFSET ?`."""
    return lambda _: value


@lru_cache(1024)
def sql_table(info: TableInfo) -> TableClause:
    """The table as SQLAlchemy knows it; its columns carry no types, so that binds take none from them."""
    columns: list[ColumnClause[Any]] = [column(name) for name in info.by_name]
    return table(info.name, *columns)
