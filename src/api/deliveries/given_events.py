"""Bodies of events as devices send them: each event stands for itself, so that a bad one harms no other."""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from src.api.deliveries.splitting import FORM, items_of, members_of
from src.api.given_rows import Given, decode_members, given_array, given_row
from src.api.hints import nearest
from src.api.http import JSON_TYPE, NDJSON_TYPE, Request, is_array, shortened
from src.api.long_bodies import read_in_turns
from src.api.strict_json import Json, need_object, parse_json
from src.core import values
from src.core.errors import BodyTooLarge, InvalidRequest, Problem
from src.core.models import TableModels

MAX_EVENTS = 10_000
MEMBERS = ("batch", "sentAt")


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

    What is strict JSON as a whole is read at once; else it is split, and each event is read by itself.

    Raises:
        InvalidRequest: it cannot be split into events.
        BodyTooLarge: it has too many events, or too many bytes, packed or unpacked.
    """
    media_type, body = await request.packed_body_of(JSON_TYPE, NDJSON_TYPE)
    return await read_in_turns(request, body, lambda text: _read(models, media_type, text))


def _read(models: TableModels, media_type: bytes, body: bytes) -> GivenBatch:
    # Some programs write it before all text. It is no part of JSON, and would cost the event of the first line.
    body = body.removeprefix(BOM_UTF8)
    if media_type == NDJSON_TYPE:
        return GivenBatch(_limited(_split_lines(models, body)), None)
    is_one_array = is_array(body)
    try:
        json = parse_json(body, levels=2 if is_one_array else 3)
    except InvalidRequest:
        return _read_pieces(models, body, is_one_array=is_one_array)
    if is_one_array:
        return GivenBatch(_limited(given_array(models, json)), None)
    members = need_object(json.value)
    _refuse_unknown(members)
    if not isinstance(members.get("batch"), list):
        raise _refused("/batch", f"takes an array: {FORM}")
    text = b"" if json.is_canonical else bytes(decode_members(json.text)["batch"])
    events = given_array(models, Json(members["batch"], text, json.is_canonical))
    return GivenBatch(_limited(events), _read_sent_at(members.get("sentAt")))


def _read_pieces(models: TableModels, body: bytes, *, is_one_array: bool) -> GivenBatch:
    """Read a body that is broken somewhere: what is whole in it harms nothing else."""
    if is_one_array:
        return GivenBatch(_limited(_split_array(models, body)), None)
    members: dict[str, bytes] = {}
    for name, text in members_of(body):
        _refuse_unknown([name])
        members[name] = text
    if not is_array(members.get("batch", b"")):
        raise _refused("/batch", f"takes an array: {FORM}")
    try:
        sent_at = parse_json(members.get("sentAt", b"null")).value
    except InvalidRequest as error:
        raise _refused("/sentAt", error.detail.replace("the body", "it")) from None
    return GivenBatch(_limited(_split_array(models, members["batch"])), _read_sent_at(sent_at))


def _refuse_unknown(members: Iterable[str]) -> None:
    for name in members:
        if name not in MEMBERS:
            raise _refused(f"/{shortened(name)}", "is unknown" + nearest(name, list(MEMBERS)))


def _read_sent_at(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return values.parse_timestamp(value)
    except ValueError as error:
        raise _refused("/sentAt", str(error)) from None


def _split_array(models: TableModels, body: bytes) -> Iterator[GivenEvent]:
    for item in items_of(body):
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
    found = list(islice(events, MAX_EVENTS + 1))
    if len(found) > MAX_EVENTS:
        raise BodyTooLarge(f"{MAX_EVENTS} events are the most in one request; send the others in another one")
    return found


def _refused(pointer: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer[1:] or 'the body'}: {reason}", (Problem("body", pointer, reason),))
