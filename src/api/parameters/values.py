"""Texts of a URL -> values of a column's kind, or of a JSON document."""

import re
from decimal import Decimal
from typing import Any

import msgspec

from src.api.http import shortened
from src.core import values
from src.core.errors import InvalidRequest, Problem
from src.core.tables import ColumnInfo, Kind

_match_integer = re.compile(r"-?(0|[1-9]\d{0,18})\Z", re.ASCII).match
match_number = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z", re.ASCII).match
_match_count = re.compile(r"\d{1,20}\Z", re.ASCII).match

TAKES_SCALAR = 'takes a number, a text, true, false or null; a text that looks like JSON stands in quotes: "3"'


def invalid(name: str, text: str, reason: str) -> InvalidRequest:
    """The error of a parameter whose value it does not take."""
    return InvalidRequest(
        f"{shortened(name)}={shortened(text)}: {reason}", (Problem("query", shortened(name), reason),)
    )


def parse_value(column: ColumnInfo, name: str, text: str) -> object:
    """Read a filter's value as its column's kind.

    Raises:
        InvalidRequest: the column takes no such value.
    """
    try:
        return PARSERS[column.kind](text)
    except ValueError as error:
        raise invalid(name, text, str(error)) from None


def parse_document_value(text: str) -> tuple[Kind, Any]:
    """Read a value of a JSON document: as JSON where the text is JSON, else as text.

    Raises:
        ValueError: an object, an array, or a number past doubles.
    """
    if text in ("true", "false"):
        return Kind.BOOLEAN, text == "true"
    if text == "null":
        return Kind.JSON, text
    if match_number(text):
        return Kind.DOUBLE, values.parse_double(float(text))
    if text[:1] in ('"', "{", "["):
        try:
            return kind_of_json(msgspec.json.decode(text))
        except (msgspec.DecodeError, RecursionError):
            pass
    return Kind.TEXT, values.check_text(text)


def kind_of_json(value: object) -> tuple[Kind, Any]:
    """The kind of a decoded JSON value, and the value as it is compared.

    Raises:
        ValueError: an object, an array, or a number past doubles.
    """
    match value:
        case None:
            return Kind.JSON, "null"
        case bool():
            return Kind.BOOLEAN, value
        case int() | float():
            try:
                return Kind.DOUBLE, values.parse_double(float(value))
            except OverflowError:
                raise ValueError("takes a number up to 1.7976931348623157e308") from None
        case str():
            return Kind.TEXT, values.check_text(value)
    raise ValueError(TAKES_SCALAR)


def parse_count(text: str) -> int:
    """Read a number of rows or pages; 0 when it is none."""
    return int(text) if _match_count(text) else 0


def parse_flag(name: str, text: str) -> bool:
    """Read `true` or `false`.

    Raises:
        InvalidRequest: it is neither.
    """
    try:
        return _parse_boolean(text)
    except ValueError as error:
        raise invalid(name, text, str(error)) from None


def _parse_integer(text: str) -> int:
    if not _match_integer(text):
        raise ValueError("takes an integer of 64 bits")
    return values.parse_integer(int(text))


def _parse_number(text: str) -> float:
    if not match_number(text):
        raise ValueError("takes a number")
    return values.parse_double(float(text))


def _parse_decimal(text: str) -> Any:
    if not match_number(text):
        raise ValueError("takes a number")
    return values.parse_numeric(Decimal(text))


def _parse_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("takes true or false")
    return text == "true"


def _parse_instant(text: str) -> Any:
    """Read a time; in a filter a bare date or a missing offset means UTC."""
    if len(text) == 10:
        text += "T00:00:00Z"
    elif not text.endswith(("Z", "z")):
        # An offset's plus sign that was not percent-encoded arrives as a space.
        text = re.sub(r" (?=\d\d:\d\d\Z)", "+", text)
        if not re.search(r"[+-]\d\d:\d\d\Z", text):
            text += "Z"
    return values.parse_timestamp(text)


def _refuse_document(_: str) -> object:
    raise ValueError("is a JSON document, which is not compared as a whole; name a value inside of it after a dot")


PARSERS: dict[Kind, Any] = {
    Kind.TEXT: values.check_text,
    Kind.UUID: values.parse_uuid,
    Kind.TIMESTAMP: _parse_instant,
    Kind.LOCAL_TIMESTAMP: values.parse_local_timestamp,
    Kind.DATE: values.parse_date,
    Kind.INTEGER: _parse_integer,
    Kind.DOUBLE: _parse_number,
    Kind.NUMERIC: _parse_decimal,
    Kind.BOOLEAN: _parse_boolean,
    Kind.JSON: _refuse_document,
}
