"""Rows rendered to JSON text by the database: the one idea of this service (`docs/design.md`).

Both databases write the same text for a row, but for the digits of doubles, which are equal as numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import CTE, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import Delete, Insert, Update
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import NullType, Text

from src.core.tables import ColumnInfo, Kind, TableInfo
from src.db.queries.expressions import Expression
from src.db.queries.statement import Dialect, sql_table

# In PostgreSQL a column of this name would be taken for the row, so the name is one that no column has.
SOURCE = "_rows_"
NOTED = "_noted_"


class RowJson(FunctionElement[str]):
    """The JSON text of the row that `source` (an alias in FROM, or the table itself) stands at."""

    inherit_cache = False  # a statement is compiled once per shape, and the shape is cached
    type = Text()

    def __init__(self, source: str, columns: Iterable[ColumnInfo]) -> None:
        self.source = source
        self.members = tuple(columns)
        super().__init__()


@compiles(RowJson, "postgresql")
def _render_on_postgresql(element: RowJson, compiler: SQLCompiler, **_: Any) -> str:
    return f"row_to_json({compiler.preparer.quote(element.source)})::text"


@compiles(RowJson, "sqlite")
def _render_on_sqlite(element: RowJson, compiler: SQLCompiler, **_: Any) -> str:
    quote = compiler.preparer.quote
    source = quote(element.source)
    members = (
        f"{_literal(column.name)}, {_member_on_sqlite(f'{source}.{quote(column.name)}', column.kind)}"
        for column in element.members
    )
    return f"json_object({', '.join(members)})"


class Member(NamedTuple):
    """One member of a row that is composed: a name of the models, or a placeholder for one that a client wrote."""

    name: str | ColumnElement[Any]
    value: ColumnElement[Any]
    kind: Kind


class ComposedRow(FunctionElement[str]):
    """The JSON text of an object with these members."""

    inherit_cache = False
    type = Text()

    def __init__(self, members: Iterable[Member]) -> None:
        self.members = tuple(members)
        super().__init__(*self._clauses())

    def _clauses(self) -> Iterator[ColumnElement[Any]]:
        for member in self.members:
            if not isinstance(member.name, str):
                yield member.name
            yield member.value


@compiles(ComposedRow, "postgresql")
def _compose_on_postgresql(element: ComposedRow, compiler: SQLCompiler, **kw: Any) -> str:
    # json_build_object takes 50 members and writes spaces; row_to_json takes no names but the columns'.
    members = (_member_on_postgresql(member, compiler, **kw) for member in element.members)
    inside = " || ',' || ".join(members)
    return f"('{{' || {inside} || '}}')"


def _member_on_postgresql(member: Member, compiler: SQLCompiler, **kw: Any) -> str:
    if isinstance(member.name, str):
        name = _literal(member_prefix(member.name))
    else:
        name = f"CAST({compiler.process(member.name, **kw)} AS text)"
    value = compiler.process(member.value, **kw)
    rendered = f"CAST({value} AS text)" if member.kind is Kind.JSON else f"to_json({value})::text"
    return f"{name} || coalesce({rendered}, 'null')"


@compiles(ComposedRow, "sqlite")
def _compose_on_sqlite(element: ComposedRow, compiler: SQLCompiler, **kw: Any) -> str:
    members = (
        f"{_literal(member.name) if isinstance(member.name, str) else compiler.process(member.name, **kw)}, "
        f"{_member_on_sqlite(compiler.process(member.value, **kw), member.kind)}"
        for member in element.members
    )
    return f"json_object({', '.join(members)})"


class ListJson(Expression):
    """The JSON text of an array of the JSON texts in a column, in the order in which they come."""

    def postgresql(self, row: str) -> str:
        return f"('[' || coalesce(string_agg({row}, ','), '') || ']')"

    def sqlite(self, row: str) -> str:
        return f"('[' || coalesce(group_concat({row}, ','), '') || ']')"


class RowOfTable(Expression):
    """The JSON text of an object with a table's name and the JSON text of one of its rows."""

    def __init__(self, table: str, row: ColumnElement[str]) -> None:
        self.beginning = _literal(f'{{"table":{msgspec.json.encode(table).decode()},"row":')
        super().__init__(row)

    def postgresql(self, row: str) -> str:
        return f"({self.beginning} || {row} || '}}')"

    def sqlite(self, row: str) -> str:
        return self.postgresql(row)


class Outer(FunctionElement[Any]):
    """A column of the row that a statement around this one stands at."""

    inherit_cache = False
    type = NullType()

    def __init__(self, source: str, column: str) -> None:
        self.source = source
        self.column = column
        super().__init__()


@compiles(Outer)
def _outer(element: Outer, compiler: SQLCompiler, **_: Any) -> str:
    quote = compiler.preparer.quote
    return f"{quote(element.source)}.{quote(element.column)}"


def _member_on_sqlite(value: str, kind: Kind) -> str:
    # A value loses its JSON subtype in a sub-select, so json() stands right here.
    if kind is Kind.JSON:
        return f"json({value})"
    # SQLite has no booleans; iif() would turn NULL into false.
    if kind is Kind.BOOLEAN:
        return f"json(CASE {value} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    return value


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def member_prefix(name: str) -> str:
    """A member's name and the colon, as they stand in an object's text."""
    return f"{msgspec.json.encode(name).decode()}:"


def render_written(
    dialect: Dialect, write: Insert | Update | Delete, table: TableInfo, note: Callable[[CTE], Insert] | None = None
) -> Any:
    """Run a write and select the JSON text of each row that it wrote; `note` makes one more insert of these rows.

    PostgreSQL renders outside of RETURNING: a distributed one refuses anything but immutable functions there.
    """
    if dialect.name == "sqlite":
        return write.returning(literal_column(_returned_on_sqlite(dialect, table)))
    columns = [sql_table(table).c[column.name] for column in table.columns]
    written = write.returning(*columns).cte(SOURCE)
    rows = select(RowJson(SOURCE, table.columns)).select_from(written)
    return rows.add_cte(note(written).cte(NOTED)) if note else rows


def _returned_on_sqlite(dialect: Dialect, table: TableInfo) -> str:
    compiler: Any = RowJson(table.name, table.columns).compile(dialect=dialect.sql)
    # literal_column() reads %-signs and colons as they are; only its own escapes need doubling.
    return str(compiler)
