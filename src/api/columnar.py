"""Parquet and Arrow, with real types; needs pyarrow (the extra `columnar`)."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from src.api.formats import NULL, Columns, Rows, document_text, row_decoder
from src.core.tables import Kind

# A group of rows is in memory as JSON, as Python values, as Arrow and compressed, all at once.
ROWS_PER_GROUP = 2048
CHARACTERS_PER_GROUP = 4_000_000

TYPES: dict[Kind, Any] = {
    Kind.TEXT: pa.string(),
    Kind.UUID: pa.string(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.LOCAL_TIMESTAMP: pa.timestamp("us"),
    Kind.DATE: pa.date32(),
    Kind.INTEGER: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.NUMERIC: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.JSON: pa.string(),
}
# Kinds whose JSON is a text that Arrow reads.
TEXTS = (Kind.TIMESTAMP, Kind.LOCAL_TIMESTAMP, Kind.DATE)

MakeWriter = Callable[[Any, pa.Schema], Any]


async def encode_parquet(columns: Columns, rows: Rows) -> AsyncIterator[bytes]:
    """One Parquet file, compressed inside, with a row group for every few thousand rows."""
    async for piece in _encode(
        columns, rows, lambda sink, schema: pa.parquet.ParquetWriter(sink, schema, compression="zstd")
    ):
        yield piece


async def encode_arrow(columns: Columns, rows: Rows) -> AsyncIterator[bytes]:
    """One Arrow stream (IPC), with a record batch for every few thousand rows."""
    async for piece in _encode(columns, rows, pa.ipc.new_stream):
        yield piece


async def _encode(columns: Columns, rows: Rows, make_writer: MakeWriter) -> AsyncIterator[bytes]:
    schema = pa.schema([(name, TYPES[kind]) for name, kind in columns])
    decode = row_decoder(columns)
    sink = _Sink()
    writer = make_writer(pa.PythonFile(sink, mode="w"), schema)
    # The head of a Parquet file is written at once, that of an Arrow stream with its first rows.
    yield sink.take()
    loop = asyncio.get_running_loop()
    # Arrow works without the interpreter's lock, so other requests go on meanwhile. One thread for all groups: what
    # each thread once allocated, it keeps.
    with ThreadPoolExecutor(1, thread_name_prefix="columnar") as thread:
        async for texts in _in_groups(rows):
            await loop.run_in_executor(thread, _write, writer, columns, schema, decode, texts)
            yield sink.take()
        await loop.run_in_executor(thread, writer.close)
    yield sink.take()


async def _in_groups(rows: Rows) -> AsyncIterator[list[str]]:
    group: list[str] = []
    size = 0
    async for batch in rows:
        group += batch
        size += sum(map(len, batch))
        if len(group) >= ROWS_PER_GROUP or size >= CHARACTERS_PER_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _write(
    writer: Any,
    columns: Columns,
    schema: pa.Schema,
    decode: Callable[[str], Iterator[tuple[Any, ...]]],
    texts: list[str],
) -> None:
    values = zip(*decode(f"[{','.join(texts)}]"), strict=True)
    arrays = [_array(kind, column) for (_, kind), column in zip(columns, values, strict=True)]
    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _array(kind: Kind, column: tuple[Any, ...]) -> pa.Array:
    if kind in TEXTS:
        return pa.array(column, pa.string()).cast(TYPES[kind])
    if kind in (Kind.TEXT, Kind.UUID):
        return pa.array(column, pa.string())
    if kind is Kind.JSON:
        return pa.array([None if value == NULL else document_text(value) for value in column], pa.string())
    decoded = msgspec.json.decode(b"[" + b",".join(map(bytes, column)) + b"]")
    if TYPES[kind] == pa.float64():
        # A double without a fraction is an integer in JSON.
        decoded = [None if value is None else float(value) for value in decoded]
    return pa.array(decoded, TYPES[kind])


class _Sink(io.RawIOBase):
    """A file that is read from its beginning while it is written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        """What was written since it was last asked for."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
