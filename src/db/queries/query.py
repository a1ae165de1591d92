"""What a request asks of a table, as plain data: made from a URL by `api/query.py`, read by the builder."""

from datetime import datetime
from typing import NamedTuple, Union

from src.core.tables import Kind, Relation, SortTerm, TableInfo


class Target(NamedTuple):
    """A column, or the value at a path inside a column that holds JSON documents."""

    column: str
    path: tuple[str, ...] = ()


class Filter(NamedTuple):
    """`target operator value`, the value already of its kind; for lists and patterns a tuple."""

    target: Target
    operator: str
    kind: Kind
    """What is compared: the column's kind; inside a document TEXT, DOUBLE or BOOLEAN, and JSON for its null."""
    value: object


class Junction(NamedTuple):
    """Conditions of which any must hold, or all; negated, the opposite."""

    is_any: bool
    is_negated: bool
    conditions: tuple["Condition", ...]


Condition = Union[Filter, Junction]  # noqa: UP007  a forward reference takes no |


class Field(NamedTuple):
    """One member of a row as it is asked for: its name as the client wrote it, and what stands there."""

    name: str
    target: Target


class Expansion(NamedTuple):
    """The related rows that stand inside a row."""

    relation: Relation
    selection: "Selection"
    sort: tuple[SortTerm, ...]
    size: int
    """The most rows of a list."""


class Selection(NamedTuple):
    """What a row has when it is answered: some of its members, or all of them where `fields` is empty."""

    fields: tuple[Field, ...] = ()
    expansions: tuple[Expansion, ...] = ()


EVERYTHING = Selection()


class Cursor(NamedTuple):
    """A place between two rows: the sort values of the row beside it, and which side is asked for."""

    values: tuple[object, ...]
    is_backward: bool


class Query(NamedTuple):
    """A page of the rows that pass every filter.

    `sort` is total: its last column is the key. `offset` counts skipped rows from 0.
    """

    filters: tuple[Condition, ...]
    sort: tuple[SortTerm, ...]
    size: int
    offset: int = 0
    cursor: Cursor | None = None
    selection: Selection = EVERYTHING


class Change(NamedTuple):
    """What tells of new rows of a table, before it is known how many they are."""

    changes: TableInfo
    """The table of changes."""
    change_id: str
    created_at: datetime


class Group(NamedTuple):
    """What the rows of one group have in common: a column's value, a value inside a document, a piece of time."""

    name: str
    """As the client wrote it: the member's name in the answer."""
    target: Target
    bucket: str = ""
    """`day` and the like for times; empty for the value itself."""


class Measure(NamedTuple):
    """A number, or an extreme, of each group."""

    name: str
    function: str
    target: Target | None
    """None for a count of rows."""


def names_of(groups: tuple[Group, ...], measures: tuple[Measure, ...]) -> list[str]:
    """The members of an aggregate's rows, in order."""
    return [*(group.name for group in groups), *(measure.name for measure in measures)]


class GroupOrder(NamedTuple):
    """One term of the order of groups: the position of a group or, after them, of a measure."""

    position: int
    is_descending: bool
    nulls_are_smallest: bool = False


class Aggregation(NamedTuple):
    """Measures over the rows that pass every filter, by groups. `sort` is total: every group stands in it."""

    filters: tuple[Condition, ...]
    groups: tuple[Group, ...]
    measures: tuple[Measure, ...]
    sort: tuple[GroupOrder, ...]
    time_zone: str
    size: int
    offset: int = 0
