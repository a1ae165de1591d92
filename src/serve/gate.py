"""The way of each request into the application, which changes when the process is about to end."""

from collections.abc import Awaitable
from typing import Any

from src.serve.lifespan import App


class Gate:
    """An ASGI application in front of the application, for a tenth of a microsecond per request until it acts."""

    def __init__(self, app: App, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._enter = self._enter_with_state if state else app

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """Pass one request on."""
        return self._enter(scope, receive, send)

    def end_connections(self) -> None:
        """From now on every answer is the last on its connection, and says so: the client sends nothing more on it."""
        self._enter = self._enter_last

    async def _enter_with_state(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand over what the lifespan yielded, as ASGI asks for."""
        await self._app({**scope, "state": self._state.copy()}, receive, send)

    async def _enter_last(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_last(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._enter_with_state(scope, receive, send_last)
