"""Column defaults: the literals among them, read from what either database prints."""

import re
from decimal import Decimal

from src.core.tables import Kind
from src.core.values import MAX_INTEGER, MIN_INTEGER

Literal = str | int | float | bool | Decimal

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
STRING = re.compile(r"'((?:[^']|'')*)'", re.DOTALL)
# SQLite takes a string in double quotes where no column of that name exists.
QUOTED_NAME = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)
CAST = re.compile(r"::[\w \"]+(\(\d+(,\s*\d+)?\))?$")
TRUE, FALSE = ("true", "t", "1", "yes", "on"), ("false", "f", "0", "no", "off")


class NoLiteral(ValueError):
    """The default is an expression, which only the database can compute."""


def read_default(text: str | None, kind: Kind) -> Literal | None:
    """Read a default as the Python value that a model has there; None when there is none, or it is null.

    Raises:
        NoLiteral: it is no literal, or one of a kind whose text the databases write in different ways.
    """
    if text is None:
        return None
    value, is_string = _unquote(_strip(text))
    if value.upper() == "NULL" and not is_string:
        return None
    if kind is Kind.TEXT:
        return _text(value, is_string=is_string)
    if kind is Kind.BOOLEAN and value.lower() in TRUE + FALSE:
        return value.lower() in TRUE
    if kind in {Kind.INTEGER, Kind.DOUBLE, Kind.NUMERIC} and NUMBER.fullmatch(value):
        return _number(Decimal(value), kind)
    raise NoLiteral(text)


def _strip(text: str) -> str:
    """Take off casts and parentheses: `('-1'::integer)` is `'-1'`."""
    stripped = text.strip()
    while True:
        inner = CAST.sub("", stripped).strip()
        if inner.startswith("(") and inner.endswith(")") and _is_one_group(inner):
            inner = inner[1:-1].strip()
        if inner == stripped:
            return stripped
        stripped = inner


def _is_one_group(text: str) -> bool:
    """Tell `(a)` from `(a) + (b)`."""
    return "(" not in text[1:-1] and ")" not in text[1:-1]


def _unquote(text: str) -> tuple[str, bool]:
    for pattern, quote in ((STRING, "'"), (QUOTED_NAME, '"')):
        if match := pattern.fullmatch(text):
            return match.group(1).replace(quote * 2, quote), True
    return text, False


def _text(value: str, *, is_string: bool) -> str:
    """Read the default of a text column; SQLite turns a bare integer there into text."""
    if is_string or re.fullmatch(r"-?(0|[1-9]\d{0,17})", value):
        return value
    raise NoLiteral(value)


def _number(value: Decimal, kind: Kind) -> Literal:
    if kind is Kind.NUMERIC:
        return value
    if kind is Kind.DOUBLE:
        return float(value)
    if value == value.to_integral_value() and MIN_INTEGER <= value <= MAX_INTEGER:
        return int(value)
    raise NoLiteral(str(value))
