"""Values that hold for a while, as many as fit."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TimedCache(Generic[Value]):
    """The newest values by key, each until its time is up."""

    def __init__(self, max_entries: int, clock: Callable[[], float] = monotonic) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[bytes | str, tuple[float, Value]] = OrderedDict()

    def get(self, key: bytes | str) -> Value | None:
        """The value of a key, if it still holds."""
        found = self._entries.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            del self._entries[key]
            return None
        return found[1]

    def put(self, key: bytes | str, value: Value, seconds: float) -> None:
        """Keep a value; the oldest goes where there is no room."""
        if seconds <= 0:
            return
        self._entries.pop(key, None)
        if len(self._entries) >= self._max_entries:
            self._entries.popitem(last=False)
        self._entries[key] = (self._clock() + seconds, value)
