"""Names of columns, and of values inside JSON documents: `event_data.step.count`, `event_data."a name with a dot."`."""

from functools import lru_cache
from itertools import accumulate

from src.api.hints import nearest
from src.api.http import shortened
from src.api.parameters.texts import QUOTED, Unbalanced, split_outside, unquote
from src.core.errors import InvalidRequest, Problem, UnknownName
from src.core.tables import Kind, TableInfo
from src.db.queries.documents import MAX_PLACES, places_of
from src.db.queries.query import Target

MAX_PATH_LENGTH = 16


class NoTarget(ValueError):
    """A name that means nothing in a table; the text says what would have been right."""


@lru_cache(4096)
def find_target(table: TableInfo, name: str) -> Target | None:
    """What a name means: a column, or a value inside a document; None when it begins with no column.

    Raises:
        NoTarget: it begins with a column, and what follows cannot be right.
    """
    if name in table.by_name:
        return Target(name)
    column = max((c for c in _beginnings(name) if c in table.by_name), key=len, default="")
    if not column:
        return None
    if table.by_name[column].kind is not Kind.JSON:
        raise NoTarget(f"{column} is no JSON document, so nothing is inside of it")
    return Target(column, _parse_path(name[len(column) + 1 :]))


def need_target(table: TableInfo, parameter: str, name: str) -> Target:
    """What a name in the value of a parameter means.

    Raises:
        UnknownName: nothing.
        InvalidRequest: nothing that can be right.
    """
    try:
        target = find_target(table, name)
    except NoTarget as error:
        raise InvalidRequest(
            f"{parameter}: {shortened(name)}: {error}", (Problem("query", parameter, str(error)),)
        ) from None
    if target is None:
        raise unknown_name(parameter, name, list(table.by_name))
    return target


def unknown_name(parameter: str, name: str, known: list[str], what: str = "column") -> UnknownName:
    """The error of a name that stands in the value of a parameter and means nothing there."""
    text = f"{shortened(name) or 'nothing'} is no {what}{nearest(name, known)}"
    return UnknownName(f"{parameter}: {text}", (Problem("query", parameter, text),))


def _beginnings(name: str) -> list[str]:
    """What stands before each dot of a name."""
    return list(accumulate(name.split(".")[:-1], "{}.{}".format))


def _parse_path(text: str) -> tuple[str, ...]:
    if len(text) > 2000:
        raise NoTarget("a path has at most 2000 characters")
    try:
        members = tuple(_parse_member(part) for part in split_outside(text, "."))
    except Unbalanced as error:
        raise NoTarget(str(error)) from None
    if len(members) > MAX_PATH_LENGTH:
        raise NoTarget(f"a path leads at most {MAX_PATH_LENGTH} levels down")
    if sum(places_of(members)) > MAX_PLACES:
        raise NoTarget(f"a path has at most {MAX_PLACES} numbers")
    return members


def _parse_member(text: str) -> str:
    quoted = QUOTED.fullmatch(text)
    if quoted:
        return unquote(quoted.group(1))
    if not text:
        raise NoTarget('a member of a path is missing; an empty one is written ""')
    if '"' in text:
        raise NoTarget("a member of a path is quoted as a whole or not at all")
    if "\x00" in text:
        raise NoTarget("text has no NUL character")
    return text
