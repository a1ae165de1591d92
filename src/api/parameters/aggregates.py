"""Aggregates: `group=event_type,ts.day&select=count,avg(event_data.dur)&tz=Europe/Zurich`."""

import re
from functools import lru_cache
from zoneinfo import ZoneInfoNotFoundError

from src.api.http import shortened
from src.api.parameters.order import MAX_SORT_TERMS, parse_direction
from src.api.parameters.targets import need_target, unknown_name
from src.api.parameters.texts import Unbalanced, split_outside
from src.api.parameters.values import invalid
from src.core.tables import Kind, TableInfo
from src.db.queries.measures import BUCKETS, FUNCTIONS, UTC_NAME
from src.db.queries.query import Group, GroupOrder, Measure, names_of
from src.db.time_buckets import find_zone

MAX_GROUPS, MAX_MEASURES = 8, 16

_match_measure = re.compile(r"(\w+)(?:\((.+)\))?\Z", re.DOTALL).match
_match_zone = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*\Z", re.ASCII).match
# What time zone databases hold beside zones of the world.
NO_ZONES = ("posix", "right", "localtime", "Factory")


def parse_groups(table: TableInfo, text: str) -> tuple[Group, ...]:
    """Read columns, values inside documents and pieces of time (`ts.day`).

    Raises:
        UnknownName: a column or a piece of time that does not exist.
        InvalidRequest: more than the limits allow, or a document as a whole.
    """
    return tuple(_parse_group(table, name, text) for name in _names("group", text, MAX_GROUPS))


def _parse_group(table: TableInfo, name: str, text: str) -> Group:
    column, dot, bucket = name.rpartition(".")
    if dot and column in table.by_name and table.by_name[column].kind is Kind.TIMESTAMP:
        if bucket not in BUCKETS:
            raise unknown_name("group", bucket, list(BUCKETS), "piece of time")
        return Group(name, need_target(table, "group", column), bucket)
    target = need_target(table, "group", name)
    if not target.path and target.column in table.documents:
        raise invalid("group", text, f"{name} is a JSON document; name a value inside of it after a dot")
    return Group(name, target)


def parse_measures(table: TableInfo, text: str) -> tuple[Measure, ...]:
    """Read `count`, `avg(column)` and the like.

    Raises:
        UnknownName: a function or a column that does not exist.
        InvalidRequest: a function of something that it does not take.
    """
    return tuple(_parse_measure(table, name, text) for name in _names("select", text, MAX_MEASURES))


def _parse_measure(table: TableInfo, name: str, text: str) -> Measure:
    found = _match_measure(name)
    if found is None:
        raise invalid("select", text, "takes count, and functions of a column such as avg(event_data.dur)")
    function, argument = found.group(1), found.group(2)
    if function not in FUNCTIONS:
        raise unknown_name("select", function, list(FUNCTIONS), "function")
    if argument is None:
        if function != "count":
            raise invalid("select", text, f"{function} needs a column: {function}(column)")
        return Measure(name, function, None)
    target = need_target(table, "select", argument)
    kind = table.by_name[target.column].kind
    if not target.path and kind not in FUNCTIONS[function].kinds:
        advice = "; name a number inside of it after a dot" if kind is Kind.JSON else ""
        raise invalid("select", text, f"{function} does not take {argument}, which holds {kind}{advice}")
    return Measure(name, function, target)


def parse_group_order(
    text: str | None, groups: tuple[Group, ...], measures: tuple[Measure, ...]
) -> tuple[GroupOrder, ...]:
    """Read an order of groups; groups that it does not name come after, ascending.

    Raises:
        UnknownName: neither a group nor a measure of this request.
    """
    names = names_of(groups, measures)
    terms: dict[int, GroupOrder] = {}
    for part in () if text is None else _names("sort", text, MAX_SORT_TERMS):
        name, is_descending, nulls_are_smallest = parse_direction(part)
        if name not in names:
            raise unknown_name("sort", name, names, "group or measure of this request")
        position = names.index(name)
        terms.setdefault(position, GroupOrder(position, is_descending, nulls_are_smallest))
    for position in range(len(groups)):
        terms.setdefault(position, GroupOrder(position, is_descending=False))
    return tuple(terms.values())


@lru_cache(64)
def parse_time_zone(text: str) -> str:
    """Check the name of a time zone, such as Europe/Zurich."""
    reason = "takes the name of a time zone, such as Europe/Zurich or UTC"
    if text == UTC_NAME:
        return text
    if len(text) > 64 or not _match_zone(text) or text.startswith(NO_ZONES):
        raise invalid("tz", text, reason)
    try:
        find_zone(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid("tz", text, reason) from None
    return text


def _names(parameter: str, text: str, most: int) -> list[str]:
    """Cut at the commas; a name that stands there again changes nothing."""
    try:
        parts = split_outside(text, ",") if text.count(",") < 1000 else [text] * (most + 1)
    except Unbalanced as error:
        raise invalid(parameter, text, f"{error} in {shortened(text)}") from None
    if len(parts) > most:
        raise invalid(parameter, text, f"{most} names are the most")
    return list(dict.fromkeys(parts))
