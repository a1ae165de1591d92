"""SQL that SQLAlchemy has no word for: one text for each database, made of the texts of its parts."""

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import NullType


class Expression(FunctionElement[Any]):
    """An expression of its arguments, written by a method for each database, `postgresql` and `sqlite`.

    They take the SQL of each argument and return that of the whole, so no value stands in what they write.
    """

    inherit_cache = False  # a statement is compiled once per shape, and the shape is cached
    # With a type of its own, SQLite would append ` = 1` to what is boolean.
    type = NullType()


@compiles(Expression)
def _compile(element: Expression, compiler: SQLCompiler, **kw: Any) -> str:
    parts = (compiler.process(part, **kw) for part in element.clauses)
    text: str = getattr(element, compiler.dialect.name)(*parts)
    return text
