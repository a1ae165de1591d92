"""A table as a database has it now, as plain data."""

from dataclasses import dataclass
from typing import NamedTuple

from src.core.tables import ForeignKey
from src.db.catalogs.declared import DeclaredType


class LiveColumn(NamedTuple):
    """One column, as the database declares it."""

    name: str
    declared: str
    """The type in the database's own words."""
    type: DeclaredType
    is_nullable: bool
    default: str | None
    """The default as the database prints it: a literal or an expression."""
    is_computed: bool = False
    """Computed from other columns, or numbered without a say of the client."""
    is_numbered: bool = False
    """Numbered by the database when it is left out."""


@dataclass(frozen=True)
class LiveTable:
    """One table of a database; columns in the database's order."""

    name: str
    columns: tuple[LiveColumn, ...]
    key: tuple[str, ...]
    """The columns of the primary key, in its order; empty when there is none."""
    foreign_keys: tuple[ForeignKey, ...]
    """The foreign keys of one column, in the order of the columns."""
    is_loosely_typed: bool
    """SQLite: declared types are a hint, and a few kinds share one declaration."""
