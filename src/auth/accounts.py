"""What the users' table says of a person's account: a role, and which of their tokens still count."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from src.auth.timed_cache import TimedCache
from src.core.tables import Reach, TableInfo
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import fetch_row
from src.db.queries.query import Field, Selection, Target

MAX_ACCOUNTS = 10_000


class Account(NamedTuple):
    """What an operator has decided about a person."""

    role: str = ""
    """`researcher`, `admin`, or nothing."""
    is_disabled: bool = False
    valid_after_s: float = 0.0
    """Tokens of sign-ins before this instant, in seconds of Unix time, do not count."""


class _Row(msgspec.Struct):
    role: str | None
    disabled: bool
    tokens_valid_after: datetime | None


_COLUMNS = Selection(tuple(Field(name, Target(name)) for name in _Row.__struct_fields__))
_decode = msgspec.json.Decoder(_Row).decode
# Somebody whom the table does not know yet: the app may be about to store them.
UNKNOWN = Account()


class Accounts:
    """Looks accounts up, each at most once in `cache_s` seconds."""

    def __init__(self, users: TableInfo, cache_s: float) -> None:
        self._users = Reach.whole(users)
        self._cache_s = cache_s
        self._found: TimedCache[Account] = TimedCache(MAX_ACCOUNTS)

    async def find(self, db: Connection, user_id: str) -> Account:
        """The account of a person."""
        account = self._found.get(user_id)
        if account is None:
            account = _read(await fetch_row(db, builder.select_row(self._users, user_id, _COLUMNS)))
            self._found.put(user_id, account, self._cache_s)
        return account


def _read(text: str | None) -> Account:
    if text is None:
        return UNKNOWN
    row = _decode(text)
    valid_after = row.tokens_valid_after
    return Account(row.role or "", row.disabled, valid_after.timestamp() if valid_after else 0.0)
