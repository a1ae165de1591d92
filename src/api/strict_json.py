"""One strict parser for all JSON that clients send.

Python's parser takes NaN and lone surrogates, orjson turns 10^30 into a double. msgspec does neither; what
it lets pass (duplicate members, depth) is checked here.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from src.api.http import shortened
from src.core.errors import InvalidRequest, Problem
from src.core.values import MAX_JSON_DEPTH

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
# Five times faster than to search for [0-9]{309}.
_LONG_INTEGER = b"0" * 309
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_find_half_a_pair = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])").search
MAX_DOUBLE = int(sys.float_info.max)
_CONTAINERS = frozenset({dict, list})
# Of longer bodies, it is not worth counting whether they have few brackets.
LONG = 100_000


class Json(NamedTuple):
    """What a client wrote, decoded, and its text without white space between tokens."""

    value: Any
    text: bytes
    """Empty for a part of a canonical text: that is what the value encodes to."""
    is_canonical: bool
    """Whether the value encodes to the text, so that any part of it encodes to its part of the text."""


def parse_json(body: bytes, levels: int = 1) -> Json:
    """Parse strict JSON, in which documents stand inside so many `levels` of objects and arrays.

    Raises:
        InvalidRequest: not JSON in UTF-8, a duplicate member, NUL in a text, or nested too deep.
    """
    if not body:
        raise InvalidRequest("the body is empty", (Problem("body", "", "takes JSON"),))
    try:
        value = _decode(body)
        text = msgspec.json.format(body, indent=-1)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = _why(error, body)
        raise InvalidRequest(f"the body is not JSON: {reason}", (Problem("body", "", reason),)) from None
    # A value has no more levels than its text has brackets.
    has_many = len(body) > LONG or body.count(b"{") + body.count(b"[") > MAX_JSON_DEPTH
    if has_many and _depth(value) > MAX_JSON_DEPTH + levels:
        raise _too_deep()
    if b"\\u0000" in body:
        _refuse_nul(value)
    if _LONG_INTEGER in body.translate(_DIGITS_TO_ZERO):
        _refuse_past_doubles(value)
    # What encodes back to the same text had no duplicate member; anything else is looked at properly.
    is_canonical = _encode(value) == text
    if not is_canonical:
        json.loads(text, object_pairs_hook=_refuse_duplicates, parse_int=_unread, parse_float=_unread)
    return Json(value, text, is_canonical)


def _why(error: Exception, body: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the text is not UTF-8"
    # Programs that count in UTF-16 cut emoji in two; of the last one in a body the parser says that the body was cut.
    if _find_half_a_pair(body):
        return "a text has half of a surrogate pair; cut texts between characters"
    return str(error)


def need_object(value: Any) -> dict[str, Any]:
    """Take what has been parsed for an object.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object", (Problem("body", "", "takes a JSON object"),))
    return value


def _too_deep() -> InvalidRequest:
    reason = f"JSON documents are nested at most {MAX_JSON_DEPTH} levels deep"
    return InvalidRequest(reason, (Problem("body", "", reason),))


def _depth(value: object) -> int:
    """The number of objects and arrays around the innermost value."""
    depth = 0
    level: list[Any] = [value] if value.__class__ in _CONTAINERS else []
    while level:
        depth += 1
        level = [
            child
            for item in level
            for child in (item.values() if item.__class__ is dict else item)
            if child.__class__ in _CONTAINERS
        ]
    return depth


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for child in value.values():
            yield from _texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child)


def _refuse_nul(value: object) -> None:
    if any("\x00" in text for text in _texts(value)):
        reason = "text has no NUL character (\\u0000)"
        raise InvalidRequest(reason, (Problem("body", "", reason),))


def _numbers(value: object) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _numbers(child)


def _refuse_past_doubles(value: object) -> None:
    """Refuse integers that most JSON parsers could not read back; with an exponent, msgspec refuses them."""
    if any(abs(number) > MAX_DOUBLE for number in _numbers(value)):
        reason = "a number is at most 1.7976931348623157e308"
        raise InvalidRequest(reason, (Problem("body", "", reason),))


def _unread(_: str) -> int:
    return 0


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise InvalidRequest(
                f"the member {shortened(name)!r} stands twice in one object",
                (Problem("body", "/" + shortened(name), "stands twice in one object"),),
            )
        members[name] = value
    return members
