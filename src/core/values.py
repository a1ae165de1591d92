"""The values that columns hold, and how their texts are read.

Every parser raises `ValueError` with a sentence that says what would have been right. None of them
coerces: a value is of its type or it is refused. Bounds are those of both databases, so that what one
accepts the other accepts, and what was accepted reads back equal.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import uuid_utils

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
MIN_YEAR, MAX_YEAR = 1970, 2200
MAX_JSON_DEPTH = 64
MAX_NUMERIC_DIGITS = 1000

NO_NUL = r"^[^\x00]*$"
KEY = r"^(?!(?:\.{1,2}|-)$)[^/\x00-\x1f\x7f-\x9f]+$"
# Exact, leap years included, so that a client which checks by the OpenAPI document is never surprised.
_DAY = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,50})?"
_OFFSET = r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
_LEAP = r"(19(7[26]|8[048]|9[26])|20([02468][048]|[13579][26])|21(0[48]|[2468][048]|[13579][26]))-02-29"
_INSTANT_DATE = rf"((19[7-9]\d|2[01]\d\d|2200)-{_DAY}|{_LEAP})"
_ANY_LEAP = r"(\d\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29"
_ANY_DATE = rf"((000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{{3}})-{_DAY}|{_ANY_LEAP})"
TIMESTAMP = rf"^{_INSTANT_DATE}[Tt]{_TIME}{_OFFSET}$"
TIMESTAMP_FILTER = rf"^{_INSTANT_DATE}([Tt]{_TIME}{_OFFSET}?)?$"
LOCAL_TIMESTAMP = rf"^{_ANY_DATE}[Tt]{_TIME}$"
DATE = rf"^{_ANY_DATE}$"
UUID_TEXT = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"

NUL_REFUSED = "text has no NUL character"
UUID_REFUSED = "takes a UUID such as 01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"


def _matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Match a pattern of JSON Schema to the very end: Python's `$` would let a line feed follow."""
    return re.compile(pattern.removesuffix("$") + r"\Z", re.ASCII).match


_match_key = _matcher(KEY)
_match_timestamp = _matcher(TIMESTAMP)
_match_local_timestamp = _matcher(LOCAL_TIMESTAMP)
_match_date = _matcher(DATE)
_match_uuid = _matcher(UUID_TEXT)


def new_uuid() -> str:
    """Make a UUID of version 7: random, and sorted by the millisecond in which it was made."""
    return str(uuid_utils.uuid7())


def now() -> datetime:
    """Tell the time, in UTC, to the microsecond."""
    return datetime.now(UTC)


def check_text(value: str) -> str:
    """Refuse text that a database cannot hold: PostgreSQL has no NUL in text."""
    if "\x00" in value:
        raise ValueError(NUL_REFUSED)
    return value


def check_key(value: str) -> str:
    """Refuse text that cannot stand in an address as one segment of its path."""
    if not _match_key(value):
        raise ValueError("a key has no slash and no control character, and is not '.', '..' or '-'")
    return value


def parse_uuid(value: object) -> str:
    """Read a UUID in its usual form, 8-4-4-4-12 hexadecimal digits, into lower case."""
    if not isinstance(value, str) or not _match_uuid(value):
        raise ValueError(UUID_REFUSED)
    return value.lower()


def parse_timestamp(value: object) -> datetime:
    """Read an instant in RFC 3339 with an offset, years 1970 to 2200; digits past microseconds are cut."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str) or not _match_timestamp(value):
        raise ValueError(
            "takes a time of the calendar with its offset, such as 2026-01-31T09:30:00Z or "
            f"2026-01-31T10:30:00.123456+01:00, in the years {MIN_YEAR} to {MAX_YEAR}"
        )
    # Digits past microseconds are cut by Python itself.
    instant = datetime.fromisoformat(value.upper())
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    # An offset may lead out of the years that the pattern takes.
    if not MIN_YEAR <= instant.year <= MAX_YEAR:
        raise ValueError(f"takes a time in the years {MIN_YEAR} to {MAX_YEAR}")
    return instant


def parse_local_timestamp(value: object) -> datetime:
    """Read a date and a time without offset."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _match_local_timestamp(value):
        raise ValueError("takes a date and a time without offset, such as 2026-01-31T09:30:00")
    return datetime.fromisoformat(value.upper())


def parse_date(value: object) -> date:
    """Read a calendar date."""
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not _match_date(value):
        raise ValueError("takes a day of the calendar such as 2026-01-31")
    return date.fromisoformat(value)


def parse_integer(value: object) -> int:
    """Take an integer of 64 bits."""
    if type(value) is not int:
        raise ValueError("takes an integer")
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise ValueError(f"takes an integer from {MIN_INTEGER} to {MAX_INTEGER}")
    return value


def parse_double(value: object) -> float:
    """Take a number that a double holds without loss of an integer's digits; -0 becomes 0."""
    if isinstance(value, float | Decimal):
        number = float(value)
    elif type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            raise ValueError("takes a number up to 1.7976931348623157e308") from None
        if number != value:
            raise ValueError("takes a number; integers past 2^53 need to be exact doubles")
    else:
        raise ValueError("takes a number")
    if number - number != 0:
        raise ValueError("takes a finite number")
    return number + 0.0


def parse_numeric(value: object) -> Decimal:
    """Take a number and keep all of its digits."""
    if isinstance(value, Decimal):
        number = value
    elif type(value) is int or isinstance(value, float):
        number = Decimal(str(value))
    else:
        raise ValueError("takes a number")
    if not number.is_finite() or not -MAX_NUMERIC_DIGITS < number.adjusted() < MAX_NUMERIC_DIGITS:
        raise ValueError(f"takes a finite number of at most {MAX_NUMERIC_DIGITS} digits")
    return number + 0 if number else Decimal(0)
