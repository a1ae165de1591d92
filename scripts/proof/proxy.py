"""A proxy that lets requests through and cuts the connection when the answer comes.

The service has done what it was asked then, and whoever asked does not know.
"""

import asyncio
import threading
from random import Random

BLOCK_BYTES = 65536
# Of the answers to writing requests; those that come through let the phones get on.
CHANCE_OF_CUT = 0.5
# Of the cuts: those that come in the middle of the answer.
CHANCE_OF_A_PART = 0.2


class CuttingProxy:
    """A proxy on a free port of the loopback, in a thread of its own."""

    def __init__(self, upstream_port: int, seed: int) -> None:
        self._upstream_port = upstream_port
        self._chance = Random(f"cuts-{seed}")  # noqa: S311 - not for secrets
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.cuts: dict[str, int] = {"batches": 0, "single events": 0, "other rows": 0}

    @property
    def total(self) -> int:
        """How many connections were cut."""
        return sum(self.cuts.values())

    def start(self) -> int:
        """Start to listen; the port."""
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.transport.abort()
            return
        passage = Passage(self, writer, upstream_writer)
        try:
            await asyncio.gather(passage.ask(reader), passage.answer(upstream_reader))
        except OSError:
            pass
        finally:
            writer.transport.abort()
            upstream_writer.transport.abort()

    def decides_to_cut(self, kind: str | None) -> bool:
        """Whether to cut now, and count it."""
        if kind is None or self._chance.random() >= CHANCE_OF_CUT:
            return False
        self.cuts[kind] += 1
        return True

    def part_of(self, answer: bytes) -> bytes:
        """What comes through of an answer that is cut."""
        return answer[: len(answer) // 2] if self._chance.random() < CHANCE_OF_A_PART else b""


class Passage:
    """One connection through the proxy."""

    def __init__(self, proxy: CuttingProxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._kind: str | None = None

    async def ask(self, reader: asyncio.StreamReader) -> None:
        """Pass requests on, and remember what kind the last one is."""
        while data := await reader.read(BLOCK_BYTES):
            self._kind = kind_of(data, self._kind)
            self._server.write(data)
            await self._server.drain()
        self._server.transport.abort()

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """Pass answers on, or cut."""
        while data := await reader.read(BLOCK_BYTES):
            if self._proxy.decides_to_cut(self._kind):
                self._client.write(self._proxy.part_of(data))
                break
            self._client.write(data)
            await self._client.drain()
        self._client.close()
        self._server.transport.abort()


def kind_of(data: bytes, known: str | None) -> str | None:
    """What the request that begins here writes; None for one that reads, `known` where none begins."""
    if data.startswith(b"POST /events/-/batch"):
        return "batches"
    if data.startswith(b"POST /events "):
        return "single events"
    if data.startswith((b"POST /", b"PUT /")):
        return "other rows"
    return None if data.startswith(b"GET /") else known
