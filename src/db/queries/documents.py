"""Values inside JSON documents, as SQL expressions that mean the same on both databases.

A value is seen in one way: as a number it is null wherever something else than a number stands, so that a
comparison with it is not true there. Paths are bound values.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum, auto
from itertools import product
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FromClause

from src.core.tables import Kind
from src.db.queries.expressions import Expression
from src.db.queries.query import Target
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

# A member of this form is the place in an array where an array stands, as PostgreSQL has it: the number as C's
# strtol takes it, counted from the end if negative.
_match_place = re.compile(r"[ \t\n\v\f\r]*([+-]?\d{1,9})\Z", re.ASCII).match
MAX_PLACES = 3

Places = tuple[bool, ...]
"""Per member of a path whether it may be the place in an array; empty where none may."""


def _double(text: str) -> str:
    """A number's text as a double; PostgreSQL refuses what rounds to 0, and one such row would refuse every query."""
    is_tiny = f"abs(CAST({text} AS numeric)) < 2.5e-324"
    careful = (
        f"CASE WHEN {text} ~ '[eE]-0*[1-9][0-9]{{3}}' OR {is_tiny} THEN 0 ELSE CAST({text} AS double precision) END"
    )
    return f"CASE WHEN {text} ~ '[eE]-|[.]0{{255}}' THEN {careful} ELSE CAST({text} AS double precision) END"


Render = Callable[[str, str], str]

# From the piece of JSON and its text.
ON_POSTGRESQL: dict[Seen, Render] = {
    Seen.PIECE: lambda piece, text: piece,
    Seen.SCALAR: lambda piece, text: text,
    Seen.TYPE: lambda piece, text: f"json_typeof({piece})",
    Seen.NUMBER: lambda piece, text: f"(CASE WHEN json_typeof({piece}) = 'number' THEN {_double(text)} END)",
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


class InDocument(Expression):
    """The value at a path inside a document; the path's placeholder carries `Form.PATH` or `Form.PATHS`."""

    def __init__(self, document: ColumnElement[Any], path: ColumnElement[Any], seen: Seen, places: Places) -> None:
        self.seen = seen
        self.places = places
        super().__init__(document, path)

    def postgresql(self, document: str, path: str) -> str:
        path = f"CAST({path} AS text[])"
        if self.places:
            piece = _walk_on_postgresql(document, path, self.places)
            return ON_POSTGRESQL[self.seen](piece, f"({piece} #>> '{{}}')")
        # The cast makes a jsonb column of a foreign table a json one.
        return ON_POSTGRESQL[self.seen](f"CAST({document} #> {path} AS json)", f"({document} #>> {path})")

    def sqlite(self, document: str, path: str) -> str:
        if self.places:
            path = f"(SELECT value FROM json_each({path}) WHERE json_type({document}, value) IS NOT NULL LIMIT 1)"  # noqa: S608  both parts are compiled by SQLAlchemy
        return ON_SQLITE[self.seen](document, path)


def _walk_on_postgresql(document: str, path: str, places: Places) -> str:
    """Walk member by member: after one negative place, `#>` counts from the wrong end of other arrays (18.6)."""
    piece = f"CAST({document} AS json)"
    for number, is_place in enumerate(places, 1):
        member = f"({path})[{number}]"
        step = f"{piece} -> {member}"
        if is_place:
            step = f"CASE json_typeof({piece}) WHEN 'array' THEN {piece} -> CAST({member} AS integer) ELSE {step} END"
        piece = f"({step})"
    return piece


class DocumentKey(Expression):
    """A piece of JSON as text that rows can be grouped by; null for JSON's null, and for a number."""

    def postgresql(self, piece: str, number: str) -> str:
        return f"(CASE WHEN {number} IS NULL THEN NULLIF(CAST({piece} AS text), 'null') END COLLATE \"C\")"

    def sqlite(self, piece: str, number: str) -> str:
        return f"(CASE WHEN {number} IS NULL THEN NULLIF({piece}, 'null') END)"


class WholeKey(Expression):
    """A piece of JSON and the number that stood in its place, as one piece of JSON again."""

    def postgresql(self, piece: str, number: str) -> str:
        return f"coalesce({piece}, CAST(to_json({number}) AS text))"

    def sqlite(self, piece: str, number: str) -> str:
        return f"coalesce({piece}, json_quote({number}))"


def places_of(path: tuple[str, ...]) -> Places:
    """Per member of a path whether it may be the place in an array; nothing where none may."""
    places = tuple(_match_place(member) is not None for member in path)
    return places if any(places) else ()


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


class TargetShape(NamedTuple):
    """A target without its path."""

    column: str
    is_inside: bool
    """Whether it is a value inside a document."""
    places: Places

    @classmethod
    def of(cls, target: Target) -> "TargetShape":
        """What decides the SQL of a target."""
        column, path = target
        return cls(column, bool(path), places_of(path))

    def build(self, source: FromClause, parameters: Parameters, *seen: Seen) -> list[ColumnElement[Any]]:
        """Build the column, or the value inside of it in each of the ways in which it is seen."""
        column: ColumnElement[Any] = source.c[self.column]
        if not self.is_inside:
            return [column]
        path = parameters.take(Kind.TEXT, Form.PATHS if self.places else Form.PATH)
        return [InDocument(column, path, each, self.places) for each in seen]
