"""Rows that the API should accept, made by hypothesis; and what "reads back equal" means."""

import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

Row = dict[str, Any]

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=255)
NOT_IN_KEYS = st.characters(exclude_characters="/", exclude_categories=["Cs", "Cc"])
KEY = st.text(NOT_IN_KEYS, min_size=1, max_size=255).filter(lambda key: key not in (".", "..", "-"))
ODD_KEYS = st.sampled_from(
    ["a b", "a%2Fb", "%", "%%", "?", "#", "a;b", "a&b=c", "+", "a+b", "\\", "~", "...", "--", " ", "ä", "🐘", "é" * 255]
)
KEYS = KEY | ODD_KEYS

NUMBER = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.none() | st.booleans() | NUMBER | TEXT
MEMBER = TEXT.filter(
    lambda name: name not in ("email", "display_name", "height", "weight", "model", "os", "app_version")
)
DOCUMENT = st.dictionaries(
    MEMBER,
    st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)),
    max_size=5,
)

INSTANT = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2200, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
EDGES = st.sampled_from(
    [
        "1970-01-01T00:00:00Z",
        "2200-12-31T23:59:59.999999Z",
        "2024-02-29T23:59:59.000001+14:00",
        "2026-01-31t09:30:00z",
        "2026-01-31T09:30:00.1Z",
        "2026-01-31T09:30:00.100000Z",
        "2026-01-31T09:30:00.1234567899Z",
    ]
)
TIME = INSTANT.map(datetime.isoformat) | EDGES


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


USERS = st.fixed_dictionaries(
    {"user_id": KEYS},
    optional={
        "firebase_data": maybe(DOCUMENT | st.fixed_dictionaries({"email": maybe(TEXT), "display_name": maybe(TEXT)})),
        "body_data": maybe(
            DOCUMENT | st.fixed_dictionaries({"height": maybe(st.floats(0, 300) | st.integers(0, 300))})
        ),
    },
)
ALGOS = st.fixed_dictionaries({"algo_id": KEYS, "recording_type": TEXT, "location": TEXT, "version": TEXT})
EVENTS = st.fixed_dictionaries(
    {"event_type": TEXT, "ts": TIME},
    optional={
        "event_id": st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper()),
        "user_id": maybe(TEXT),
        "session_id": maybe(TEXT),
        "event_data": maybe(DOCUMENT),
        "event_source": maybe(TEXT),
        "log_level": maybe(TEXT),
    },
)
SESSIONS = st.fixed_dictionaries(
    {"session_id": KEYS},
    optional={"device_data": maybe(DOCUMENT), "started_at": maybe(TIME), "ended_at": maybe(TIME)},
)
RECORDINGS = st.fixed_dictionaries(
    {"recording_id": KEYS, "recording_link": TEXT, "recording_type": TEXT}, optional={"created_session_id": maybe(TEXT)}
)

INSTANTS = {"ts", "started_at", "ended_at"}
UUIDS = {"event_id"}


def equal(name: str, sent: Any, read: Any) -> bool:
    """Whether a value reads back as it was sent: times as instants, UUIDs in any case, all else as JSON."""
    if sent is None or read is None:
        return sent is read
    if name in INSTANTS:
        return instant(sent) == instant(read)
    if name in UUIDS:
        return str(sent).lower() == read
    return same_json(sent, read)


def instant(text: str) -> datetime:
    """The instant of an RFC 3339 text, to the microsecond."""
    cut = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
    return datetime.fromisoformat(cut).astimezone(UTC)


def same_json(left: Any, right: Any) -> bool:
    """Equal as JSON: numbers by value, and true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict):
        return (
            isinstance(right, dict) and left.keys() == right.keys() and all(same_json(left[k], right[k]) for k in left)
        )
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(same_json(a, b) for a, b in zip(left, right, strict=True))
        )
    if isinstance(left, float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=0, abs_tol=0) or left == right
    return type(left) is type(right) and left == right


def as_sent(row: Row) -> bytes:
    """The row as a client may write it: with or without escapes, it is the same JSON."""
    return json.dumps(row, ensure_ascii=False).encode()
