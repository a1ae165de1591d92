"""Entity tags, and the requests that hold only while a row is what its client has read (RFC 9110, section 13)."""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

from src.api.compression import CODINGS
from src.api.http import Request
from src.core.errors import InvalidRequest, PreconditionFailed, Problem

ANY = "*"
Tags = tuple[str, ...]
"""The tags of a header as they were written; `ANY` alone for every row that exists."""

_match_tag = re.compile(r'[ \t]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|\Z)').match
# An answer that was compressed has other bytes, and so another tag: that of the row, and the name of the coding.
_coding_suffix = re.compile(rf'-(?:{"|".join(coding.name.decode() for coding in CODINGS)})"\Z')


def tag_of(row: bytes) -> bytes:
    """The strong entity tag of a row's JSON text: another one for every other byte."""
    return b'"%s"' % blake2b(row, digest_size=16).hexdigest().encode()


def tag_header(row: bytes) -> tuple[bytes, bytes]:
    """The header with a row's tag."""
    return (b"etag", tag_of(row))


class Conditions(NamedTuple):
    """What must be true of a row for its request to be carried out."""

    match: Tags | None
    none_match: Tags | None

    @property
    def wants_none(self) -> bool:
        """Whether there must be no row yet."""
        return self.none_match == (ANY,)

    def check(self, row: str | None) -> None:
        """Refuse the request when the row is not what these say; None is a row that does not exist.

        Raises:
            PreconditionFailed: it is another one, or there is one where none must be, or the other way round.
        """
        if self.match is not None and _find(self.match, row, is_weak=False) is None:
            raise PreconditionFailed("the row is not the one of If-Match any more; read it again")
        if self.none_match is not None and _find(self.none_match, row, is_weak=True) is not None:
            raise PreconditionFailed("the row is there already, as If-None-Match rules out")

    def find_unchanged(self, row: str) -> str | None:
        """The tag of If-None-Match that a reader's row still has, as it was written; None when it has none.

        Raises:
            PreconditionFailed: the row is not that of If-Match.
        """
        self._replace(none_match=None).check(row)
        return None if self.none_match is None else _find(self.none_match, row, is_weak=True)


def read_conditions(request: Request) -> Conditions | None:
    """Read `If-Match` and `If-None-Match`; None where neither is given.

    Raises:
        InvalidRequest: one is neither `*` nor a list of entity tags.
    """
    match, none_match = request.header(b"if-match"), request.header(b"if-none-match")
    if not match and not none_match:
        return None
    return Conditions(
        _read_tags("If-Match", match.decode("latin-1")) if match else None,
        _read_tags("If-None-Match", none_match.decode("latin-1")) if none_match else None,
    )


def refuse_conditions(request: Request) -> None:
    """Refuse preconditions where there is no one row that could have been read.

    Raises:
        InvalidRequest: one is given.
    """
    for name in ("If-Match", "If-None-Match"):
        if request.header(name.lower().encode()):
            reason = "is about one row; send it to the row's own address"
            raise InvalidRequest(f"{name} {reason}", (Problem("header", name, reason),))


def _read_tags(name: str, text: str) -> Tags:
    if text.strip() == ANY:
        return (ANY,)
    tags = tuple(_split(text))
    if not tags or None in tags:
        reason = 'takes * or entity tags in double quotes, as they stood in ETag: "0a1b", "2c3d"'
        raise InvalidRequest(f"{name} {reason}", (Problem("header", name, reason),))
    return tuple(tag for tag in tags if tag)


def _split(text: str) -> Iterator[str | None]:
    place = 0
    while place < len(text):
        found = _match_tag(text, place)
        yield found and found.group(1)
        if found is None:
            return
        place = found.end()


def _find(tags: Tags, row: str | None, *, is_weak: bool) -> str | None:
    """The one of the tags that a row has, as it was written; None when it has none of them, or does not exist."""
    if row is None:
        return None
    tag = tag_of(row.encode()).decode()
    if tags == (ANY,):
        return tag
    return next((given for given in tags if (is_weak or not given.startswith("W/")) and _opaque(given) == tag), None)


def _opaque(tag: str) -> str:
    """A tag as the row has it: without the mark of a weak one, and without the name of a coding."""
    return _coding_suffix.sub('"', tag.removeprefix("W/"))
