"""`Link`: where the first, the previous and the next page are (RFC 8288)."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from src.api.cursors import make_cursor
from src.api.query import ListRequest

# What the client sent reaches a header only as the characters that a URL has.
_NOT_IN_URLS = re.compile(r"[^!-~]|[<>\"\\^`{|}]")


def link_header(path: str, asked: ListRequest, rows: list[str], *, has_more: bool) -> bytes:
    """The header of a page; `rows` in page order, `has_more` in the direction in which the page was fetched.

    Addresses are relative, so that they hold behind any proxy. The next page is a cursor, which costs the same
    at any depth, unless the request said `page`.
    """
    address = f"{path}?{asked.kept}" if asked.kept else path
    address = _NOT_IN_URLS.sub(_encode, address)
    places = _pages(asked, has_more=has_more) if asked.has_page else _cursors(asked, rows, has_more=has_more)
    separator = "&" if asked.kept else "?"
    links = [f'<{address}>; rel="first"']
    links += [f'<{address}{separator}{place}>; rel="{relation}"' for relation, place in places]
    return ", ".join(links).encode()


def _pages(asked: ListRequest, *, has_more: bool) -> Iterator[tuple[str, str]]:
    page = asked.query.offset // asked.query.size + 1
    if page > 1:
        yield "prev", f"page={page - 1}"
    if has_more:
        yield "next", f"page={page + 1}"


def _cursors(asked: ListRequest, rows: list[str], *, has_more: bool) -> Iterator[tuple[str, str]]:
    cursor, sort = asked.query.cursor, asked.query.sort
    is_backward = cursor is not None and cursor.is_backward
    if rows and cursor and (has_more or not is_backward):
        yield "prev", f"cursor={make_cursor(sort, rows[0], asked.digest, is_backward=True)}"
    if rows and (has_more or is_backward):
        yield "next", f"cursor={make_cursor(sort, rows[-1], asked.digest, is_backward=False)}"


def _encode(found: re.Match[str]) -> str:
    return quote(found.group().encode("latin-1"))
