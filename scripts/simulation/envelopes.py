"""The ways in which a phone may pack events for `POST /events/-/batch`."""

import gzip
import json
from random import Random
from typing import NamedTuple

from scripts.simulation.life import Row
from scripts.simulation.wire import NDJSON


class Envelope(NamedTuple):
    """A body and its headers."""

    body: bytes
    headers: dict[str, str]


def pack(events: list[Row], sent_at: str, chance: Random) -> Envelope:
    """Pack events as an array, in an object, or as lines; now and then compressed."""
    way = chance.choice(("array", "object", "lines"))
    if way == "object":
        body, type_ = _text({"batch": events, "sentAt": sent_at}), "application/json"
    else:
        dated = [event | {"sent_at": sent_at} for event in events]
        if way == "array":
            body, type_ = _text(dated), "application/json"
        else:
            body, type_ = b"\n".join(map(_text, dated)), NDJSON
    headers = {"Content-Type": type_}
    if chance.random() < 0.4:
        return Envelope(gzip.compress(body, 1), headers | {"Content-Encoding": "gzip"})
    return Envelope(body, headers)


def pack_one(event: Row, sent_at: str) -> Envelope:
    """Pack an event for `POST /events`."""
    return Envelope(_text(event | {"sent_at": sent_at}), {"Content-Type": "application/json"})


def _text(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
