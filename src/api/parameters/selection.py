"""What a row has when it is answered: `fields=user_id,event_data.screen`, `expand=sessions(limit:5).user`."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from src.api.http import shortened
from src.api.parameters.order import default_sort, parse_sort
from src.api.parameters.targets import need_target, unknown_name
from src.api.parameters.texts import Unbalanced, split_outside
from src.api.parameters.values import invalid, parse_count
from src.core.errors import InvalidRequest, Problem
from src.core.tables import Relation, TableInfo
from src.db.queries.query import Expansion, Field, Selection

MAX_EXPANSIONS = 10
MAX_LEVELS = 2
DEFAULT_RELATED, MAX_RELATED = 10, 100
# Rows of lists inside of lists, for each row of a page.
MAX_RELATED_TOGETHER = 1000
OPTIONS = ("limit", "sort", "fields")

_match_step = re.compile(r"([^()]+?)(?:\((.*)\))?\Z", re.DOTALL).match


@lru_cache(1024)
def parse_selection(table: TableInfo, fields: str | None, expand: str | None) -> Selection:
    """Read the two parameters.

    Raises:
        UnknownName: a column, a relation or an option that does not exist.
        InvalidRequest: not the grammar, or more than the limits allow.
    """
    chosen = () if fields is None else parse_fields(table, fields, "fields")
    return Selection(chosen, () if expand is None else parse_expansions(table, expand))


def parse_fields(table: TableInfo, text: str, parameter: str) -> tuple[Field, ...]:
    """Read names of columns and of values inside documents; one that stands there again changes nothing."""
    most = max(100, 2 * len(table.columns))
    if text.count(",") > most:
        raise invalid(parameter, text, f"{most} names are the most")
    names = dict.fromkeys(_split(parameter, text, ","))
    return tuple(Field(name, need_target(table, parameter, name)) for name in names)


def parse_expansions(table: TableInfo, text: str) -> tuple[Expansion, ...]:
    """Read relations, the ones inside of related rows after a dot, each with its options in parentheses."""
    if text.count(",") > 100:
        raise invalid("expand", text, "has too many parts")
    tree = _Branch()
    for path in _split("expand", text, ","):
        steps = _split("expand", path, ".")
        if len(steps) > MAX_LEVELS:
            raise invalid("expand", text, f"related rows are at most {MAX_LEVELS} levels deep")
        branch = tree
        for step in steps:
            branch = branch.grow(step, text)
    if tree.size() > MAX_EXPANSIONS:
        raise invalid("expand", text, f"{MAX_EXPANSIONS} related rows or lists are the most")
    return tuple(tree.expansions(table, text))


class _Branch:
    """Relations as they are written, by name: what several paths have in common stands there once."""

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        self.options = options or {}
        self.branches: dict[str, _Branch] = {}

    def grow(self, step: str, text: str) -> "_Branch":
        found = _match_step(step)
        if found is None:
            raise invalid("expand", text, "takes names such as user or recordings(limit:5)")
        name, options = found.group(1), found.group(2)
        branch = self.branches.setdefault(name, _Branch())
        if options is not None:
            branch.options = _parse_options(options, text)
        return branch

    def size(self) -> int:
        return sum(1 + branch.size() for branch in self.branches.values())

    def expansions(self, table: TableInfo, text: str, rows: int = 1) -> Iterator[Expansion]:
        relations = table.relations
        for name, branch in self.branches.items():
            if not relations:
                raise invalid("expand", text, f"{table.name} is related to no other table")
            if name not in relations:
                raise unknown_name("expand", name, list(relations), f"relation of {table.name}")
            yield branch.expansion(relations[name], text, rows)

    def expansion(self, relation: Relation, text: str, rows: int) -> Expansion:
        size = self._size(relation, text)
        if rows * size > MAX_RELATED_TOGETHER:
            reason = f"lists inside of lists have at most {MAX_RELATED_TOGETHER} rows together; give smaller limits"
            raise invalid("expand", text, reason)
        sort, fields = self.options.get("sort"), self.options.get("fields")
        return Expansion(
            relation=relation,
            selection=Selection(
                () if fields is None else parse_fields(relation.table, fields, "expand"),
                tuple(self.expansions(relation.table, text, rows * size)),
            ),
            sort=default_sort(relation.table) if sort is None else parse_sort(relation.table, sort, "expand"),
            size=size,
        )

    def _size(self, relation: Relation, text: str) -> int:
        if not relation.is_list:
            for option in ("limit", "sort"):
                if option in self.options:
                    raise invalid("expand", text, f"{relation.name} is one row, so {option} has no meaning")
            return 1
        limit = self.options.get("limit")
        size = DEFAULT_RELATED if limit is None else parse_count(limit)
        if not 1 <= size <= MAX_RELATED:
            raise invalid("expand", text, f"limit takes an integer from 1 to {MAX_RELATED}")
        return size


def _parse_options(text: str, whole: str) -> dict[str, str]:
    """Read `limit:5,sort:-ts,event_id`: what follows a comma without a colon belongs to the option before it."""
    options: dict[str, str] = {}
    name = ""
    for part in _split("expand", text, ","):
        head, colon, value = part.partition(":")
        if colon:
            name = head.strip()
            if name not in OPTIONS:
                raise unknown_name("expand", name, list(OPTIONS), "option")
            if name in options:
                raise invalid("expand", whole, f"{name} is given twice")
            options[name] = value
        elif name:
            options[name] += f",{part}"
        else:
            raise invalid("expand", whole, "an option is written as name:value, for example limit:5")
    return options


def _split(parameter: str, text: str, separator: str) -> list[str]:
    try:
        return split_outside(text, separator)
    except Unbalanced as error:
        reason = f"{error} in {shortened(text)}"
        raise InvalidRequest(f"{parameter}: {reason}", (Problem("query", parameter, reason),)) from None
