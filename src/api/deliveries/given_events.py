"""Bodies of events as devices send them: each event stands for itself, so that a bad one harms no other."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from src.api.deliveries.splitting import FORM, items_of, members_of
from src.api.given_rows import Given, given_row, given_rows
from src.api.hints import nearest
from src.api.http import JSON_TYPE, NDJSON_TYPE, Request, is_array, shortened
from src.core import values
from src.core.errors import BodyTooLarge, InvalidRequest, Problem
from src.core.models import TableModels

MAX_EVENTS = 10_000
MEMBERS = ("batch", "sentAt")

_decode_text = msgspec.json.Decoder(str).decode


class Unreadable(NamedTuple):
    """An event that is no strict JSON."""

    reason: str


GivenEvent = Given | Unreadable


class GivenBatch(NamedTuple):
    """The events of a body, in their order."""

    events: list[GivenEvent]
    sent_at: datetime | None
    """When the device sent them, by its own clock."""


async def read_batch(request: Request, models: TableModels) -> GivenBatch:
    """Read the events in a body: an array, `{"batch": [...], "sentAt": "..."}`, or lines of JSON; it may be gzipped.

    Raises:
        InvalidRequest: it cannot be split into events.
        BodyTooLarge: it has too many events, or too many bytes, packed or unpacked.
    """
    media_type, body = await request.packed_body_of(JSON_TYPE, NDJSON_TYPE)
    # Some programs write it before all text. It is no part of JSON, and would cost the event of the first line.
    body = body.removeprefix(BOM_UTF8)
    if media_type == NDJSON_TYPE:
        return GivenBatch(_limited(_split_lines(models, body)), None)
    if is_array(body):
        return GivenBatch(_limited(_split_array(models, body)), None)
    return _read_object(models, body)


def _read_object(models: TableModels, body: bytes) -> GivenBatch:
    members = dict(members_of(body))
    for name in members:
        if name not in MEMBERS:
            raise _refused(f"/{shortened(name)}", "is unknown" + nearest(name, list(MEMBERS)))
    batch = members.get("batch", b"")
    if not is_array(batch):
        raise _refused("/batch", f"takes an array: {FORM}")
    return GivenBatch(_limited(_split_array(models, batch)), _read_sent_at(members.get("sentAt", b"null")))


def _read_sent_at(text: bytes) -> datetime | None:
    if text == b"null":
        return None
    try:
        return values.parse_timestamp(_decode_text(text))
    except (ValueError, msgspec.MsgspecError) as error:
        reason = str(error) if type(error) is ValueError else "takes a time, such as 2026-01-31T09:30:00Z"
        raise _refused("/sentAt", reason) from None


def _split_array(models: TableModels, body: bytes) -> Iterator[GivenEvent]:
    """Yield the events of an array: all of them as they were read at once, or each by itself where one is bad."""
    try:
        yield from given_rows(models, JSON_TYPE, body, MAX_EVENTS)
    except InvalidRequest:
        for item in items_of(body)[: MAX_EVENTS + 1]:
            yield _read_alone(models, item)


def _split_lines(models: TableModels, body: bytes) -> Iterator[GivenEvent]:
    for line in body.split(b"\n"):
        if line.strip():
            yield _read_alone(models, line)


def _read_alone(models: TableModels, text: bytes) -> GivenEvent:
    try:
        return given_row(models, text)
    except InvalidRequest as error:
        return Unreadable(error.detail.replace("the body", "the event"))


def _limited(events: Iterator[GivenEvent]) -> list[GivenEvent]:
    found: list[GivenEvent] = []
    for event in events:
        if len(found) == MAX_EVENTS:
            raise BodyTooLarge(f"{MAX_EVENTS} events are the most in one request; send the others in another one")
        found.append(event)
    return found


def _refused(pointer: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer[1:] or 'the body'}: {reason}", (Problem("body", pointer, reason),))
