"""What an aggregate is made of: functions, and pieces of time. A new one is one line in its table."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Double, cast, func
from sqlalchemy.sql.elements import ColumnElement

from src.core.tables import Kind
from src.db.queries.expressions import Expression

UTC_NAME = "UTC"
NUMBERS = frozenset({Kind.INTEGER, Kind.DOUBLE, Kind.NUMERIC})
# PostgreSQL has no least boolean, and before its version 18 no least UUID.
ORDERED = NUMBERS | {Kind.TEXT, Kind.TIMESTAMP, Kind.LOCAL_TIMESTAMP, Kind.DATE}

# Per piece of time: where SQLite finds its beginning in the text of an instant of UTC.
BUCKETS: dict[str, str] = {
    "minute": "substr({0}, 1, 16) || ':00+00:00'",
    "hour": "substr({0}, 1, 13) || ':00:00+00:00'",
    "day": "substr({0}, 1, 10) || 'T00:00:00+00:00'",
    "week": "date(substr({0}, 1, 10), 'weekday 0', '-6 days') || 'T00:00:00+00:00'",
    "month": "substr({0}, 1, 7) || '-01T00:00:00+00:00'",
}
# What the SQLite engine calls the function that knows time zones.
BUCKET_FUNCTION = "time_bucket"


class Bucket(Expression):
    """The instant at which the minute, hour, day, week (from Monday) or month of an instant began in a time zone."""

    def __init__(self, instant: ColumnElement[Any], zone: ColumnElement[Any] | None, unit: str) -> None:
        self.unit = unit
        super().__init__(instant, *([] if zone is None else [zone]))

    def postgresql(self, instant: str, zone: str = f"'{UTC_NAME}'") -> str:
        return f"date_trunc('{self.unit}', {instant}, {zone})"

    def sqlite(self, instant: str, zone: str = "") -> str:
        if not zone:
            return f"({BUCKETS[self.unit].format(instant)})"
        return f"{BUCKET_FUNCTION}(substr({instant}, 1, 16), '{self.unit}', {zone})"


class Function(NamedTuple):
    """An aggregate function."""

    build: Callable[[ColumnElement[Any], Kind], ColumnElement[Any]]
    kinds: frozenset[Kind]
    """The kinds of columns that it takes."""
    result: Callable[[Kind], Kind]
    """From the kind of its column to the kind of its result."""


# What the SQLite engine calls the function that refuses infinity.
FINITE_FUNCTION = "check_finite"


class Finite(Expression):
    """A sum of doubles that is one; PostgreSQL refuses a larger one by itself, SQLite would answer infinity."""

    def postgresql(self, number: str) -> str:
        return number

    def sqlite(self, number: str) -> str:
        return f"{FINITE_FUNCTION}({number})"


def _sum(column: ColumnElement[Any], kind: Kind) -> ColumnElement[Any]:
    # PostgreSQL's sum of integers knows no bound; past 64 bits both refuse.
    return cast(func.sum(column), BigInteger()) if kind is Kind.INTEGER else Finite(func.sum(column))


def _avg(column: ColumnElement[Any], kind: Kind) -> ColumnElement[Any]:
    # PostgreSQL's own average has 16 digits for integers, and for doubles it adds up squares, which may not fit.
    return cast(_sum(column, kind), Double()) / func.count(column)


FUNCTIONS: dict[str, Function] = {
    "count": Function(lambda column, _: func.count(column), frozenset(Kind), lambda _: Kind.INTEGER),
    "sum": Function(_sum, NUMBERS, lambda kind: kind),
    "avg": Function(_avg, NUMBERS, lambda _: Kind.DOUBLE),
    "min": Function(lambda column, _: func.min(column), ORDERED, lambda kind: kind),
    "max": Function(lambda column, _: func.max(column), ORDERED, lambda kind: kind),
}
