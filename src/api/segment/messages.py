"""Messages of Segment's tracking API as rows of a table of events, such that each can be made from its row again.

What has a column and fits into it goes there; all else stays as it was written in the document of the row: members
without a column, and those of which a column holds less than the message said (a user id that is too long, a time
without an offset). https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec

from src.api.given_rows import Members, decode_members
from src.api.strict_json import need_object, parse_json
from src.core.errors import InvalidRequest, Problem
from src.core.values import new_uuid, parse_timestamp, parse_uuid

# Message ids that are no UUIDs become UUIDs of version 5 in this one.
NAMESPACE = UUID("5f1d3c52-8a0e-5c0b-9d43-6f7a5e9b1c20")
MAX_LENGTH = 255
SOURCE = "segment"
TRACK = "track"
TYPES = (TRACK, "identify", "page", "screen", "group", "alias")
NULL = msgspec.Raw(b"null")
# Members that move to columns which are never empty, or that the server may fill.
TAKEN = ("messageId", "userId", "timestamp")


class Columns(NamedTuple):
    """Which columns of a table take what of a message."""

    message_id: str
    user_id: str
    name: str
    """What happened: the event of a `track`, else the type of the message."""
    source: str
    """The library that sent it."""
    timestamp: str
    sent_at: str
    document: str
    """All else."""


class Event(NamedTuple):
    """A message as a new row."""

    text: bytes
    """The row as JSON."""
    filled: frozenset[str]
    """The columns that the message says nothing of, and that are others each time it arrives."""


class Envelope(msgspec.Struct, rename="camel"):
    """What a batch says of all of its messages."""

    batch: list[msgspec.Raw]
    sent_at: Any = None
    context: msgspec.Raw = msgspec.Raw(b"")
    integrations: msgspec.Raw = msgspec.Raw(b"")


_decode_envelope = msgspec.json.Decoder(Envelope).decode


def read_envelope(body: bytes) -> Envelope:
    """Split a body into its messages.

    Raises:
        InvalidRequest: it is not JSON, or not an object with a list of messages.
    """
    try:
        return _decode_envelope(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        reason = 'takes {"batch": [...]}, whose members are messages'
        raise InvalidRequest(f"the body {reason}", (Problem("body", "", reason),)) from None


def event_of(columns: Columns, text: bytes, envelope: Envelope, type_: str, received_at: datetime) -> Event:
    """Make a new row from the JSON text of a message; `type_` is that of one that does not say its own.

    Raises:
        InvalidRequest: the message is no object of strict JSON, or has no type.
    """
    rest = decode_members(_checked(text))
    for name, shared in (("context", envelope.context), ("integrations", envelope.integrations)):
        if shared and name not in rest:
            rest[name] = shared
    if type_:
        rest.setdefault("type", msgspec.Raw(msgspec.json.encode(type_)))
    for name in TAKEN:
        # What is not said is null in the document, so that a column which the server fills is not taken for it.
        rest.setdefault(name, NULL)
    # RudderStack's SDK for Node says only this.
    happened_at = _take_instant(rest, "timestamp") or _instant_of(_value(rest, "originalTimestamp"))
    row: dict[str, object] = {
        columns.message_id: _take_id(rest),
        columns.user_id: _take_user(rest),
        columns.name: _take_name(rest),
        columns.source: _source_of(rest),
        columns.timestamp: happened_at or received_at.isoformat(),
        columns.sent_at: _take_instant(rest, "sentAt") or _instant_of(envelope.sent_at),
    }
    filled = frozenset() if happened_at else frozenset({columns.timestamp})
    return Event(msgspec.json.encode(row | {columns.document: rest}), filled)


def _checked(text: bytes) -> bytes:
    json = parse_json(text, levels=0)
    need_object(json.value)
    return json.text


def _value(rest: Members, name: str) -> Any:
    return msgspec.json.decode(rest[name]) if name in rest else None


def _take_id(rest: Members) -> str:
    """The id of the row; the message's own where that is one."""
    value = _value(rest, "messageId")
    if value is None or value == "":
        return new_uuid()
    try:
        uuid = parse_uuid(value)
    except ValueError:
        # Sources that count their messages alike do not mean the same one.
        whose = bytes(rest.get("userId") or rest.get("anonymousId") or b"").decode()
        return str(
            uuid5(NAMESPACE, f"{whose}\0{value if isinstance(value, str) else bytes(rest['messageId']).decode()}")
        )
    if uuid == value:
        del rest["messageId"]
    return uuid


def _take_user(rest: Members) -> str | None:
    value = _value(rest, "userId")
    if type(value) is int:
        # A number is known by its digits, and stays a number in the document.
        value = str(value)
        return value if _fits(value) else None
    if not _fits(value):
        return None
    del rest["userId"]
    return str(value)


def _take_name(rest: Members) -> str:
    type_, event = _value(rest, "type"), _value(rest, "event")
    if not _fits(type_):
        reason = f"takes a text of 1 to {MAX_LENGTH} characters: such as {TRACK}"
        raise InvalidRequest(f"type {reason}", (Problem("body", "/type", reason),))
    if type_ != TRACK or not _fits(event):
        if type_ == TRACK:
            rest.setdefault("event", NULL)
        return str(type_)
    del rest["event"]
    return str(event)


def _source_of(rest: Members) -> str:
    value = _value(rest, "context")
    for member in ("library", "name"):
        value = value.get(member) if isinstance(value, dict) else None
    return str(value) if _fits(value) else SOURCE


def _fits(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_LENGTH


def _take_instant(rest: Members, name: str) -> str | None:
    """The instant that a member says; the member stays where it says it in a way that no column keeps."""
    text = _value(rest, name)
    instant = _instant_of(text)
    if instant is not None and instant == text and not _has_more_digits(text):
        del rest[name]
    return instant


def _instant_of(value: object) -> str | None:
    """A time as RFC 3339 writes it; without an offset it is UTC, and nobody knows what the device's clock said."""
    if not isinstance(value, str):
        return None
    try:
        parse_timestamp(value)
    except ValueError:
        return _repaired(value)
    return value


def _repaired(value: str) -> str | None:
    """Read another form of ISO 8601; None where it is none, or outside of the years that are kept."""
    try:
        instant = datetime.fromisoformat(value)
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        text = instant.isoformat().replace("+00:00", "Z")
        parse_timestamp(text)
    except (ValueError, OverflowError):
        return None
    return text


def _has_more_digits(text: str) -> bool:
    """Whether a time has digits past microseconds."""
    _, _, fraction = text.partition(".")
    return len(fraction.rstrip("Zz").partition("+")[0].partition("-")[0]) > 6
