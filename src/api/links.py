"""`Link`: where the first, the previous and the next page are (RFC 8288)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from src.api.cursors import make_cursor
from src.api.query import ListRequest
from src.db.connection import Row

# What the client sent reaches a header only as the characters that a URL has.
_NOT_IN_URLS = re.compile(r"[^!-~]|[<>\"\\^`{|}]")


def link_to_pages(path: str, kept: str, offset: int, size: int, *, has_more: bool) -> bytes:
    """The header of a page that has a number; `kept` are the parameters that every page has."""
    page = offset // size + 1
    places = [("prev", f"page={page - 1}")] if page > 1 else []
    if has_more:
        places.append(("next", f"page={page + 1}"))
    return _header(path, kept, places)


def link_to_cursors(path: str, asked: ListRequest, rows: Sequence[Row], *, has_more: bool) -> bytes:
    """The header of a page between cursors, which costs the same at any depth.

    `rows` are in page order, each with its sort values last; `has_more` is in the direction in which they were fetched.
    """
    return _header(path, asked.kept, _cursors(asked, rows, has_more=has_more))


def _cursors(asked: ListRequest, rows: Sequence[Row], *, has_more: bool) -> Iterator[tuple[str, str]]:
    cursor, sort = asked.query.cursor, asked.query.sort
    is_backward = cursor is not None and cursor.is_backward
    if rows and cursor and (has_more or not is_backward):
        yield "prev", f"cursor={make_cursor(sort, rows[0][-1], asked.digest, is_backward=True)}"
    if rows and (has_more or is_backward):
        yield "next", f"cursor={make_cursor(sort, rows[-1][-1], asked.digest, is_backward=False)}"


def _header(path: str, kept: str, places: Iterable[tuple[str, str]]) -> bytes:
    """Addresses are relative, so that they hold behind any proxy."""
    address = _NOT_IN_URLS.sub(_encode, f"{path}?{kept}" if kept else path)
    separator = "&" if kept else "?"
    links = [f'<{address}>; rel="first"']
    links += [f'<{address}{separator}{place}>; rel="{relation}"' for relation, place in places]
    return ", ".join(links).encode()


def _encode(found: re.Match[str]) -> str:
    return quote(found.group().encode("latin-1"))
