"""Values inside JSON documents, as SQL expressions that mean the same on both databases.

A value is seen in one way: as a number it is null wherever something else than a number stands, so that a
comparison with it is not true there. Paths are bound values.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum, auto
from itertools import product
from typing import Any

import msgspec
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import NullType

from src.core.tables import Kind
from src.db.queries.statement import Form, Parameters


class Seen(Enum):
    """How a value inside a document is looked at."""

    PIECE = auto()
    """The piece of JSON as it stands there."""
    SCALAR = auto()
    """Any value as text, null for JSON's null."""
    TYPE = auto()
    """The name of its JSON type, null where there is no value."""
    NUMBER = auto()
    TEXT = auto()
    BOOLEAN = auto()


SEEN_AS = {Kind.DOUBLE: Seen.NUMBER, Kind.TEXT: Seen.TEXT, Kind.BOOLEAN: Seen.BOOLEAN, Kind.JSON: Seen.TYPE}

# PostgreSQL reads a member of this form as the place in an array, where an array stands: the number as C's strtol
# takes it, counted from the end if negative.
_match_place = re.compile(r"[ \t\n\v\f\r]*([+-]?\d{1,9})\Z", re.ASCII).match
MAX_PLACES = 4

# PostgreSQL refuses to read these as doubles, and one row that holds one would refuse everybody's query.
TINY = r"[eE]-0*(3[1-9][0-9]|[4-9][0-9]{2}|[0-9]{4,})$"

Render = Callable[[str, str], str]

# From the piece of JSON and its text.
ON_POSTGRESQL: dict[Seen, Render] = {
    Seen.PIECE: lambda piece, text: piece,
    Seen.SCALAR: lambda piece, text: text,
    Seen.TYPE: lambda piece, text: f"json_typeof({piece})",
    Seen.NUMBER: lambda piece, text: (
        f"(CASE WHEN json_typeof({piece}) = 'number' THEN "
        f"CASE WHEN {text} ~ '{TINY}' THEN 0 ELSE CAST({text} AS double precision) END END)"
    ),
    Seen.TEXT: lambda piece, text: f"(CASE WHEN json_typeof({piece}) = 'string' THEN {text} END COLLATE \"C\")",
    Seen.BOOLEAN: lambda piece, text: f"(CASE WHEN json_typeof({piece}) = 'boolean' THEN CAST({text} AS boolean) END)",
}
# From the document and the path.
ON_SQLITE: dict[Seen, Render] = {
    Seen.PIECE: lambda document, path: f"({document} -> {path})",
    Seen.SCALAR: lambda document, path: f"({document} ->> {path})",
    Seen.TYPE: lambda document, path: f"json_type({document}, {path})",
    Seen.NUMBER: lambda document, path: (
        f"(CASE WHEN json_type({document}, {path}) IN ('integer', 'real') THEN CAST({document} ->> {path} AS REAL) END)"
    ),
    Seen.TEXT: lambda document, path: (
        f"(CASE WHEN json_type({document}, {path}) = 'text' THEN {document} ->> {path} END)"
    ),
    Seen.BOOLEAN: lambda document, path: (
        f"(CASE json_type({document}, {path}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)"
    ),
}


class InDocument(FunctionElement[Any]):
    """The value at a path inside a document; the path's placeholder carries `Form.PATH` or `Form.PATHS`."""

    inherit_cache = False
    type = NullType()

    def __init__(self, document: ColumnElement[Any], path: ColumnElement[Any], seen: Seen, *, has_places: bool) -> None:
        self.seen = seen
        self.has_places = has_places
        super().__init__(document, path)


@compiles(InDocument, "postgresql")
def _on_postgresql(element: InDocument, compiler: SQLCompiler, **kw: Any) -> str:
    document, path = (compiler.process(part, **kw) for part in element.clauses)
    # The cast makes a jsonb column of a foreign table a json one.
    piece = f"CAST({document} #> CAST({path} AS text[]) AS json)"
    return ON_POSTGRESQL[element.seen](piece, f"({document} #>> CAST({path} AS text[]))")


@compiles(InDocument, "sqlite")
def _on_sqlite(element: InDocument, compiler: SQLCompiler, **kw: Any) -> str:
    document, path = (compiler.process(part, **kw) for part in element.clauses)
    if element.has_places:
        path = f"(SELECT value FROM json_each({path}) WHERE json_type({document}, value) IS NOT NULL LIMIT 1)"  # noqa: S608  both parts are compiled by SQLAlchemy
    return ON_SQLITE[element.seen](document, path)


def has_places(path: tuple[str, ...]) -> bool:
    """Whether a member of the path may be the place in an array."""
    return any(map(_match_place, path))


def take_path(parameters: Parameters, *, has_places: bool) -> BindParameter[Any]:
    """Take the placeholder of a path."""
    return parameters.take(Kind.TEXT, Form.PATHS if has_places else Form.PATH)


def sqlite_path(path: tuple[str, ...]) -> str:
    """A path as SQLite takes it, such as `$."step"."count"`."""
    return "$" + "".join(_member(member) for member in path)


def sqlite_paths(path: tuple[str, ...]) -> str:
    """Every path that is meant, as a JSON array: a number may be an array's place or an object's member."""
    alternatives = product(*(_alternatives(member) for member in path))
    return msgspec.json.encode(["$" + "".join(steps) for steps in alternatives]).decode()


def _member(member: str) -> str:
    return f".{msgspec.json.encode(member).decode()}"


def _alternatives(member: str) -> Iterator[str]:
    yield _member(member)
    if found := _match_place(member):
        place = int(found.group(1))
        yield f"[{place}]" if place >= 0 else f"[#{place}]"
