"""Texts of JSON split into their pieces, also where one of the pieces is broken inside."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from src.api.given_rows import decode_members
from src.api.http import shortened
from src.core.errors import InvalidRequest, Problem

FORM = 'send an array of rows, {"batch": [...], "sentAt": "..."}, or lines of JSON (application/x-ndjson)'

_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def items_of(body: bytes) -> Iterator[bytes]:
    """Yield the texts of an array's items, as far as somebody wants them.

    Raises:
        InvalidRequest: where one ends cannot be told.
    """
    try:
        items = _decode_items(body)
    except (msgspec.MsgspecError, RecursionError):
        yield from (text for _, text in _scan(body))
    else:
        yield from map(bytes, items)


def members_of(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the members of an object, each by its name.

    Raises:
        InvalidRequest: where one ends cannot be told, or one stands twice.
    """
    try:
        compact = msgspec.json.format(body, indent=-1)
        members = decode_members(compact)
        whole = b",".join(b"%b:%b" % (msgspec.json.encode(name), text) for name, text in members.items())
        if b"{%b}" % whole == compact:
            yield from ((name, bytes(text)) for name, text in members.items())
            return
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass
    seen = set()
    for name, text in _scan(body):
        if name in seen:
            raise _refused(f"the member {shortened(name)!r} stands twice in one object")
        seen.add(name)
        yield name, text


# Pieces may be wrong inside, such as by half of a surrogate pair, as long as it can be told where they end.
# Possessive, and to the end of the body where a text has none: no sign is looked at twice.
_TEXT = r'"[^"\\]*+(?:\\.[^"\\]*+)*+'
_match_text = re.compile(_TEXT + '"', re.DOTALL).match
_match_word = re.compile(r'[^\s"\[\]{},:]+').match
_find_brackets = re.compile(_TEXT + r'(?:"|\\?\Z)|[\[\]{}]', re.DOTALL).finditer


def _end_of(text: str, place: int) -> int:
    """Where the value that begins at a place ends, however deep it is."""
    if text[place] not in "[{":
        piece = (_match_text if text[place] == '"' else _match_word)(text, place)
        if piece is None:
            raise ValueError
        return piece.end()
    depth = 0
    for found in _find_brackets(text, place):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    raise ValueError


_WHITE = " \t\n\r"


def _scan(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the texts of an array's items or of an object's members, these with their names."""
    text = body.decode(errors="surrogateescape")
    try:
        yield from _scan_text(text)
    except (ValueError, IndexError, RecursionError):
        raise _refused(f"the body cannot be split; {FORM}") from None


def _scan_text(text: str) -> Iterator[tuple[str, bytes]]:
    place = _skip(text, 0)
    end = {"[": "]", "{": "}"}[text[place]] if text[place : place + 1] in ("[", "{") else _fail()
    place = _skip(text, place + 1)
    name = ""
    if text[place] != end:
        while True:
            if end == "}":
                after = _end_of(text, place)
                name = json.loads(text[place:after])
                place = _skip(text, _after(text, _skip(text, after), ":"))
                if not isinstance(name, str):
                    _fail()
            after = _end_of(text, place)
            yield name, text[place:after].encode(errors="surrogateescape")
            place = _skip(text, after)
            if text[place] == end:
                break
            place = _skip(text, _after(text, place, ","))
    if _skip(text, place + 1) != len(text):
        _fail()


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _WHITE:
        place += 1
    return place


def _after(text: str, place: int, sign: str) -> int:
    return place + 1 if text[place] == sign else _fail()


def _fail() -> Any:
    raise ValueError


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, (Problem("body", "", reason),))
