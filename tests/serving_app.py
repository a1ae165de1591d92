"""A small ASGI application for the tests of the server process: slow answers, streams, a lifespan that tells."""

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TRACE = os.environ.get("SERVING_TRACE")
# What an operator changes on disk before a restart: every interpreter reads it once.
CODE = Path(os.environ["SERVING_CODE"]).read_text() if "SERVING_CODE" in os.environ else ""


class ServingApp:
    """Answers by the path; `state.draining` is what the worker sets, as on the real application."""

    state = SimpleNamespace(draining=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await getattr(self, scope["path"].strip("/") or "ok")(send)

    async def _live(self, receive: Any, send: Any) -> None:
        while True:
            message = (await receive())["type"]
            trace(message)
            if message == "lifespan.startup" and (os.environ.get("SERVING_FAILS") or CODE == "broken"):
                await send({"type": "lifespan.startup.failed", "message": "no such place"})
                return
            if message == "lifespan.shutdown":
                await asyncio.sleep(float(os.environ.get("SERVING_CLOSE_S", "0")))
            await send({"type": f"{message}.complete"})
            if message == "lifespan.shutdown":
                return

    async def ok(self, send: Any) -> None:
        await answer(send, 200, b"ok")

    async def pid(self, send: Any) -> None:
        await answer(send, 200, str(os.getpid()).encode())

    async def code(self, send: Any) -> None:
        await answer(send, 200, CODE.encode())

    async def ready(self, send: Any) -> None:
        await answer(send, 503 if self.state.draining else 200, b"")

    async def slow(self, send: Any) -> None:
        await asyncio.sleep(1)
        await answer(send, 200, b"done")

    async def thread(self, send: Any) -> None:
        await asyncio.to_thread(time.sleep, 60)
        await answer(send, 200, b"done")

    async def broken(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        raise RuntimeError("the database went away")

    async def stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
                await asyncio.sleep(0.1)
        finally:
            trace("stream ended")


async def answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def trace(line: str) -> None:
    if TRACE:
        with Path(TRACE).open("a") as file:
            file.write(f"{line}\n")


app = ServingApp()
