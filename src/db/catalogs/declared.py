"""Declared types: what `VARCHAR(20)` or `timestamp(3) with time zone` says about the values of a column.

The two databases mean different things by the same word, so each has its table. A type that is in neither has
no JSON form that would come back as it was, and its columns are left out of the models.
"""

import re
from typing import NamedTuple

from src.core.tables import Kind

SQLITE_UUID_LENGTH = 36
# SQLite keeps a number of a NUMERIC column as a double: https://sqlite.org/datatype3.html#type_affinity
SQLITE_NUMERIC_DIGITS = 15

_COMMON = {
    Kind.TEXT: "TEXT, VARCHAR, CHARACTER VARYING, CHAR, CHARACTER, CITEXT",
    Kind.UUID: "UUID",
    Kind.DATE: "DATE",
    Kind.INTEGER: "SMALLINT, INTEGER, BIGINT",
    Kind.DOUBLE: "REAL, DOUBLE PRECISION",
    Kind.NUMERIC: "NUMERIC",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.JSON: "JSON, JSONB",
    Kind.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    Kind.LOCAL_TIMESTAMP: "TIMESTAMP, TIMESTAMP WITHOUT TIME ZONE",
}
# SQLite takes any word; these are the ones of its own documentation and of schemas that came from elsewhere.
_SQLITE = {
    Kind.TEXT: "NVARCHAR, NCHAR, NATIVE CHARACTER, VARYING CHARACTER, CLOB, NTEXT, TINYTEXT, MEDIUMTEXT, LONGTEXT",
    Kind.INTEGER: "INT, TINYINT, MEDIUMINT, INT2, INT4, INT8, BIG INT, UNSIGNED BIG INT, INTEGER UNSIGNED",
    Kind.DOUBLE: "DOUBLE, FLOAT, FLOAT4, FLOAT8",
    Kind.NUMERIC: "DECIMAL, DEC, MONEY, SMALLMONEY",
    Kind.BOOLEAN: "BOOL, BIT",
    Kind.TIMESTAMP: "DATETIME, DATETIME2, SMALLDATETIME, TIMESTAMPTZ",
}


class DeclaredType(NamedTuple):
    """What a declared type says of a column's values."""

    kind: Kind | None
    """None when the values have no JSON form."""
    max_length: int | None = None
    """In characters."""
    is_padded: bool = False
    """Shorter text comes back with blanks behind it."""
    precision: int | None = None
    """How many digits a number may have, and how many of them behind the point."""
    scale: int | None = None


def read_sqlite_type(declared: str) -> DeclaredType:
    """Tell what a type means in SQLite, by the convention that CHAR(36) holds a UUID."""
    name, sizes = _split(declared)
    kind = _SQLITE_KINDS.get(name)
    if name == "CHAR" and sizes == [SQLITE_UUID_LENGTH]:
        return DeclaredType(Kind.UUID)
    if kind is Kind.NUMERIC:
        precision, scale = _digits(sizes)
        return DeclaredType(kind, precision=min(precision or SQLITE_NUMERIC_DIGITS, SQLITE_NUMERIC_DIGITS), scale=scale)
    return DeclaredType(kind, max_length=_length(kind, sizes))


def read_postgresql_type(declared: str) -> DeclaredType:
    """Tell what a type means in PostgreSQL, as its `format_type` writes it."""
    name, sizes = _split(declared)
    kind = _POSTGRESQL_KINDS.get(name)
    if kind is Kind.NUMERIC:
        precision, scale = _digits(sizes)
        return DeclaredType(kind, precision=precision, scale=scale)
    return DeclaredType(kind, max_length=_length(kind, sizes), is_padded=name == "CHARACTER")


def _split(declared: str) -> tuple[str, list[int]]:
    """Split `timestamp(3) with time zone` into its name, in capitals, and its sizes."""
    sizes = re.search(r"\(([^)]*)\)", declared)
    name = " ".join(re.sub(r"\([^)]*\)", " ", declared).upper().split())
    return name, [int(size) for size in re.findall(r"-?\d+", sizes.group(1))] if sizes else []


def _length(kind: Kind | None, sizes: list[int]) -> int | None:
    return sizes[0] if kind is Kind.TEXT and sizes and sizes[0] > 0 else None


def _digits(sizes: list[int]) -> tuple[int | None, int | None]:
    """Return precision and scale; unusual ones, which round before the point, are as good as none."""
    precision, scale = [*sizes, 0, 0][:2]
    return (precision, scale) if 0 <= scale <= precision and precision else (None, None)


def _by_name(*families: dict[Kind, str]) -> dict[str, Kind]:
    return {name: kind for family in families for kind, names in family.items() for name in names.split(", ")}


_POSTGRESQL_KINDS = _by_name(_COMMON)
_SQLITE_KINDS = _by_name(_COMMON, _SQLITE)
