"""What SQLite cannot do by itself, or not in time: functions that every reading connection has."""

import math
from functools import lru_cache
from typing import Any

import apsw
import msgspec

from src.db.queries.filters import MATCH_FUNCTION
from src.db.queries.measures import BUCKET_FUNCTION, FINITE_FUNCTION
from src.db.time_buckets import time_bucket


def add_functions(connection: apsw.Connection) -> None:
    """Add them to a connection."""
    functions: dict[str, Any] = {
        BUCKET_FUNCTION: time_bucket,
        MATCH_FUNCTION: text_matches,
        FINITE_FUNCTION: check_finite,
    }
    for name, function in functions.items():
        connection.create_scalar_function(name, function, deterministic=True)


def text_matches(text: Any, parts: str, is_folded: int) -> bool | None:
    """Whether a text is made of these parts with anything between them, in a time that grows with its length only.

    SQLite's own GLOB takes the product of both lengths, in one step that no limit of time interrupts.
    """
    if text is None:
        return None
    first, *rest = _parts(parts, is_folded)
    content: bytes = text.encode()
    if is_folded:
        # Of bytes, only A-Z have another case.
        content = content.lower()
    if not rest:
        return content == first
    place, end = len(first), len(content) - len(rest[-1])
    if place > end or not (content.startswith(first) and content.endswith(rest[-1])):
        return False
    for part in rest[:-1]:
        found = content.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


@lru_cache(256)
def _parts(text: str, is_folded: int) -> list[bytes]:
    parts = [part.encode() for part in msgspec.json.decode(text, type=list[str])]
    return [part.lower() for part in parts] if is_folded else parts


def check_finite(number: float | None) -> float | None:
    """Refuse what a sum of doubles became that was too large; JSON has no form for it.

    Raises:
        ValueError: it is infinite, or no number.
    """
    if number is not None and not math.isfinite(number):
        raise ValueError("the sum of these numbers is larger than a double")
    return number
