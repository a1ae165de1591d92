"""API keys: how they are written, what they are stored as, and which scopes they may have.

A key is `bapi_`, eight characters that name it, 32 random ones, and a checksum of six. Scanners for secrets find it by

    bapi_[0-9A-Za-z]{46}

and the checksum (CRC-32 of all before it, to the base 62) tells them that it is none by chance. No sign in it ends a
word, so that a double click selects it whole.
"""

import secrets
import string
from collections.abc import Iterable
from difflib import get_close_matches
from hashlib import sha256
from typing import NamedTuple
from zlib import crc32

from src.core.access import ADMIN_SCOPE, METRICS_SCOPE, RESEARCHER_SCOPE, SCOPES

PREFIX = "bapi_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, RANDOM_LENGTH, CHECKSUM_LENGTH = 8, 32, 6
LENGTH = len(PREFIX) + ID_LENGTH + RANDOM_LENGTH + CHECKSUM_LENGTH
_SIGNS = frozenset(ALPHABET)


class NewKey(NamedTuple):
    """A key that was just made. Its text is shown once, and stored nowhere."""

    text: str
    key_id: str
    key_hash: str


def make_key() -> NewKey:
    """Make a key, of 190 random bits."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH + RANDOM_LENGTH))
    text = body + checksum_of(body)
    return NewKey(text, _id_of(text), hash_of(text))


def read_key(text: str) -> tuple[str, str] | None:
    """The id and the hash of a key; None for a text that cannot be one."""
    if len(text) != LENGTH or not text.startswith(PREFIX) or not _SIGNS.issuperset(text[len(PREFIX) :]):
        return None
    body, checksum = text[:-CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    return (_id_of(text), hash_of(text)) if checksum == checksum_of(body) else None


def hash_of(text: str) -> str:
    """What is stored of a key: SHA-256, in hexadecimal digits. Nothing slower is needed for 190 random bits."""
    return sha256(text.encode()).hexdigest()


def parse_scopes(scopes: Iterable[str], resources: Iterable[str]) -> frozenset[str]:
    """Check scopes: words such as `admin`, or `events:write` of the resources that there are.

    Raises:
        ValueError: one is unknown; the text names it and the nearest that is known.
    """
    known = {ADMIN_SCOPE, RESEARCHER_SCOPE, METRICS_SCOPE}
    known |= {f"{resource}:{word}" for resource in (*resources, "*") for word in SCOPES}
    given = frozenset(scopes)
    if not given:
        raise ValueError("a key needs a scope, for example events:write")
    for scope in sorted(given - known):
        close = get_close_matches(scope, sorted(known), 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
        raise ValueError(f"{scope!r} is no scope; {hint}")
    return given


def _id_of(text: str) -> str:
    return text[len(PREFIX) : len(PREFIX) + ID_LENGTH]


def checksum_of(body: str) -> str:
    """The six signs after the rest of a key."""
    rest, digits = crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
