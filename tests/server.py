"""The application behind a real HTTP server, in a thread of the tests."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn

from src.core.config import Settings
from src.main import create_app


@contextlib.contextmanager
def serving(app: Any) -> Iterator[httpx.Client]:
    """Serve an ASGI application on a free port; yields a client of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))

    def run() -> None:
        # An application that does not start ends the server; the client then finds nobody.
        with contextlib.suppress(SystemExit):
            server.run([listener])
        listener.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
        # The listener queues the first request until the server has started.
        assert client.get("/health/live").status_code == 200
        try:
            yield client
        finally:
            server.should_exit = True
            thread.join(10)
            listener.close()


def settings_for(url: str, **changes: Any) -> Settings:
    """Settings of the tests: nothing from `.env`, and this database."""
    return Settings(_env_file=None, **({"environment": "test", "database_url": url} | changes))


# Making the application takes a third of a second, serving it a few milliseconds: tests share it, each with
# a database of its own.
_app = create_app(settings_for("sqlite:///unused.db"))


@contextlib.contextmanager
def serving_database(url: str) -> Iterator[httpx.Client]:
    """Serve this project's tables from the database at `url`."""
    _app.state.settings = settings_for(url)
    with serving(_app) as client:
        yield client
