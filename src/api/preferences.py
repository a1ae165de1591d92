"""What a client would like of an answer, or of a write: the `Prefer` header (RFC 7240), with PostgREST's words."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from src.api.http import shortened
from src.core.errors import InvalidRequest, Problem

# Preferences, and the values that each takes; a number is any from 1. What is not known is ignored, as the standard
# says, unless `handling=strict` stands beside it.
IGNORE, MERGE = "ignore-duplicates", "merge-duplicates"
MINIMAL, REPRESENTATION = "minimal", "representation"
NUMBER = ("a number from 1",)
VALUES: dict[str, tuple[str, ...]] = {
    "count": ("exact", "estimated"),
    "return": (REPRESENTATION, MINIMAL, "headers-only"),
    "resolution": (IGNORE, MERGE),
    "tx": ("commit", "rollback"),
    "max-affected": NUMBER,
    "handling": ("strict", "lenient"),
}
# What these say decides what is written, so a value that is not known must not be passed over.
BINDING = ("resolution", "tx", "max-affected")


class Preferences(NamedTuple):
    """The preferences of a request that are known, by name; empty for one that was not given."""

    counted: str = ""
    returned: str = ""
    resolution: str = ""
    tx: str = ""
    max_affected: str = ""

    @property
    def is_rehearsal(self) -> bool:
        """Whether everything is to be tried and nothing is to be stored."""
        return self.tx == "rollback"

    @property
    def is_minimal(self) -> bool:
        """Whether the answer needs no body."""
        return self.returned in (MINIMAL, "headers-only")

    def applied(self, *names: str) -> tuple[tuple[bytes, bytes], ...]:
        """The header that says which preferences were heeded, among those of a kind of request."""
        heeded = {"return": self.returned, "resolution": self.resolution, "tx": self.tx}
        heeded["max-affected"] = self.max_affected
        text = ", ".join(f"{name}={heeded[name]}" for name in names if heeded[name])
        return ((b"preference-applied", text.encode()),) if text else ()


NONE = Preferences()


@lru_cache(1024)
def read_preferences(header: bytes) -> Preferences:
    """Read a `Prefer` header.

    Raises:
        InvalidRequest: a value that its preference does not take, where that would be dangerous to ignore; with
            `handling=strict`, anything that is not known.
    """
    if not header:
        return NONE
    given: dict[str, str] = {}
    for name, value in _split(header.decode("latin-1")):
        given.setdefault(name, value)
    is_strict = given.get("handling") == "strict"
    known: dict[str, str] = {}
    for name, value in given.items():
        if name in VALUES and _takes(name, value):
            known[name] = value
        elif is_strict or name in BINDING:
            raise _refused(name, value)
    return Preferences(
        known.get("count", ""),
        known.get("return", ""),
        known.get("resolution", ""),
        known.get("tx", ""),
        known.get("max-affected", ""),
    )


def _split(header: str) -> Iterator[tuple[str, str]]:
    for preference in header.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip():
            yield name.strip().lower(), value.strip().strip('"')


def _takes(name: str, value: str) -> bool:
    if VALUES[name] is NUMBER:
        return value.isascii() and value.isdigit() and len(value) < 19 and int(value) > 0
    return value in VALUES[name]


def _refused(name: str, value: str) -> InvalidRequest:
    reason = f"{shortened(name)} takes {' or '.join(VALUES[name])}" if name in VALUES else "this preference is unknown"
    text = f"{name}={value}" if value else name
    return InvalidRequest(f"Prefer: {shortened(text)}: {reason}", (Problem("header", "Prefer", reason),))
