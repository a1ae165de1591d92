"""Whether a row that is stored is the one that a device sends again."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from src.core.tables import Kind, TableInfo

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def is_same_row(table: TableInfo, row: str, values: Mapping[str, object], left_out: Collection[str]) -> bool:
    """Whether a row as JSON text has these values, but for columns that are left out."""
    stored = _decode(row)
    return all(
        _is_same(table.by_name[name].kind, stored.get(name), value)
        for name, value in values.items()
        if name not in left_out
    )


def is_same_values(
    table: TableInfo, ones: Mapping[str, object], others: Mapping[str, object], left_out: Collection[str]
) -> bool:
    """Whether two rows of values are equal, but for columns that are left out."""
    return ones.keys() == others.keys() and all(
        value == others[name]
        or (
            table.by_name[name].kind is Kind.JSON
            and value is not None
            and others[name] is not None
            and is_same_json(msgspec.json.decode(str(value)), msgspec.json.decode(str(others[name])))
        )
        for name, value in ones.items()
        if name not in left_out
    )


def _is_same(kind: Kind, stored: Any, value: Any) -> bool:
    if stored is None or value is None:
        return stored is value
    if kind is Kind.JSON:
        return is_same_json(stored, msgspec.json.decode(value))
    if kind is Kind.TIMESTAMP:
        return bool(datetime.fromisoformat(stored) == value.astimezone(UTC))
    if kind in (Kind.LOCAL_TIMESTAMP, Kind.DATE):
        return bool(stored == value.isoformat())
    return bool(stored == value)


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two values of JSON are equal: numbers as numbers, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same_json(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    return bool(one == other)
