"""Formats of answers: `json` is a page, all others are exports. A new format is one line in `FORMATS`."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import msgspec

from src.api.compression import parse_weights
from src.api.hints import nearest
from src.api.http import JSON_TYPE, shortened
from src.api.parameters.values import invalid
from src.core.errors import Problem, UnknownName
from src.core.tables import Kind

Rows = AsyncIterator[list[str]]
Columns = Sequence[tuple[str, Kind]]
"""The members of a row in order: what they are called, and what they hold."""
Encode = Callable[[Columns, Rows], AsyncIterator[bytes]]


class Format(NamedTuple):
    """How rows are written."""

    name: str
    media_type: bytes
    encode: Encode | None = None
    """None for pages of JSON."""
    suffix: str = ""
    """Of a file with such rows."""
    is_compressible: bool = True
    is_installed: Callable[[], bool] = lambda: True


async def encode_ndjson(_: Columns, rows: Rows) -> AsyncIterator[bytes]:
    """One row a line, as JSON."""
    async for batch in rows:
        text = "\n".join(batch)
        if text.count("\n") != len(batch) - 1:
            # A document that somebody else wrote may have line feeds between its tokens.
            text = "\n".join(row.replace("\n", " ") for row in batch)
        yield (text + "\n").encode()


def encode_csv(columns: Columns, rows: Rows) -> AsyncIterator[bytes]:
    """RFC 4180 with a head line; null is empty, an empty text is two quotes."""
    return _write_csv(columns, rows, _quote)


def encode_csv_for_excel(columns: Columns, rows: Rows) -> AsyncIterator[bytes]:
    """CSV that a spreadsheet opens as it is: marked as UTF-8, and no cell is taken for a formula."""
    return _write_csv(columns, rows, lambda text: _quote(_defuse(text)), mark=b"\xef\xbb\xbf")


async def _write_csv(
    columns: Columns, rows: Rows, quote: Callable[[str], str], mark: bytes = b""
) -> AsyncIterator[bytes]:
    yield mark + (",".join(quote(name) for name, _ in columns) + "\r\n").encode()
    writer = RowWriter(columns, quote)
    async for batch in rows:
        yield writer.write(batch)


_needs_quotes = re.compile(r'[",\r\n]').search


def _quote(text: str) -> str:
    if text and not _needs_quotes(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _defuse(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


PLAIN_KINDS = (Kind.UUID, Kind.TIMESTAMP, Kind.LOCAL_TIMESTAMP, Kind.DATE)


class RowWriter:
    """Writes rows that come as JSON texts as lines of CSV."""

    def __init__(self, columns: Columns, quote: Callable[[str], str]) -> None:
        self._decode = row_decoder(columns)
        self._cells = [self._cell_of(kind, quote) for _, kind in columns]

    def write(self, rows: list[str]) -> bytes:
        """The lines of some rows."""
        lines = [
            ",".join([cell(value) for cell, value in zip(self._cells, row, strict=True)])
            for row in self._decode(f"[{','.join(rows)}]")
        ]
        return ("\r\n".join(lines) + "\r\n").encode()

    @staticmethod
    def _cell_of(kind: Kind, quote: Callable[[str], str]) -> Callable[[Any], str]:
        if kind is Kind.TEXT:
            return lambda value: "" if value is None else quote(value)
        if kind in PLAIN_KINDS:
            return lambda value: value or ""
        if kind is Kind.JSON:
            return lambda value: "" if value == NULL else quote(document_text(value))
        return lambda value: "" if value == NULL else bytes(value).decode()


NULL = msgspec.Raw(b"null")


def document_text(value: msgspec.Raw) -> str:
    """A piece of JSON as text: a text as it is, everything else as JSON."""
    text = bytes(value).decode()
    return str(msgspec.json.decode(text)) if text[0] == '"' else text


# msgspec takes no member's name with these in a Struct.
_is_odd = re.compile(r'["\\\x00-\x1f]').search


def row_decoder(columns: Columns) -> Callable[[str], Iterator[tuple[Any, ...]]]:
    """A decoder of arrays of rows: texts as such, numbers and documents as the JSON that they are."""
    types: list[Any] = [str | None if kind is Kind.TEXT or kind in PLAIN_KINDS else msgspec.Raw for _, kind in columns]
    # A member whose name is taken as it is would have to be a Python name.
    fields = [f"column{number}" for number in range(len(columns))]
    names = [name for name, _ in columns]
    if any(map(_is_odd, names)):
        return _odd_row_decoder(names, types)
    row = msgspec.defstruct(
        "Row", zip(fields, types, strict=True), rename=dict(zip(fields, names, strict=True)), gc=False
    )
    decode = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
    return lambda text: map(msgspec.structs.astuple, decode(text))


def _odd_row_decoder(names: list[str], types: list[Any]) -> Callable[[str], Iterator[tuple[Any, ...]]]:
    decode = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
    decoders = [msgspec.json.Decoder(type_).decode for type_ in types]

    def decode_rows(text: str) -> Iterator[tuple[Any, ...]]:
        for row in decode(text):
            yield tuple(read(row[name]) for name, read in zip(names, decoders, strict=True))

    return decode_rows


def _columnar(name: str) -> Encode:
    """An encoder that needs pyarrow, which is imported when it is first used, beside other requests: it takes 42 MB."""

    async def encode(columns: Columns, rows: Rows) -> AsyncIterator[bytes]:
        columnar = await asyncio.to_thread(import_module, "src.api.columnar")
        encoders: dict[str, Encode] = {"parquet": columnar.encode_parquet, "arrow": columnar.encode_arrow}
        async for piece in encoders[name](columns, rows):
            yield piece

    return encode


@lru_cache(1)
def has_pyarrow() -> bool:
    """Whether the extra `columnar` is installed."""
    return find_spec("pyarrow") is not None


JSON = Format("json", JSON_TYPE)
FORMATS = {
    each.name: each
    for each in (
        JSON,
        Format("ndjson", b"application/x-ndjson", encode_ndjson, "ndjson"),
        Format("csv", b"text/csv; charset=utf-8", encode_csv, "csv"),
        Format("csv;excel", b"text/csv; charset=utf-8", encode_csv_for_excel, "csv"),
        Format(
            "parquet",
            b"application/vnd.apache.parquet",
            _columnar("parquet"),
            "parquet",
            is_compressible=False,
            is_installed=has_pyarrow,
        ),
        Format("arrow", b"application/vnd.apache.arrow.stream", _columnar("arrow"), "arrows", is_installed=has_pyarrow),
    )
}


def choose_format(named: str | None, accepted: bytes) -> Format:
    """The format that `format=` names, else the one that an `Accept` header likes best, else JSON.

    Raises:
        UnknownName: no such format.
        InvalidRequest: one that is not installed here.
    """
    if named is None:
        return JSON if accepted in (b"", b"*/*", JSON_TYPE) else _by_header(accepted)
    found = FORMATS.get(named)
    if found is None:
        text = f"{shortened(named)} is no format{nearest(named, list(FORMATS))}"
        raise UnknownName(f"format={text}", (Problem("query", "format", text),))
    if not found.is_installed():
        raise invalid("format", named, "is not installed here; the server needs: pip install pyarrow")
    return found


@lru_cache(256)
def _by_header(accepted: bytes) -> Format:
    """The format with the highest weight, the first of several; a header that names none of ours means JSON."""
    by_type = {
        each.media_type.partition(b";")[0].decode(): each for each in reversed(FORMATS.values()) if each.is_installed()
    }
    by_type |= {"*/*": JSON, "application/*": JSON, "application/ndjson": FORMATS["ndjson"], "text/*": FORMATS["csv"]}
    offers = [(weight, by_type[name]) for name, weight in parse_weights(accepted) if name in by_type and weight > 0]
    return max(offers, key=lambda offer: offer[0])[1] if offers else JSON
