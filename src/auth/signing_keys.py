"""The keys that a token service signs with, as it publishes them; kept fresh in the background."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from time import monotonic
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWK
from jwt.exceptions import PyJWKError

MIN_KEY_BITS = 2048
MAX_BODY_BYTES = 1024 * 1024
# What an answer may say of how long its keys hold; without a word of it they hold for the shortest time.
MIN_AGE_S, MAX_AGE_S = 60.0, 86_400.0
# They are fetched anew when so much of that time has passed.
REFRESH_AT = 0.8
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
# How often an unknown key may force a fetch, by whomever it is asked for.
FORCED_EVERY_S = 30.0

_find_max_age = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})").search

log = logging.getLogger("auth")


class KeysAway(Exception):
    """No keys could be fetched yet."""


class SigningKeys:
    """The RSA keys at an address, by their ids.

    The address may answer Google's map of certificates in PEM, a map of public keys in PEM, or a JWK set.
    """

    def __init__(self, url: str, timeout_s: float = 5.0, clock: Callable[[], float] = monotonic) -> None:
        # It brings 8 MB along, which a service that asks nobody who they are need not have.
        import_module("httpx")
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock
        self._keys: Mapping[str, RSAPublicKey] | None = None
        self._refresh_at = 0.0
        self._forced_at = float("-inf")
        self._wait_s = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> RSAPublicKey | None:
        """The key with this id; None when there is none.

        Raises:
            KeysAway: no keys were ever fetched, and none can be now.
        """
        if self._keys is None:
            await self._fetch_first()
        elif self._clock() >= self._refresh_at:
            self._start()
        assert self._keys is not None
        key = self._keys.get(kid)
        if key is None and self._may_force():
            await asyncio.shield(self._start())
            key = self._keys.get(kid)
        return key

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetching and not self._fetching.done():
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    async def _fetch_first(self) -> None:
        """Wait for the first keys; where they could not be had, try again only after a while."""
        if self._clock() >= self._refresh_at or self._is_fetching:
            await asyncio.shield(self._start())
        if self._keys is None:
            raise KeysAway(f"no keys from {self._url}")

    def _may_force(self) -> bool:
        now = self._clock()
        if now - self._forced_at < FORCED_EVERY_S:
            return False
        self._forced_at = now
        return True

    @property
    def _is_fetching(self) -> bool:
        return self._fetching is not None and not self._fetching.done()

    def _start(self) -> asyncio.Task[None]:
        """The fetch that is under way, or a new one."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        """Fetch the keys; what goes wrong leaves those that are there."""
        import httpx  # noqa: PLC0415  loaded already, where anybody is asked who they are

        try:
            async with asyncio.timeout(self._timeout_s):
                self._keys, age_s = await _fetch_keys(self._url, self._timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            self._wait_s = min(LONGEST_WAIT_S, max(FIRST_WAIT_S, 2 * self._wait_s))
            self._refresh_at = self._clock() + self._wait_s
            log.warning("The keys at %s could not be fetched (%s); next try in %g s", self._url, error, self._wait_s)
        else:
            self._wait_s = 0.0
            self._refresh_at = self._clock() + REFRESH_AT * age_s


async def _fetch_keys(url: str, timeout_s: float) -> tuple[Mapping[str, RSAPublicKey], float]:
    """The keys at an address, and for how many seconds they hold.

    Raises:
        httpx.HTTPError, ValueError: there are none to be had.
    """
    import httpx  # noqa: PLC0415

    async with (
        httpx.AsyncClient(timeout=timeout_s, follow_redirects=False) as client,
        client.stream("GET", url) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"it answered {answer.status_code}")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise ValueError("its answer is too large")
    keys = _read_keys(bytes(body))
    if not keys:
        raise ValueError("its answer has no key")
    return keys, _age_of(answer.headers)


def _read_keys(body: bytes) -> dict[str, RSAPublicKey]:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("its answer is no JSON object") from None
    if isinstance(found.get("keys"), list):
        given = {str(each.get("kid")): each for each in found["keys"] if isinstance(each, dict)}
    else:
        given = found
    keys = {kid: _read_key(each) for kid, each in given.items()}
    return {kid: key for kid, key in keys.items() if key is not None}


def _read_key(given: Any) -> RSAPublicKey | None:
    """A key that is long enough; None for anything else."""
    try:
        if isinstance(given, dict):
            key: Any = PyJWK(given, algorithm="RS256").key
        elif "BEGIN CERTIFICATE" in given:
            key = load_pem_x509_certificate(given.encode()).public_key()
        else:
            key = load_pem_public_key(given.encode())
    except (ValueError, TypeError, AttributeError, PyJWKError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= MIN_KEY_BITS else None


def _age_of(headers: Mapping[str, str]) -> float:
    found = _find_max_age(headers.get("cache-control", ""))
    spent = headers.get("age", "0")
    age_s = float(found.group(1)) - (float(spent) if spent.isdecimal() else 0.0) if found else 0.0
    return min(MAX_AGE_S, max(MIN_AGE_S, age_s))
