"""How many requests each principal and each address may make, and what answers tell of it.

A window begins with a key's first request and ends `window_s` seconds later; at most `amount` requests are let through
in it. So `t` of the `RateLimit` header is exact, and a client that goes on asking is let in again when it has passed.
The price is that a client may make its requests at the end of one window and the start of the next.

Counts live in the memory of one worker, for its event loop alone.
"""

from collections import OrderedDict
from math import ceil
from time import monotonic
from typing import NamedTuple, Self

from limits import RateLimitItemPerSecond
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from src.core.errors import TooManyRequests

MAX_KEYS = 100_000


class Verdict(NamedTuple):
    """What a limit says of a request."""

    is_allowed: bool
    headers: tuple[tuple[bytes, bytes], ...]
    """`RateLimit-Policy` and `RateLimit`, for the answer (draft-ietf-httpapi-ratelimit-headers-10)."""
    retry_after_s: int
    """Seconds until the window has passed, rounded up: when to come again after a refusal."""


class Limiter:
    """A limit on requests, counted per key. Counting one and telling of it takes 4 µs."""

    def __init__(self, name: str, amount: int, window_s: int, max_keys: int = MAX_KEYS) -> None:
        self.amount = amount
        self.window_s = window_s
        self._item = RateLimitItemPerSecond(amount, window_s)
        self._counts = WindowCounts(max_keys)
        self._strategy = FixedWindowRateLimiter(self._counts)
        self._policy = (b"ratelimit-policy", f'"{name}";q={amount};w={window_s}'.encode())
        self._name = name.encode()

    @classmethod
    def or_none(cls, name: str, amount: int, window_s: int) -> Self | None:
        """The limit that settings ask for; none where the amount is 0."""
        return cls(name, amount, window_s) if amount else None

    @property
    def key_count(self) -> int:
        """How many keys are in memory."""
        return len(self._counts)

    def hit(self, key: str) -> Verdict:
        """Count a request, and say whether it may go on."""
        return self._verdict(key, is_allowed=self._strategy.hit(self._item, key))

    def peek(self, key: str) -> Verdict:
        """Say whether one more request might go on, and count nothing."""
        return self._verdict(key, is_allowed=self._strategy.test(self._item, key))

    def refusal(self, verdict: Verdict, what: str = "requests") -> TooManyRequests:
        """The error that answers a request which the limit did not allow."""
        wait_s = verdict.retry_after_s
        detail = f"too many {what}: the limit is {self.amount} in {self.window_s} s; try again in {wait_s} s"
        return TooManyRequests(detail, wait_s, verdict.headers)

    def _verdict(self, key: str, *, is_allowed: bool) -> Verdict:
        ends_at, remaining = self._strategy.get_window_stats(self._item, key)
        # Without a window, the next request begins one.
        wait_s = max(1, ceil(ends_at - monotonic())) if remaining < self.amount else self.window_s
        state = (b"ratelimit", b'"%b";r=%d;t=%d' % (self._name, remaining, wait_s))
        return Verdict(is_allowed, (self._policy, state), wait_s)


class _Window:
    __slots__ = ("count", "ends_at")

    def __init__(self, ends_at: float) -> None:
        self.count = 0
        self.ends_at = ends_at


class WindowCounts(Storage):
    """Counts of one limit, for the strategies of `limits`; times are of the monotonic clock, in seconds.

    The library's own memory has no bound, and a thread that looks through all keys every 10 ms: with 100,000 of them
    it took half a core. Here each window that begins takes away up to two that have passed. When there is no room left,
    the one that began first is forgotten, and its client begins anew: whoever has so many addresses could send as
    many requests from each of them anyway, and nobody else is locked out.
    """

    STORAGE_SCHEME = None

    def __init__(self, max_keys: int) -> None:
        super().__init__()
        self._max_keys = max_keys
        # All windows of a limit are equally long, so they end in the order in which they began.
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        window, now = self._windows.get(key), monotonic()
        if window is None or window.ends_at <= now:
            self._make_room(key, now)
            window = self._windows[key] = _Window(now + expiry)
        window.count += amount
        return window.count

    def _make_room(self, key: str, now: float) -> None:
        windows = self._windows
        windows.pop(key, None)
        for _ in range(2):
            if windows and next(iter(windows.values())).ends_at <= now:
                windows.popitem(last=False)
        if len(windows) >= self._max_keys:
            windows.popitem(last=False)

    def get(self, key: str) -> int:
        window = self._windows.get(key)
        return window.count if window and window.ends_at > monotonic() else 0

    def get_expiry(self, key: str) -> float:
        """When the window of a key ends; 0 when it has none."""
        window = self._windows.get(key)
        return window.ends_at if window else 0.0

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)
