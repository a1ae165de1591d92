"""The way in: where a request comes from, who sends it, and whether it may come in now."""

from starlette.types import Scope

from src.api.entrance.access import Policies, Principal
from src.api.entrance.addresses import TrustedProxies, client_address, counted_address, request_scheme
from src.api.entrance.callers import callers_of
from src.api.entrance.limits import Limiter
from src.core.config import Settings

HeaderPairs = tuple[tuple[bytes, bytes], ...]


class Door:
    """Lets requests in, one application's."""

    def __init__(self, settings: Settings, policies: Policies) -> None:
        window_s = settings.rate_limit_window_s
        self._proxies = TrustedProxies(settings.trusted_networks)
        self._callers = callers_of(settings, policies, self._proxies)
        self._per_address = Limiter.or_none("address", settings.rate_limit_per_address, window_s)
        self._per_principal = Limiter.or_none("principal", settings.rate_limit_per_principal, window_s)

    async def identify(self, scope: Scope, *, takes_write_keys: bool = False) -> tuple[Principal, HeaderPairs]:
        """Who asks, and what the answer tells of the limit of their address.

        Raises:
            TooManyRequests: from their address was asked too often.
            Unauthenticated, Unavailable: nobody can be told who they are, or not now.
        """
        headers: HeaderPairs = ()
        if self._per_address:
            headers = _count(self._per_address, counted_address(self.address(scope)))
        return await self._callers.identify(scope, takes_write_keys=takes_write_keys), headers

    def count(self, principal: Principal) -> HeaderPairs:
        """Count a request of theirs; what the answer tells of their limit.

        Raises:
            TooManyRequests: they have asked too often.
        """
        if self._per_principal and principal.name:
            return _count(self._per_principal, f"{principal.role} {principal.name}")
        return ()

    async def identify_again(self, scope: Scope) -> Principal:
        """Who asks, once more, while their request is answered.

        Raises:
            Unauthenticated, TooManyRequests, Unavailable: nobody can be told who they are, or not now.
        """
        return await self._callers.identify(scope)

    def address(self, scope: Scope) -> str:
        """The address that a request comes from, behind the proxies that are trusted."""
        return client_address(scope, self._proxies)

    def read_scheme(self, scope: Scope) -> None:
        """Take over from a trusted proxy whether its client came by https."""
        if self._proxies:
            scope["scheme"] = request_scheme(scope, self._proxies)

    async def close(self) -> None:
        """End what runs in the background."""
        await self._callers.close()


def _count(limiter: Limiter, key: str) -> HeaderPairs:
    verdict = limiter.hit(key)
    if not verdict.is_allowed:
        raise limiter.refusal(verdict)
    return verdict.headers
