"""The types that generated models are made of: a Pydantic type and the kind of column behind it.

A model of a table reads `user_id: Key`, `ts: Timestamp | None`; the kind in the annotation is how the
layers below learn what the column holds (`kind_of`), and the schema is what API users read.
"""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from src.core import values
from src.core.tables import Kind

# Constraints rather than functions, where there is one: Pydantic checks them without calling Python.
Text = Annotated[str, Kind.TEXT, StringConstraints(pattern=values.NO_NUL)]
"""Text without NUL."""

Key = Annotated[
    str,
    Kind.TEXT,
    StringConstraints(min_length=1),
    AfterValidator(values.check_key),
    Field(json_schema_extra={"pattern": values.KEY}),
]
"""Text that a client chooses as a row's address."""

Uuid = Annotated[
    str,
    Kind.UUID,
    StringConstraints(pattern=values.UUID_TEXT, to_lower=True),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": values.UUID_TEXT}),
]
Timestamp = Annotated[
    datetime,
    Kind.TIMESTAMP,
    BeforeValidator(values.parse_timestamp),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": values.TIMESTAMP}),
]
LocalTimestamp = Annotated[
    datetime,
    Kind.LOCAL_TIMESTAMP,
    BeforeValidator(values.parse_local_timestamp),
    WithJsonSchema({"type": "string", "pattern": values.LOCAL_TIMESTAMP}),
]
Date = Annotated[
    date,
    Kind.DATE,
    BeforeValidator(values.parse_date),
    WithJsonSchema({"type": "string", "format": "date", "pattern": values.DATE}),
]
Integer = Annotated[
    int,
    Kind.INTEGER,
    Field(strict=True, ge=values.MIN_INTEGER, le=values.MAX_INTEGER),
    WithJsonSchema(
        {"type": "integer", "format": "int64", "minimum": values.MIN_INTEGER, "maximum": values.MAX_INTEGER}
    ),
]
Double = Annotated[
    float,
    Kind.DOUBLE,
    BeforeValidator(values.parse_double),
    WithJsonSchema({"type": "number", "format": "double"}),
]
Numeric = Annotated[Decimal, Kind.NUMERIC, BeforeValidator(values.parse_numeric), WithJsonSchema({"type": "number"})]
Boolean = Annotated[bool, Kind.BOOLEAN]
JsonObject = Annotated[dict[str, Any], Kind.JSON]
"""A JSON document of any shape. Its text is stored as it was accepted, without the white space."""


class Document(BaseModel):
    """A JSON document with some known members; it keeps all others as they come."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())


class ReadModel(BaseModel):
    """What the API returns of a row: its fields are the select list, in this order."""

    model_config = ConfigDict(protected_namespaces=(), populate_by_name=True)


class WriteModel(BaseModel):
    """What a client may send: nothing else than these members, and no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), populate_by_name=False)


def kind_of(annotation: Any) -> Kind:
    """Tell the kind of column behind a field's annotation, `| None` or not.

    Raises:
        TypeError: the annotation is not made of the types of this module.
    """
    for part in _parts(annotation):
        if isinstance(part, Kind):
            return part
        if isinstance(part, type) and issubclass(part, Document):
            return Kind.JSON
    raise TypeError(f"{annotation!r} is not made of the types of src/core/types.py")


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)
