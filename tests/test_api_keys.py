"""The life of an API key: made, shown once, used, rotated, revoked."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from scripts import api_keys as command
from src.auth.api_keys import checksum_of, make_key, parse_scopes, read_key
from src.auth.key_store import KeyStore
from src.db.connection import connect
from src.main import create_app
from src.models import api_keys
from tests.databases import run_sql
from tests.server import serving, settings_for

EVENT = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on the database of the test."""
    monkeypatch.setenv("DATABASE_URL", migrated_url)
    monkeypatch.setenv("AUTHENTICATION", "on")

    def run_it(*words: str) -> Ran:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = command.main(list(words))
            except SystemExit as end:
                code = int(str(end.code))
        return Ran(code, out.getvalue(), err.getvalue())

    return run_it


@pytest.fixture
def client(migrated_url: str) -> Iterator[httpx.Client]:
    with serving_keys(migrated_url) as made:
        yield made


def serving_keys(url: str, cache_s: float = 0.0) -> AbstractContextManager[httpx.Client]:
    return serving(create_app(settings_for(url, authentication="on", credentials_cache_s=cache_s)))


def status(client: httpx.Client, key: str, path: str = "/events") -> int:
    return client.get(path, headers={"X-API-Key": key.strip()}).status_code


def test_key_lives_until_it_is_revoked(run: Run, client: httpx.Client, migrated_url: str) -> None:
    made = run("create", "--name", "nightly export", "--scope", "events:read", "--scope", "sessions:write")
    assert made.code == 0
    key = made.out.strip()
    assert re.fullmatch(r"bapi_[0-9A-Za-z]{46}", key)
    assert "not shown again" in made.err
    # It is stored as its hash, and as nothing else.
    ((key_id, stored, name, scopes),) = run_sql(migrated_url, "SELECT key_id, key_hash, name, scopes FROM api_keys")
    assert (key_id, stored) == (key[5:13], sha256(key.encode()).hexdigest())
    assert (name, scopes) == ("nightly export", "events:read sessions:write")
    assert key[13:] not in str(run_sql(migrated_url, "SELECT * FROM api_keys"))

    assert status(client, key) == 200
    assert client.get("/events", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert status(client, key, "/users") == 403
    assert client.post("/events", json=EVENT, headers={"X-API-Key": key}).status_code == 403

    listed = run("list")
    assert all(word in listed.out for word in (key_id, "nightly export", "active"))
    assert key[13:] not in listed.out + listed.err
    assert stored not in listed.out

    revoked = run("revoke", key_id)
    assert (revoked.code, revoked.out) == (0, f"{key_id} is revoked.\n")
    assert status(client, key) == 401
    assert "revoked" in run("list").out
    assert run("rotate", key_id).code == 1

    # It has ended when it was ended first.
    ends = run_sql(migrated_url, "SELECT revoked_at FROM api_keys")
    assert run("revoke", key_id).code == 0
    assert run_sql(migrated_url, "SELECT revoked_at FROM api_keys") == ends


def test_unknown_key_is_not_there_to_be_changed(run: Run) -> None:
    for verb in ("rotate", "revoke"):
        ran = run(verb, "NoSuchId")
        assert (ran.code, ran.out) == (1, "")
        assert "NoSuchId" in ran.err


def test_expired_key_does_not_count(run: Run, client: httpx.Client, migrated_url: str) -> None:
    key = run("create", "--name", "x", "--scope", "*:read", "--expires-in", "90d").out
    assert status(client, key) == 200
    ((expires_at,),) = run_sql(migrated_url, "SELECT expires_at FROM api_keys")
    days = (_instant(expires_at) - datetime.now(UTC)).total_seconds() / 86_400
    assert 89.9 < days <= 90
    run_sql(migrated_url, "UPDATE api_keys SET expires_at = '2026-01-31T09:30:00+00:00'")
    assert status(client, key) == 401
    assert json.loads(run("list", "--json").out)[0]["state"] == "expired"
    assert run("rotate", key[5:13]).code == 1


@pytest.mark.parametrize("words", ["0d", "90", "d", "-1d", "2020-01-01", "soon", "1w"])
def test_key_that_would_have_expired_is_not_made(run: Run, words: str, migrated_url: str) -> None:
    ran = run("create", "--name", "x", "--scope", "*:read", f"--expires-in={words}")
    assert ran.code == 2
    assert words in ran.err
    assert run_sql(migrated_url, "SELECT * FROM api_keys") == []


def test_rotated_key_counts_for_its_grace(run: Run, client: httpx.Client, migrated_url: str) -> None:
    old = run("create", "--name", "x", "--scope", "events:read", "--expires-in", "10d").out.strip()
    new = run("rotate", old[5:13], "--grace", "1h").out.strip()
    assert new != old
    assert status(client, old) == status(client, new) == 200
    assert status(client, new, "/users") == 403
    rows = {key["id"]: key for key in json.loads(run("list", "--json").out)}
    assert rows[old[5:13]]["state"] == rows[new[5:13]]["state"] == "active"
    assert rows[new[5:13]]["scopes"] == "events:read"
    for key, hours in ((old, 1), (new, 240)):
        ends_at = datetime.fromisoformat(rows[key[5:13]]["ends"]).replace(tzinfo=UTC)
        assert abs(ends_at - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(minutes=5)
    # A second rotation does not prolong what the first one has ended.
    ends = run_sql(migrated_url, f"SELECT revoked_at FROM api_keys WHERE key_id = '{old[5:13]}'")
    assert run("rotate", old[5:13], "--grace", "30d").code == 0
    assert run_sql(migrated_url, f"SELECT revoked_at FROM api_keys WHERE key_id = '{old[5:13]}'") == ends
    # Its grace is over.
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    run_sql(migrated_url, f"UPDATE api_keys SET revoked_at = '{past}' WHERE key_id = '{old[5:13]}'")
    assert (status(client, old), status(client, new)) == (401, 200)


def test_rotation_without_grace_ends_the_old_key(run: Run, client: httpx.Client) -> None:
    old = run("create", "--name", "x", "--scope", "events:read").out
    new = run("rotate", old[5:13]).out
    assert (status(client, old), status(client, new)) == (401, 200)


@pytest.mark.parametrize(
    ("scope", "hint"),
    [
        ("event:write", "events:write"),
        ("events:writes", "events:write"),
        ("events", "events"),
        ("Admin", "admin"),
        ("zzz", "known are"),
        ("event_log:read", "scope"),
        ("", "known are"),
        ("events:read sessions:read", "scope"),
    ],
)
def test_unknown_scope_is_refused_with_the_nearest(run: Run, scope: str, hint: str, migrated_url: str) -> None:
    ran = run("create", "--name", "x", "--scope", scope)
    assert ran.code == 2
    assert hint in ran.err
    assert run_sql(migrated_url, "SELECT * FROM api_keys") == []


def test_key_needs_a_scope() -> None:
    with pytest.raises(ValueError, match="needs a scope"):
        parse_scopes([], ["events"])


def test_use_is_written_down_to_the_hour(run: Run, client: httpx.Client, migrated_url: str) -> None:
    key = run("create", "--name", "x", "--scope", "events:read").out
    assert run_sql(migrated_url, "SELECT last_used_at FROM api_keys") == [(None,)]
    hours = {datetime.now(UTC).replace(minute=0, second=0, microsecond=0)}
    assert status(client, key) == 200
    hours.add(datetime.now(UTC).replace(minute=0, second=0, microsecond=0))
    deadline = time.monotonic() + 5
    while (used := run_sql(migrated_url, "SELECT last_used_at FROM api_keys")[0][0]) is None:
        assert time.monotonic() < deadline
    assert _instant(used) in hours


def test_wrong_key_is_no_use(run: Run, client: httpx.Client, migrated_url: str) -> None:
    key = run("create", "--name", "x", "--scope", "events:read").out.strip()
    assert status(client, _other(key)) == 401
    time.sleep(0.1)
    assert run_sql(migrated_url, "SELECT last_used_at FROM api_keys") == [(None,)]


def _other(key: str) -> str:
    """A well-formed key that has the id of another one."""
    while True:
        text = f"{key[:13]}{make_key().text[13:45]}"
        candidate = text + checksum_of(text)
        if candidate != key:
            return candidate


def test_revocation_is_noticed_when_the_cache_ends(run: Run, migrated_url: str) -> None:
    key = run("create", "--name", "x", "--scope", "events:read").out
    with serving_keys(migrated_url, cache_s=3600) as kept, serving_keys(migrated_url, cache_s=0.3) as client:
        assert status(client, key) == status(kept, key) == 200
        run("revoke", key[5:13])
        assert status(kept, key) == 200
        deadline = time.monotonic() + 5
        while status(client, key) == 200:
            assert time.monotonic() < deadline


def test_cache_never_outlives_the_key(migrated_url: str, run: Run) -> None:
    key = run("create", "--name", "x", "--scope", "events:read", "--expires-in", "30m").out.strip()

    async def work() -> None:
        database = connect(settings_for(migrated_url))
        await database.open()
        try:
            now_s = 1000.0
            store = KeyStore(api_keys.TABLE.info, 3600.0, clock=lambda: now_s)
            assert await store.find(database, key, lambda: None)
            run_sql(migrated_url, "UPDATE api_keys SET expires_at = '2026-01-31T09:30:00+00:00'")
            now_s += 1795.0
            assert await store.find(database, key, lambda: None)
            now_s += 10.0
            assert await store.find(database, key, lambda: None) is None
            await store.close()
        finally:
            await database.close()

    asyncio.run(work())


def test_mistyped_key_is_known_without_the_database() -> None:
    text = make_key().text
    assert read_key(text) == (text[5:13], sha256(text.encode()).hexdigest())
    for place in range(len(text)):
        other = "0" if text[place] != "0" else "1"
        assert read_key(text[:place] + other + text[place + 1 :]) is None
    for wrong in ("", text[:-1], text + "0", text.upper(), text.replace("bapi_", "bapi-"), text[:-1] + "ß", "bapi_"):
        assert read_key(wrong) is None
    assert len({make_key().text for _ in range(100)}) == 100


def test_keys_count_for_nothing_while_authentication_is_off(
    run: Run, monkeypatch: pytest.MonkeyPatch, migrated_url: str
) -> None:
    monkeypatch.setenv("AUTHENTICATION", "off")
    assert "Authentication is off" in run("create", "--name", "x", "--scope", "admin").err
    assert "Authentication is off" not in run("list").err


def test_database_that_is_away_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:canary-password@127.0.0.1:1/nowhere")
    ran = run("list")
    assert ran.code == 1
    assert "canary-password" not in ran.err
    assert ran.err.startswith("postgresql://someone:***@127.0.0.1:1/nowhere: ")


def test_file_that_cannot_be_opened_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}")
    ran = run("list")
    assert ran.code == 1
    assert f"the file {tmp_path} cannot be opened" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("name", ["", "x" * 256, "two\nlines", "\x1b[2J", "nul\x00"])
def test_name_that_cannot_be_listed_is_refused(run: Run, name: str, migrated_url: str) -> None:
    ran = run("create", "--name", name, "--scope", "admin")
    assert (ran.code, ran.out) == (2, "")
    assert run_sql(migrated_url, "SELECT * FROM api_keys") == []


def _instant(stored: str | datetime) -> datetime:
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored
