"""`Link`: where the first, the previous and the next page are (RFC 8288)."""

import re
from urllib.parse import quote

from src.api.cursors import make_cursor
from src.api.query import ListRequest
from src.core.tables import TableInfo

# What the client sent reaches a header only as the characters that a URL has.
_NOT_IN_URLS = re.compile(r"[^!-~]|[<>\"\\^`{|}]")


def link_header(table: TableInfo, path: str, asked: ListRequest, rows: list[str], *, has_more: bool) -> bytes:
    """The header of a page; `rows` in page order, `has_more` in the direction in which the page was fetched.

    Addresses are relative, so that they hold behind any proxy. The next page is a cursor, which costs the same
    at any depth, unless the request said `page`.
    """
    links = [_link(path, asked.kept, "", "first")]
    if asked.has_page:
        page = asked.query.offset // asked.query.size + 1
        if page > 1:
            links.append(_link(path, asked.kept, f"page={page - 1}", "prev"))
        if has_more:
            links.append(_link(path, asked.kept, f"page={page + 1}", "next"))
        return ", ".join(links).encode()
    cursor = asked.query.cursor
    has_previous = has_more if cursor and cursor.is_backward else cursor is not None
    has_next = has_more if not (cursor and cursor.is_backward) else True
    if rows and has_previous:
        token = make_cursor(table, asked.query, rows[0], is_backward=True)
        links.append(_link(path, asked.kept, f"cursor={token}", "prev"))
    if rows and has_next:
        token = make_cursor(table, asked.query, rows[-1], is_backward=False)
        links.append(_link(path, asked.kept, f"cursor={token}", "next"))
    return ", ".join(links).encode()


def _link(path: str, kept: str, place: str, relation: str) -> str:
    query = "&".join(part for part in (kept, place) if part)
    address = f"{path}?{query}" if query else path
    return f'<{_NOT_IN_URLS.sub(_encode, address)}>; rel="{relation}"'


def _encode(found: re.Match[str]) -> str:
    return quote(found.group().encode("latin-1"))
