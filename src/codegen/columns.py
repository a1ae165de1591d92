"""A column as the models have it: what the database says of it, and what schema.py adds."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Table

from src.codegen.literals import Literal, NoLiteral, read_default
from src.codegen.naming import field_names
from src.core.tables import Kind
from src.db.catalogs.live import LiveColumn, LiveTable

TYPES = {
    Kind.TEXT: "Text",
    Kind.UUID: "Uuid",
    Kind.TIMESTAMP: "Timestamp",
    Kind.LOCAL_TIMESTAMP: "LocalTimestamp",
    Kind.DATE: "Date",
    Kind.INTEGER: "Integer",
    Kind.DOUBLE: "Double",
    Kind.NUMERIC: "Numeric",
    Kind.BOOLEAN: "Boolean",
    Kind.JSON: "JsonObject",
}
KEY_KINDS = {Kind.TEXT, Kind.UUID, Kind.INTEGER}
SERVER_COLUMNS = {"created_at", "updated_at"}
INSTANTS = {Kind.TIMESTAMP, Kind.LOCAL_TIMESTAMP}


class TableRefused(Exception):
    """The table cannot be served; the text says why, and what to do."""


class DocumentShape(NamedTuple):
    """The known members of a JSON column, from schema.py."""

    name: str
    doc: str
    members: dict[str, tuple[Any, ...]]
    """Per member its kind, an example, and possibly a description."""


@dataclass(frozen=True)
class Column:
    """One column that is served."""

    live: LiveColumn
    field: str
    kind: Kind
    is_key: bool
    default: Literal | None
    is_filled_by_database: bool
    """The database fills it when it is left out, and a model cannot say with what."""
    doc: str
    example: Any
    document: DocumentShape | None

    @property
    def name(self) -> str:
        """The name in the database and in JSON."""
        return self.live.name

    @property
    def is_server_column(self) -> bool:
        """Whether the server sets it on every row."""
        return self.name in SERVER_COLUMNS and self.kind in INSTANTS and not self.is_key

    @property
    def is_written(self) -> bool:
        """Whether a client may send it."""
        return not self.is_server_column and not self.live.is_computed

    @property
    def type_name(self) -> str:
        """The type in core/types.py, or the class of the document."""
        if self.document:
            return self.document.name
        return "Key" if self.is_key and self.kind is Kind.TEXT else TYPES[self.kind]


def served_columns(live: LiveTable, declared: Table | None) -> list[Column]:
    """Choose the columns that the models have, in the database's order.

    Raises:
        TableRefused: a row could not be addressed, or not be written.
    """
    _refuse_unservable(live)
    fields = field_names([column.name for column in live.columns])
    return [
        _column(column, column.type.kind, fields[column.name], live, declared)
        for column in live.columns
        if column.type.kind is not None
    ]


def left_out_columns(live: LiveTable) -> list[LiveColumn]:
    """List the columns whose type is not one that can be read and written as JSON."""
    return [column for column in live.columns if column.type.kind is None]


def not_served(column: LiveColumn) -> str:
    """Say why a column is left out."""
    return f"its type, {column.declared or 'none'}, is not one that can be read and written as JSON"


def _refuse_unservable(live: LiveTable) -> None:
    if not live.key:
        raise TableRefused("it has no primary key, so no address would name one row; give it one")
    if len(live.key) > 1:
        raise TableRefused(f"its key has several columns ({', '.join(live.key)}); give it a key of one column")
    for column in live.columns:
        if column.name == live.key[0] and column.type.kind not in KEY_KINDS:
            raise TableRefused(
                f"its key {column.name} is of type {column.declared}; only text, uuid and integers are keys"
            )
        is_needed = not (column.is_nullable or column.default is not None or column.is_computed)
        if column.type.kind is None and is_needed:
            raise TableRefused(
                f"its column {column.name} must not be null, and {not_served(column)}; give it a default or allow null"
            )


def _column(column: LiveColumn, kind: Kind, field: str, live: LiveTable, declared: Table | None) -> Column:
    is_key = column.name == live.key[0]
    default, is_expression = _default(column, kind)
    info, doc = _notes(column.name, declared)
    return Column(
        column,
        field,
        kind,
        is_key,
        default=None if is_key else default,
        is_filled_by_database=is_expression or (is_key and column.is_numbered),
        doc=doc or _reference(column.name, live),
        example=info.get("example"),
        document=DocumentShape(info["document"], doc, info["members"]) if "document" in info else None,
    )


def _default(column: LiveColumn, kind: Kind) -> tuple[Literal | None, bool]:
    """Return the default, and whether it is one that only the database can compute."""
    try:
        return read_default(column.default, kind), False
    except NoLiteral:
        return None, True


def _notes(column: str, declared: Table | None) -> tuple[dict[str, Any], str]:
    if declared is None or column not in declared.c:
        return {}, ""
    return declared.c[column].info, declared.c[column].doc or ""


def _reference(column: str, live: LiveTable) -> str:
    return " ".join(
        f"Refers to `{key.referred_table}.{key.referred_column}`." for key in live.foreign_keys if key.column == column
    )
