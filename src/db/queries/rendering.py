"""Rows rendered to JSON text by the database: the one idea of this service (`docs/design.md`).

Both databases write the same text for a row, but for the digits of doubles, which are equal as numbers.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import Delete, Insert, Subquery, Update
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import Text

from src.core.tables import ColumnInfo, Kind, TableInfo
from src.db.queries.statement import Dialect, sql_table

# In PostgreSQL a column of this name would be taken for the row, so the name is one that no column has.
SOURCE = "_rows_"


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
    members = ", ".join(
        f"{_literal(c.name)}, {_member_on_sqlite(element.source, c, compiler)}" for c in element.members
    )
    return f"json_object({members})"


def _member_on_sqlite(source: str, column: ColumnInfo, compiler: SQLCompiler) -> str:
    quote = compiler.preparer.quote
    name = f"{quote(source)}.{quote(column.name)}"
    # A value loses its JSON subtype in a sub-select, so json() stands right here.
    if column.kind is Kind.JSON:
        return f"json({name})"
    # SQLite has no booleans; iif() would turn NULL into false.
    if column.kind is Kind.BOOLEAN:
        return f"json(CASE {name} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    return name


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def render_rows(rows: Select[Any], table: TableInfo) -> Select[Any]:
    """Select the JSON text of each of `rows`, in their order.

    Rendering happens outside of the sub-select, so rows that an offset skips are not rendered.
    """
    page: Subquery = rows.subquery(SOURCE)
    return select(RowJson(SOURCE, table.columns)).select_from(page)


def render_written(dialect: Dialect, write: Insert | Update | Delete, table: TableInfo) -> Any:
    """Run a write and select the JSON text of each row that it wrote.

    PostgreSQL renders outside of RETURNING: a distributed one refuses anything but immutable functions there.
    """
    if dialect.name == "sqlite":
        return write.returning(literal_column(_returned_on_sqlite(dialect, table)))
    columns = [sql_table(table).c[column.name] for column in table.columns]
    written = write.returning(*columns).cte(SOURCE)
    return select(RowJson(SOURCE, table.columns)).select_from(written)


def _returned_on_sqlite(dialect: Dialect, table: TableInfo) -> str:
    compiler: Any = RowJson(table.name, table.columns).compile(dialect=dialect.sql)
    # literal_column() reads %-signs and colons as they are; only its own escapes need doubling.
    return str(compiler)
