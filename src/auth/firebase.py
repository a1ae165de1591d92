"""Firebase ID tokens: what one must be like to tell who somebody is.

The rules are those of https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library.
"""

import re
from collections.abc import Callable, Mapping
from time import time
from typing import Any, NamedTuple

import jwt
import msgspec

from src.auth.signing_keys import SigningKeys

ISSUER = "https://securetoken.google.com/"
MAX_TOKEN_BYTES = 8192
MAX_USER_ID_CHARACTERS = 128
LEEWAY_S = 30
# Instants past the year 5000 are no instants.
MAX_INSTANT_S = 100_000_000_000
# The higher role comes first.
ROLES = ("admin", "researcher")

_match_token = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*").fullmatch


class TokenRefused(Exception):
    """A credential does not count; the text says why, for logs alone, and never repeats it."""


class Claims(NamedTuple):
    """What a good token says."""

    user_id: str
    auth_time_s: float
    """When the person signed in, in seconds of Unix time."""
    expires_s: float
    role: str
    """`researcher`, `admin`, or nothing."""


class FirebaseVerifier:
    """Checks the tokens of one Firebase project."""

    def __init__(self, project_id: str, keys: SigningKeys, clock: Callable[[], float] = time) -> None:
        self._project_id = project_id
        self._keys = keys
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """What a token says.

        Raises:
            TokenRefused: it does not count.
            KeysAway: nobody can tell now.
        """
        header = _read_header(token)
        if header.get("alg") != "RS256":
            raise TokenRefused("it is not signed with RS256")
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise TokenRefused("it names no key, as custom tokens do")
        if "crit" in header:
            raise TokenRefused("it demands an extension")
        key = await self._keys.find(kid)
        if key is None:
            raise TokenRefused("it is signed with a key that is not, or no longer, one of Google's")
        try:
            jwt.api_jws.decode(token, key, algorithms=["RS256"])
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRefused("its signature is wrong") from None
        return _check(token, self._project_id, self._clock())


class EmulatorVerifier:
    """Reads the tokens of Firebase's emulator, which nobody signs: never in a service that others reach."""

    def __init__(self, project_id: str, clock: Callable[[], float] = time) -> None:
        self._project_id = project_id
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """What a token says.

        Raises:
            TokenRefused: it does not count, or is signed.
        """
        if _read_header(token).get("alg") != "none" or not token.endswith("."):
            raise TokenRefused("it is no token of the emulator")
        return _check(token, self._project_id, self._clock())


def _read_header(token: str) -> Mapping[str, Any]:
    if len(token) > MAX_TOKEN_BYTES or not _match_token(token):
        raise TokenRefused("it is no token")
    try:
        header: Mapping[str, Any] = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenRefused("its head cannot be read") from None
    return header


def _read_claims(token: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = msgspec.json.decode(
            jwt.utils.base64url_decode(token.split(".")[1]), type=dict[str, Any]
        )
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise TokenRefused("its claims are no JSON object") from None
    return claims


def _check(token: str, project_id: str, now_s: float) -> Claims:
    claims = _read_claims(token)
    if claims.get("aud") != project_id:
        raise TokenRefused("it is for another project")
    if claims.get("iss") != ISSUER + project_id:
        raise TokenRefused("it was issued by somebody else, as session cookies and custom tokens are")
    user_id = claims.get("sub")
    if not isinstance(user_id, str) or not 1 <= len(user_id) <= MAX_USER_ID_CHARACTERS or "\x00" in user_id:
        raise TokenRefused("it names nobody")
    expires_s = _instant(claims, "exp")
    if expires_s <= now_s - LEEWAY_S:
        raise TokenRefused("it has expired")
    if _instant(claims, "iat") > now_s + LEEWAY_S:
        raise TokenRefused("it was issued in the future")
    if "nbf" in claims and _instant(claims, "nbf") > now_s + LEEWAY_S:
        raise TokenRefused("it does not count yet")
    auth_time_s = _instant(claims, "auth_time")
    if auth_time_s > now_s + LEEWAY_S:
        raise TokenRefused("its person signed in in the future")
    return Claims(user_id, auth_time_s, expires_s + LEEWAY_S, _role_of(claims))


def _instant(claims: Mapping[str, Any], name: str) -> float:
    """A claim in seconds of Unix time."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_INSTANT_S:
        raise TokenRefused(f"{name} is no instant")
    return value


def _role_of(claims: Mapping[str, Any]) -> str:
    """The highest role that custom claims name: `role`, a list of `roles`, or a claim of its name that is true."""
    named = claims.get("roles")
    roles = [claims.get("role"), *(named if isinstance(named, list) else ())]
    return next((role for role in ROLES if role in roles or claims.get(role) is True), "")
