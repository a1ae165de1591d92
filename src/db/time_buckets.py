"""Where the minute, hour, day, week or month of an instant began in a time zone; for SQLite, which knows no zones.

The same instants as PostgreSQL's `date_trunc(unit, instant, zone)`: minutes and hours keep the offset of their
instant, so that the hour that a clock shows twice is two hours; longer ones begin by the local calendar.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

find_zone = lru_cache(64)(ZoneInfo)


@lru_cache(20_000)
def time_bucket(minute: str | None, unit: str, zone: str) -> str | None:
    """The beginning as text in UTC; `minute` is the instant's text in UTC up to the minute."""
    if minute is None:
        return None
    instant = datetime.fromisoformat(minute).replace(tzinfo=UTC)
    local = instant.astimezone(find_zone(zone))
    if unit in ("minute", "hour"):
        past = timedelta(minutes=local.minute if unit == "hour" else 0, seconds=local.second)
        return (instant - past).isoformat()
    day = local.replace(hour=0, minute=0, second=0, fold=0)
    if unit == "week":
        day -= timedelta(days=day.weekday())
    elif unit == "month":
        day = day.replace(day=1)
    return _utc(day).isoformat()


def _utc(local: datetime) -> datetime:
    """The instant of a local time: of two that it may mean the later one; in a gap, by the offset before it."""
    later = local.replace(fold=1)
    is_twice = (later.utcoffset() or timedelta()) < (local.utcoffset() or timedelta())
    return (later if is_twice else local).astimezone(UTC)
