"""Callers of every kind, and a service that asks them who they are."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
from fastapi import FastAPI

from src.auth.key_store import KeyTable
from src.core.values import new_uuid
from src.db.connection import connect
from src.models import api_keys
from tests.key_server import PROJECT, KeyServer
from tests.server import serving, settings_for

AUTHENTICATED = {"authentication": "on", "firebase_project_id": PROJECT, "credentials_cache_s": 0.0}
GRANTS = {"researcher by grant": "rita", "admin by grant": "root"}


class Callers:
    """Clients of one service, each with its own credentials."""

    def __init__(self, url: str, client: httpx.Client, keys: KeyServer, make_key: Callable[[str], str]) -> None:
        self.url = url
        self.base_url = str(client.base_url)
        self.keys = keys
        self._make_key = make_key
        self._made: dict[str, httpx.Client] = {}
        self._numbers = count()
        self.admin = self.client(headers={"X-API-Key": make_key("admin")})

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, timeout=30, **more)

    def person(self, user_id: str, **claims: Any) -> httpx.Client:
        """A client with a token of this person."""
        return self.client(headers={"Authorization": f"Bearer {self.keys.sign(user_id, **claims)}"})

    def service(self, *scopes: str) -> httpx.Client:
        return self.client(headers={"X-API-Key": self._make_key(" ".join(scopes))})

    def client_of(self, principal: str) -> httpx.Client:
        """The client of a principal of the matrix."""
        if principal not in self._made:
            self._made[principal] = self._client_of(principal)
        return self._made[principal]

    def _client_of(self, principal: str) -> httpx.Client:
        if principal == "nobody":
            return self.client()
        if principal in ("researcher", "admin"):
            return self.person(f"some-{principal}", role=principal)
        if principal in GRANTS:
            person = GRANTS[principal]
            row = {"user_id": person, "role": principal.split(maxsplit=1)[0]}
            assert self.admin.post("/users", json=row).status_code == 201
            return self.person(person)
        if principal.startswith("service "):
            return self.service(principal.removeprefix("service "))
        return self.person(principal)

    def new_key(self, table: str) -> str:
        return new_uuid() if table in ("events", "receipts") else f"new-{next(self._numbers)}"


@contextlib.contextmanager
def serving_callers(create_app: Callable[..., FastAPI], url: str, **changes: Any) -> Iterator[Callers]:
    """Serve an application that asks for credentials; yields callers of it."""
    keys = KeyServer()
    try:
        app = create_app(settings_for(url, firebase_keys_url=keys.url, **changes))
        with serving(app) as client:
            yield Callers(url, client, keys, lambda scopes: make_key(url, scopes))
    finally:
        keys.close()


def make_key(url: str, scopes: str) -> str:
    """Make an API key with these scopes."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _make_key(url, frozenset(scopes.split()))).result()


async def _make_key(url: str, scopes: frozenset[str]) -> str:
    database = connect(settings_for(url))
    await database.open()
    try:
        return (await KeyTable(api_keys.TABLE.info).create(database, "test", scopes, None)).text
    finally:
        await database.close()
