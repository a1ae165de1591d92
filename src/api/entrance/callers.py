"""Who asks: what a request says of its caller, made into a principal."""

import logging
from base64 import b64decode
from hashlib import blake2b
from time import time
from typing import NamedTuple, Protocol

from starlette.routing import Match, Mount
from starlette.types import Scope

from src.api.dependencies import MODEL_MAP
from src.api.entrance.access import NOBODY, WHO_ARE_YOU, Policies, Principal
from src.api.entrance.addresses import TrustedProxies, client_address, counted_address, why_not_local
from src.api.entrance.limits import Limiter
from src.auth.accounts import Accounts
from src.auth.api_keys import PREFIX
from src.auth.firebase import Claims, EmulatorVerifier, FirebaseVerifier, TokenRefused
from src.auth.key_store import KeyStore
from src.auth.signing_keys import KeysAway, SigningKeys
from src.auth.timed_cache import TimedCache
from src.core.access import Role, role_of_scopes
from src.core.config import Settings
from src.core.errors import NotServedHere, Unauthenticated, Unavailable
from src.db.connection import Database
from src.models import api_keys

log = logging.getLogger("auth")

MAX_TOKENS = 10_000
# Two names for a caller's role in tokens and in the users' table; the higher one comes last.
ROLES = {"researcher": Role.RESEARCHER, "admin": Role.ADMIN}


class Callers(Protocol):
    """Tells who a caller is."""

    async def identify(self, scope: Scope, *, takes_write_keys: bool = False) -> Principal:
        """Who sent a request; where the route takes write keys, an API key may stand as a user name.

        Raises:
            Unauthenticated: credentials that do not count.
            TooManyRequests: too many of those came from the caller's address.
            Unavailable: nobody can be served in this way, or now.
        """

    async def close(self) -> None:
        """End what runs in the background."""


class Anybody:
    """Whoever reaches the service, where its operator said so; without that, whoever is on this machine."""

    def __init__(self, policies: Policies, *, must_be_local: bool) -> None:
        self._anybody = policies.principal(Role.ANYBODY)
        self._must_be_local = must_be_local

    async def identify(self, scope: Scope, *, takes_write_keys: bool = False) -> Principal:
        if self._must_be_local and (reason := why_not_local(scope)):
            raise NotServedHere(
                f"this service has no authentication and answers its own machine only; of this request, {reason}. Set "
                "FIREBASE_PROJECT_ID or AUTHENTICATION=on, or ALLOW_UNAUTHENTICATED=1 if everybody may do everything"
            )
        return self._anybody

    async def close(self) -> None:
        pass


class Known:
    """Those who bring a Firebase ID token or an API key."""

    def __init__(self, settings: Settings, policies: Policies, proxies: TrustedProxies) -> None:
        self._policies = policies
        self._proxies = proxies
        self._failures = Limiter.or_none(
            "authentication", settings.auth_failures_per_address, settings.auth_failures_window_s
        )
        self._takes_emulator = settings.takes_emulator_tokens
        self._signing_keys = SigningKeys(settings.firebase_keys_url)
        self._verifier = (
            EmulatorVerifier(settings.firebase_project_id)
            if self._takes_emulator
            else FirebaseVerifier(settings.firebase_project_id, self._signing_keys)
        )
        self._has_firebase = bool(settings.firebase_project_id)
        self._claims: TimedCache[Claims] = TimedCache(MAX_TOKENS)
        self._accounts = Accounts(MODEL_MAP["users"].info, settings.credentials_cache_s)
        self._keys = KeyStore(api_keys.TABLE.info, settings.credentials_cache_s)

    async def identify(self, scope: Scope, *, takes_write_keys: bool = False) -> Principal:
        credentials = read_credentials(scope, takes_write_keys=takes_write_keys)
        if credentials is None:
            return NOBODY
        try:
            if credentials.is_key:
                return await self._find_service(scope, credentials.text)
            return await self._find_person(scope, credentials.text)
        except TokenRefused as refusal:
            if self._failures:
                self._failures.hit(self._counted(scope))
            raise Unauthenticated(WHO_ARE_YOU, str(refusal)) from None
        except KeysAway as error:
            raise Unavailable("the keys that tokens are signed with cannot be fetched") from error

    async def close(self) -> None:
        await self._signing_keys.close()
        await self._keys.close()

    async def _find_service(self, scope: Scope, text: str) -> Principal:
        key = await self._keys.find(_database(scope), text, lambda: self._check_failures(scope))
        if key is None:
            raise TokenRefused("no such API key, or one that has ended")
        return self._policies.principal(role_of_scopes(key.scopes), key.key_id, key.scopes)

    async def _find_person(self, scope: Scope, token: str) -> Principal:
        claims = await self._verify(scope, token)
        account = await self._accounts.find(_database(scope), claims.user_id)
        if account.is_disabled:
            raise TokenRefused(f"the account {claims.user_id} is disabled")
        if claims.auth_time_s < account.valid_after_s:
            raise TokenRefused(f"the tokens of {claims.user_id} were revoked")
        role = max((claims.role, account.role), key=lambda name: list(ROLES).index(name) if name in ROLES else -1)
        return self._policies.principal(ROLES.get(role, Role.USER), claims.user_id)

    async def _verify(self, scope: Scope, token: str) -> Claims:
        """The claims of a token, whose signature is checked once."""
        if self._takes_emulator and (reason := why_not_local(scope)):
            raise TokenRefused(f"tokens of the emulator count on this machine only: {reason}")
        fingerprint = blake2b(token.encode(), digest_size=16).digest()
        claims = self._claims.get(fingerprint)
        if claims is None:
            self._check_failures(scope)
            if not self._has_firebase:
                raise TokenRefused("FIREBASE_PROJECT_ID is not set, so no token counts")
            claims = await self._verifier.verify(token)
            self._claims.put(fingerprint, claims, claims.expires_s - time())
        return claims

    def _check_failures(self, scope: Scope) -> None:
        """Refuse to look at credentials from where too many wrong ones came.

        Raises:
            TooManyRequests: it is refused.
        """
        if self._failures and not (verdict := self._failures.peek(self._counted(scope))).is_allowed:
            raise self._failures.refusal(verdict, "failed authentications from this address")

    def _counted(self, scope: Scope) -> str:
        return counted_address(client_address(scope, self._proxies))


class Credentials(NamedTuple):
    """What a caller shows."""

    text: str
    is_key: bool
    """An API key; else a Firebase ID token."""


def read_credentials(scope: Scope, *, takes_write_keys: bool = False) -> Credentials | None:
    """What a request shows of its caller; None where it shows nothing.

    An API key stands in `X-API-Key`, or as a bearer token for clients that know nothing else; or as the user name of
    HTTP Basic, where the route takes write keys. Nowhere else: browsers send those by themselves, also for other pages.

    Raises:
        Unauthenticated: both headers, one of them twice, or an unknown scheme.
    """
    found: list[tuple[bytes, bytes]] = [
        (name, value) for name, value in scope["headers"] if name in (b"authorization", b"x-api-key")
    ]
    if not found:
        return None
    if len(found) > 1:
        raise Unauthenticated(WHO_ARE_YOU, "credentials are given twice")
    name, value = found[0]
    text: str = value.decode("latin-1").strip()
    if name == b"x-api-key":
        return Credentials(text, is_key=True)
    scheme, _, token = text.partition(" ")
    if takes_write_keys and scheme.lower() == "basic":
        return Credentials(_user_name(token), is_key=True)
    if scheme.lower() != "bearer":
        raise Unauthenticated(WHO_ARE_YOU, "an unknown scheme of authorization")
    token = token.strip()
    return Credentials(token, is_key=token.startswith(PREFIX))


def _user_name(token: str) -> str:
    """The user name in the credentials of HTTP Basic; empty where there is none."""
    try:
        return b64decode(token.strip(), validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def callers_of(settings: Settings, policies: Policies, proxies: TrustedProxies) -> Callers:
    """What tells who the callers of a service with these settings are."""
    if settings.firebase_auth_emulator_host and not (settings.is_authenticated and settings.takes_emulator_tokens):
        log.warning(
            "FIREBASE_AUTH_EMULATOR_HOST counts for nothing: it needs FIREBASE_PROJECT_ID, ENVIRONMENT=development "
            "and HOST on this machine"
        )
    if settings.is_authenticated:
        return Known(settings, policies, proxies)
    if settings.allow_unauthenticated:
        log.warning("ALLOW_UNAUTHENTICATED=1: whoever reaches this service can read and change every row")
    return Anybody(policies, must_be_local=not settings.allow_unauthenticated)


def _database(scope: Scope) -> Database:
    database: Database = scope["app"].state.database
    return database


# What FastAPI itself serves: pages and the document that describe the API, without a row.
PUBLIC_PAGES = frozenset({"/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"})


def is_for_admins(scope: Scope) -> bool:
    """Whether a path that is not answered directly has a route which said nothing of whom it answers."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if path in PUBLIC_PAGES:
        return False
    matches = ((route, route.matches(scope)[0]) for route in scope["app"].router.routes)
    return any(match is not Match.NONE and not isinstance(route, Mount) for route, match in matches)
