"""What a table is, as plain data: what the layers tell each other about tables.

Nothing here knows SQL, HTTP or Pydantic. A `TableInfo` is made once per table from its generated
models (`api/dependencies.py`) and is compared by identity, so it can be part of a cache key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple


class Kind(StrEnum):
    """What a column holds. Each kind has one JSON form, the same on every database."""

    TEXT = "text"
    UUID = "uuid"
    TIMESTAMP = "timestamp"
    """An instant, with time zone, to the microsecond."""
    LOCAL_TIMESTAMP = "local timestamp"
    """A date and a time without time zone; only in tables that this project does not ship."""
    DATE = "date"
    INTEGER = "integer"
    DOUBLE = "double"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    JSON = "json"


class ColumnInfo(NamedTuple):
    """One column of a table's read model."""

    name: str
    kind: Kind
    is_nullable: bool


class ForeignKey(NamedTuple):
    """`column` holds the value of `referred_column` of a row in `referred_table`."""

    column: str
    referred_table: str
    referred_column: str


class SortTerm(NamedTuple):
    """One column of an order."""

    column: str
    is_descending: bool
    nulls_are_smallest: bool = False
    """Nulls count as the largest value, unless the order says otherwise."""


@dataclass(frozen=True, eq=False)
class TableInfo:
    """One table: the columns of its read model, in that order, and what a model cannot say."""

    name: str
    key: str
    """The column that addresses a row: the primary key."""
    columns: tuple[ColumnInfo, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    server_columns: tuple[str, ...] = ()
    """Columns that the server sets and clients cannot."""
    database_defaults: tuple[str, ...] = ()
    """Columns that the database fills when an insert leaves them out (a sequence, an expression)."""
    default_sort: tuple[SortTerm, ...] = ()
    """The order of a list without `sort`; empty means by key."""
    owner: str = ""
    """The column with the user id of the person whom a row belongs to; empty where rows belong to nobody."""
    relations: "dict[str, Relation]" = field(default_factory=dict)
    """What can be expanded in its rows, by name: foreign keys from it and to it."""

    @cached_property
    def by_name(self) -> Mapping[str, ColumnInfo]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}

    @cached_property
    def documents(self) -> frozenset[str]:
        """The columns that hold JSON documents."""
        return frozenset(column.name for column in self.columns if column.kind is Kind.JSON)

    @cached_property
    def key_kind(self) -> Kind:
        """What the key column holds."""
        return self.by_name[self.key].kind


class Relation(NamedTuple):
    """The rows of another table that a row belongs to, or that belong to it, by a foreign key."""

    name: str
    """What clients call it."""
    table: TableInfo
    """The other table."""
    column: str
    """The column on this side that is compared..."""
    other_column: str
    """...with this one of the other table."""
    is_list: bool
    """Whether many rows of the other table may belong to one of this."""


class Delivery(NamedTuple):
    """What devices say of the rows that they deliver, by the names of the columns that hold it."""

    device: str
    seq: str
    sent_at: str
    session: str
    happened_at: str
    utc_offset: str


class Reach(NamedTuple):
    """What a statement may touch: a table with the columns that its caller sees, and whose rows of it.

    Statements are built for a reach and for nothing else, so none can forget whose rows it may touch.
    """

    table: TableInfo
    person: str | None
    """The user id of the person whose rows they are; None for the rows of everybody."""

    @classmethod
    def whole(cls, table: TableInfo) -> "Reach":
        """All rows and columns, for what the service does on its own behalf."""
        return cls(table, None)

    @property
    def is_owned(self) -> bool:
        """Whether only the rows of one person can be reached."""
        return self.person is not None and bool(self.table.owner)
