"""A statement: what to run, and the values to run it with.

Its `shape` says everything but the values (table, columns, operators, order), so that SQLAlchemy builds
and compiles each shape once per dialect; measured 0.3 ms to compile, 1.5 µs to look up and bind.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
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


class Form(Enum):
    """What a parameter carries."""

    VALUE = auto()
    """One value of its kind."""
    LIST = auto()
    """A sequence of values of its kind."""
    PATTERN = auto()
    """The texts between the wildcards of a pattern, in order."""
    FOLDED_PATTERN = auto()
    """The same, for a match that takes ASCII letters of either case."""
    PARTS = auto()
    """The texts between the wildcards, for a match with a text that may be long."""
    PATH = auto()
    """The members that lead to a value inside a JSON document."""
    PATHS = auto()
    """The same, where a member may be the place in an array."""
    NAME = auto()
    """The name of a member of a rendered row."""


@dataclass(frozen=True, eq=False)
class Dialect:
    """What differs between databases: how SQL is written, and which values their drivers take."""

    name: str
    sql: SqlDialect
    encoders: Mapping[Kind, Encoder]
    """Kinds whose values the driver does not take as they are."""
    form_encoders: Mapping[Form, Callable[[Kind, Any], object]]
    """How everything else than a plain value becomes an argument."""
    has_table_locks: bool = False
    """Whether writers of a table can be waited for; where there is one writer at a time, that is not needed."""
    notes_while_writing: bool = False
    """Whether one statement can write a row and the change that tells of it; else they are two of one transaction."""
    explain: str = ""
    """What stands before a statement to learn how many rows the planner expects; empty where it has no number."""

    def encoder(self, parameter: "Parameter") -> Encoder | None:
        """How values of a parameter become what the driver takes; None when they are it already."""
        encode_form = self.form_encoders.get(parameter.form)
        if encode_form:
            return lambda value: encode_form(parameter.kind, value)
        encode = self.encoders.get(parameter.kind)
        return (lambda value: None if value is None else encode(value)) if encode else None


class Parameter(NamedTuple):
    """A value of a statement: what kind it is, and what carries it."""

    kind: Kind
    form: Form


class Parameters:
    """Hands out the placeholders of a statement while it is built, in the order of its values."""

    def __init__(self) -> None:
        self.taken: list[Parameter] = []

    def take(self, kind: Kind = Kind.TEXT, form: Form = Form.VALUE) -> BindParameter[Any]:
        """Make the placeholder of the next value."""
        type_ = PARAMETER_TYPES.get(kind, NullType()) if form is Form.VALUE else NullType()
        self.taken.append(Parameter(kind, form))
        return bindparam(f"p{len(self.taken) - 1}", type_=type_)


class Shape(Hashable, Protocol):
    """Everything of a statement but its values; hashable."""

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        """Build the statement; it takes one placeholder for each of its values, in their order."""


class Statement(NamedTuple):
    """A shape and its values, in the order in which building the shape takes their placeholders."""

    shape: Shape
    values: tuple[object, ...]

    def compile(self, dialect: Dialect) -> tuple[str, list[object]]:
        """The SQL text, and the arguments as the dialect's driver takes them."""
        sql, plan = _compile(self.shape, dialect)
        values = self.values
        return sql, [values[index] if encode is None else encode(values[index]) for index, encode in plan]


class ManyStatement(NamedTuple):
    """The same write for many rows: one by one, or all in one statement where the database takes that."""

    one: Shape
    """The write of one row."""
    bulk: Shape
    """The write of all, which takes an array for each value of a row."""
    each: Shape
    """The write of one row, which returns what the write of all does."""
    rows: Sequence[tuple[object, ...]]
    key_place: int | None
    """Where the key stands among a row's values; None where the database makes it, and the write of one returns it."""
    tells_keys: bool
    """Whether the write of all returns the keys of the rows that it wrote."""
    more: tuple[object, ...] = ()
    """Values that come after those of the rows."""

    def in_bulk(self) -> Statement:
        """All rows in one statement."""
        return Statement(self.bulk, (*zip(*self.rows, strict=True), *self.more))

    def each_of_rows(self, dialect: Dialect) -> tuple[str, list[list[object]]]:
        """The SQL text of the write of one row that returns what the write of all would, and the arguments per row."""
        sql, plan = _compile(self.each, dialect)
        rows = ((*row, *self.more) for row in self.rows)
        return sql, [[row[at] if encode is None else encode(row[at]) for at, encode in plan] for row in rows]

    def one_by_one(self) -> Iterator[Statement]:
        """Yield a statement for each row."""
        for row in self.rows:
            yield Statement(self.one, (*row, *self.more))

    def key_of(self, row: int) -> object:
        """The key of a row, None where the database makes it."""
        return None if self.key_place is None else self.rows[row][self.key_place]

    def keys_of(self, returned: Sequence[Sequence[Any]]) -> list[Any]:
        """The keys of the rows after all were written at once, None for one that was ignored."""
        if self.key_place is None:
            return [key for (key,) in returned]
        keys = [row[self.key_place] for row in self.rows]
        if not self.tells_keys:
            return keys
        written = {str(key) for (key,) in returned}
        return [key if str(key) in written else None for key in keys]


@lru_cache(CACHED_SHAPES)
def _compile(shape: Shape, dialect: Dialect) -> tuple[str, tuple[tuple[int, Encoder | None], ...]]:
    """Compile a shape: its SQL, and per placeholder the index of its value and how to encode it."""
    parameters = Parameters()
    compiled: Any = shape.build(dialect, parameters).compile(dialect=dialect.sql)
    indexes = {f"p{index}": index for index in range(len(parameters.taken))}
    plan = (
        (indexes[name], dialect.encoder(parameters.taken[indexes[name]]))
        if name in indexes
        else (0, _constant(compiled.params[name]))
        for name in compiled.positiontup or ()
    )
    return str(compiled), tuple(plan)


def _constant(value: object) -> Encoder:
    """A placeholder of SQLAlchemy's own: SQLite writes a LIMIT without OFFSET as `LIMIT ? OFFSET ?`."""
    return lambda _: value


def like_pattern(_: Kind, parts: Sequence[str]) -> str:
    """The pattern of SQL's LIKE, with a backslash before what is meant as it stands."""
    return "%".join(re.sub(r"([\\%_])", r"\\\1", part) for part in parts)


@lru_cache(1024)
def sql_table(info: TableInfo) -> TableClause:
    """The table as SQLAlchemy knows it; its columns carry no types, so that binds take none from them."""
    columns: list[ColumnClause[Any]] = [column(name) for name in info.by_name]
    return table(info.name, *columns)
