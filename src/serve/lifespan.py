"""The application's own start and end: the lifespan protocol of ASGI.

The worker speaks it itself, because the end must also come in order after a drain that ran out of time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]


class LifespanFailed(Exception):
    """The application could not start or end; the text is what it says about that."""


class Lifespan:
    """One life of an application, from `start` to `stop`."""

    def __init__(self, app: App) -> None:
        self.state: dict[str, Any] = {}
        """What the application wants every request to carry."""
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Let the application open what it needs.

        Raises:
            LifespanFailed: it cannot serve.
        """
        self._life = asyncio.create_task(self._live())
        await self._go_through("startup", self._life)

    async def stop(self, timeout_s: float) -> None:
        """Let the application close what it has opened.

        Raises:
            LifespanFailed: it failed at that.
            TimeoutError: it was not done in time.
        """
        if self._life is not None:
            await asyncio.wait_for(self._go_through("shutdown", self._life), timeout_s)

    async def _live(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": self.state}
        await self._app(scope, self._to_app.get, self._from_app.put)

    async def _go_through(self, step: str, life: asyncio.Task[None]) -> None:
        await self._to_app.put({"type": f"lifespan.{step}"})
        answering = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answering, life}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
            raise LifespanFailed(f"it ended at {step} without an answer") from life.exception()
        answer = answering.result()
        if answer["type"] != f"lifespan.{step}.complete":
            raise LifespanFailed(str(answer.get("message", f"it failed at {step}")).strip())
