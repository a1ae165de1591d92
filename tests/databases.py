"""Statements run on a database of the tests directly, without the code that is tested."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import asyncpg
from sqlalchemy.engine import make_url


def run_sql(url: str, script: str) -> list[tuple[Any, ...]]:
    """Run one or more statements on the database at `url`; return the rows of the only one, or of the last."""
    if is_sqlite(url):
        path = Path(str(make_url(url).database))
        connection = apsw.Connection(str(path))
        # A service may be writing down that a key is used.
        connection.set_busy_timeout(5000)
        try:
            return [tuple(row) for row in connection.execute(script).fetchall()]
        finally:
            connection.close()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _run_on_postgresql(url, script)).result()


def is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


async def _run_on_postgresql(url: str, script: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        if script.lstrip().upper().startswith(("SELECT", "WITH")):
            return [tuple(row) for row in await connection.fetch(script)]
        await connection.execute(script)
        return []
    finally:
        await connection.close()
