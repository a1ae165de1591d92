"""Compression of answers: zstd, else gzip, where the client takes it and there is something to gain."""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

import zstandard

_match_weight = re.compile(r"(0(\.\d{0,3})?|1(\.0{0,3})?)\Z", re.ASCII).match

# Below this, a head costs more than a body saves.
MIN_BYTES = 1024
ZSTD_LEVEL = 3
GZIP_LEVEL = 4
GZIP_WINDOW = 31


class Compressor(Protocol):
    """Compresses a body that comes in pieces."""

    def compress(self, data: bytes, /) -> bytes:
        """Take a piece; what is ready to be sent."""

    def flush(self) -> bytes:
        """The rest."""


class Coding(NamedTuple):
    """A content coding."""

    name: bytes
    compressor: Callable[[], Compressor]
    """Makes what compresses one body; bodies that are sent at the same time must not share it."""

    def compress(self, body: bytes) -> bytes:
        """Compress a whole body."""
        compressor = self.compressor()
        return compressor.compress(body) + compressor.flush()


# The first that a client takes is used.
CODINGS = (
    Coding(b"zstd", lambda: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()),
    Coding(b"gzip", lambda: zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW)),
)


@lru_cache(256)
def choose_coding(accepted: bytes) -> Coding | None:
    """The coding for a client by its `Accept-Encoding`; None where it takes none of ours, or prefers none."""
    weights = dict(parse_weights(accepted))
    anything = weights.get("*", 0.0)
    offers = [(weights.get(coding.name.decode(), anything), coding) for coding in CODINGS]
    weight, best = max(offers, key=lambda offer: offer[0])
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def parse_weights(header: bytes) -> list[tuple[str, float]]:
    """Read the list of an Accept header: per item its weight, 0 to 1; what cannot be read counts as refused."""
    found = []
    for item in header.decode("latin-1").split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        found.append((name, float(weight) if _match_weight(weight) else 0.0))
    return found
