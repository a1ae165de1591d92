"""Make, list, rotate and revoke the API keys of services.

python -m scripts.api_keys create --name "nightly export" --scope recordings:read --scope events:read --expires-in 90d
python -m scripts.api_keys list
python -m scripts.api_keys rotate Xk3f9QzA --grace 1h
python -m scripts.api_keys revoke Xk3f9QzA
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec

from src.api.direct import index_of
from src.auth.api_keys import NewKey, parse_scopes
from src.auth.key_store import KeyTable, StoredKey
from src.core.config import Settings, load_settings
from src.core.errors import ApiError
from src.core.values import now
from src.db.connection import Connection, Database, connect
from src.db.queries.executor import transact
from src.main import app
from src.models import api_keys

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
MAX_NAME_LENGTH = 255
KEYS = KeyTable(api_keys.TABLE.info)
COLUMNS = ("id", "name", "scopes", "created", "ends", "last used", "state")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is create:
        try:
            options.scopes = parse_scopes(options.scope, index_of(app).policies.resources)
        except ValueError as error:
            parser.error(str(error))
    settings = load_settings()
    try:
        return asyncio.run(_run(settings, options))
    except ApiError as error:
        print(f"{settings.safe_url}: {error.detail}", file=sys.stderr)
        return 1


async def _run(settings: Settings, options: argparse.Namespace) -> int:
    database = connect(settings)
    await database.open()
    try:
        command: Callable[[Database, argparse.Namespace], Awaitable[int]] = options.command
        code = await command(database, options)
    finally:
        await database.close()
    if code == 0 and options.makes_key and not settings.is_authenticated:
        print("Authentication is off: keys count for nothing until AUTHENTICATION=on is set.", file=sys.stderr)
    return code


async def create(database: Database, options: argparse.Namespace) -> int:
    """Make a key and show it, this once."""
    _show(await KEYS.create(database, options.name, options.scopes, options.expires_at))
    return 0


async def list_keys(database: Database, options: argparse.Namespace) -> int:
    """Show all keys, of each only what is not secret."""
    keys = await KEYS.list(database)
    rows = [(key.key_id, key.name, key.scopes, *map(_shown, _instants(key)), _state(key)) for key in keys]
    if options.json:
        print(msgspec.json.encode([dict(zip(COLUMNS, row, strict=True)) for row in rows]).decode())
        return 0
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


async def rotate(database: Database, options: argparse.Namespace) -> int:
    """Make a key that may do what an old one may, and end the old one, at once or after a while."""
    old = await KEYS.find(database, options.key_id)
    if old is None or _state(old) != "active":
        return _not_there(options.key_id)
    expires_at = now() + (old.expires_at - old.created_at) if old.expires_at else None
    ends_at = min(filter(None, (now() + options.grace, old.revoked_at)))

    async def replace(db: Connection) -> NewKey:
        new = await KEYS.create(db, old.name, frozenset(old.scopes.split()), expires_at)
        await KEYS.change(db, old.key_id, revoked_at=ends_at)
        return new

    _show(await transact(database, replace))
    return 0


async def revoke(database: Database, options: argparse.Namespace) -> int:
    """End a key, which stays ended since when it was. Services notice within CREDENTIALS_CACHE_S seconds."""
    old = await KEYS.find(database, options.key_id)
    if old is None:
        return _not_there(options.key_id)
    await KEYS.change(database, old.key_id, revoked_at=min(filter(None, (now(), old.revoked_at))))
    print(f"{options.key_id} is revoked.")
    return 0


def _not_there(key_id: str) -> int:
    print(f"No active key is called {key_id}; see: python -m scripts.api_keys list", file=sys.stderr)
    return 1


def _show(new: NewKey) -> None:
    print(new.text)
    print("Keep it now: it is not stored, and is not shown again.", file=sys.stderr)


def _instants(key: StoredKey) -> tuple[datetime | None, ...]:
    return key.created_at, min(filter(None, (key.expires_at, key.revoked_at)), default=None), key.last_used_at


def _shown(instant: datetime | None) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if instant else "-"


def _state(key: StoredKey) -> str:
    if key.ends_at() > now().timestamp():
        return "active"
    return "revoked" if key.revoked_at and key.revoked_at <= now() else "expired"


def _duration(text: str) -> timedelta:
    """Read `90d`, `12h` or `30m`."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isdecimal() or len(number) > 5:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time; write 30m, 12h or 90d")
    return int(number) * UNITS[unit]


def _instant(text: str) -> datetime:
    """Read a span of time from now, or a day in UTC."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        day = now() + _duration(text)
    if day <= now():
        raise argparse.ArgumentTypeError(f"{text} is not in the future")
    return day


def _name(text: str) -> str:
    """Take a name that fits into the table, and into one line of the list."""
    if not text.isprintable() or not 0 < len(text) <= MAX_NAME_LENGTH:
        raise argparse.ArgumentTypeError(f"takes 1 to {MAX_NAME_LENGTH} printable characters")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.api_keys", description="The API keys of services.")
    commands = parser.add_subparsers(required=True, metavar="create|list|rotate|revoke")

    made = commands.add_parser("create", help="make a key, and show it once")
    made.add_argument("--name", type=_name, required=True, help="who uses it")
    made.add_argument("--scope", action="append", required=True, metavar="SCOPE", help="such as events:write; several")
    made.add_argument(
        "--expires-in", dest="expires_at", type=_instant, metavar="90d|2027-12-31", help="without it: never"
    )
    made.set_defaults(command=create, makes_key=True)

    listed = commands.add_parser("list", help="show all keys, of each only what is not secret")
    listed.add_argument("--json", action="store_true")
    listed.set_defaults(command=list_keys, makes_key=False)

    rotated = commands.add_parser("rotate", help="make a key that may do the same, and end this one")
    rotated.add_argument("key_id")
    rotated.add_argument(
        "--grace", type=_duration, default=timedelta(), metavar="1h", help="how long the old one counts"
    )
    rotated.set_defaults(command=rotate, makes_key=True)

    revoked = commands.add_parser("revoke", help="end a key")
    revoked.add_argument("key_id")
    revoked.set_defaults(command=revoke, makes_key=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
