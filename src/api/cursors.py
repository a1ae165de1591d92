"""Cursors: opaque tokens that say where in an order a page begins.

A token holds the sort values of the row beside it, which side is asked for, and a digest of the order and
filters it was made with: sent with others it would skip rows in silence, so it is refused.
"""

import base64
import binascii
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NoReturn

import msgspec

from src.core import values
from src.core.errors import InvalidRequest, Problem
from src.core.tables import Kind, SortTerm, TableInfo
from src.db.queries.query import Cursor

MAX_TOKEN_LENGTH = 16_384

_decode_row = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode_token = msgspec.json.Encoder(decimal_format="number").encode
_decode_token = msgspec.json.Decoder(tuple[str, bool, list[Any]], float_hook=Decimal).decode

# How a value that was rendered to JSON becomes the value of a parameter again.
READERS: dict[Kind, Any] = {
    Kind.TEXT: lambda value: values.check_text(value) if isinstance(value, str) else _refuse(),
    Kind.UUID: values.parse_uuid,
    Kind.TIMESTAMP: values.parse_timestamp,
    Kind.LOCAL_TIMESTAMP: values.parse_local_timestamp,
    Kind.DATE: values.parse_date,
    Kind.INTEGER: values.parse_integer,
    Kind.DOUBLE: values.parse_double,
    Kind.NUMERIC: values.parse_numeric,
    Kind.BOOLEAN: lambda value: value if isinstance(value, bool) else _refuse(),
}


def _refuse() -> NoReturn:
    raise ValueError


def make_digest(table: TableInfo, sort: tuple[SortTerm, ...], filters: list[str]) -> str:
    """A short text that differs when the order or a filter differs; `filters` in any order, as they were asked."""
    described = "\n".join([_describe(table, sort), *sorted(filters)])
    return blake2b(described.encode(errors="surrogatepass"), digest_size=6).hexdigest()


@lru_cache(1024)
def _describe(table: TableInfo, sort: tuple[SortTerm, ...]) -> str:
    return f"{table.name} {sort!r}"


def make_cursor(sort: tuple[SortTerm, ...], row: str, digest: str, *, is_backward: bool) -> str:
    """Make the token of the place after a row, or before it, from the row's JSON text."""
    members = _decode_row(row)
    content = _encode_token((digest, is_backward, [members[term.column] for term in sort]))
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_cursor(table: TableInfo, sort: tuple[SortTerm, ...], token: str, digest: str) -> Cursor:
    """Read a token that was made for this order and these filters.

    Raises:
        InvalidRequest: it does not parse, or was made for others.
    """
    try:
        if len(token) > MAX_TOKEN_LENGTH:
            _refuse()
        content = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        made_for, is_backward, row = _decode_token(content)
        values_of_row = tuple(_read(table, term.column, value) for term, value in zip(sort, row, strict=True))
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise _invalid("is not a cursor of this list; follow the links of the answers") from None
    if made_for != digest:
        raise _invalid("was made for other filters or another order; send the parameters it was made with")
    return Cursor(values_of_row, is_backward)


def _read(table: TableInfo, name: str, value: object) -> object:
    column = table.by_name[name]
    if value is None:
        if not column.is_nullable:
            _refuse()
        return None
    return READERS[column.kind](value)


def _invalid(reason: str) -> InvalidRequest:
    return InvalidRequest(f"cursor {reason}", (Problem("query", "cursor", reason),))
