"""A worker process: the application on the HTTP server, on a socket that the supervisor opened.

It is started by `src.serve.slots` as `python -m src.serve.worker LISTENER LIFELINE NEWS MODULE:ATTRIBUTE`, where
the first three are file descriptors.
"""

import asyncio
import gc
import importlib
import logging
import os
import signal
import sys
import threading
from typing import NoReturn

import uvloop

from src.core.config import Settings, load_settings
from src.core.logging import configure_logging
from src.serve.gate import Gate
from src.serve.http import HttpServer
from src.serve.lifespan import App, Lifespan, LifespanFailed
from src.serve.slots import RETIRE

SHUTDOWN_S = 5.0
CUT_S = 1.0
LINGER_S = 0.2

# The garbage collector looks after so many new objects: with Python's own 700, a delivery of a thousand events spends
# a third of its time on looking through them, and they are freed without it.
GC_THRESHOLD = (50_000, 20, 20)

log = logging.getLogger("serve")


def main() -> None:
    """Serve until SIGTERM, or until a new worker takes over."""
    listener, lifeline, news = map(int, sys.argv[1:4])
    threading.Thread(target=_exit_with_parent, args=(lifeline,), daemon=True).start()
    try:
        settings = load_settings()
        configure_logging(settings)
        target = load_app(sys.argv[4])
    except SystemExit as error:
        print(error, file=sys.stderr)
        _leave(os.EX_CONFIG)
    except Exception:
        log.exception("The application could not be loaded")
        _leave(os.EX_CONFIG)
    uvloop.run(_serve_and_leave(target, listener, news, settings))


def _exit_with_parent(lifeline: int) -> None:
    """Wait until the supervisor is gone, even by `kill -9`, and follow it.

    A thread, because the event loop may be busy or not yet running.
    """
    os.read(lifeline, 1)
    os._exit(1)


async def _serve_and_leave(app: App, listener: int, news: int, settings: Settings) -> None:
    _leave(await serve(app, listener, news, settings))


def _leave(code: int) -> NoReturn:
    """Exit and wait for nothing: a plain exit joins threads, and one may still run what a cut-off request began."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def load_app(target: str) -> App:
    """Import the application that `module:attribute` names."""
    module, _, attribute = target.partition(":")
    app: App = getattr(importlib.import_module(module), attribute)
    return app


async def serve(app: App, listener: int, news: int, settings: Settings) -> int:
    """Serve on the listening socket until a signal, then drain; the process's exit code."""
    stop = Stop()
    lifespan = Lifespan(app)
    try:
        await lifespan.start()
    except LifespanFailed as error:
        log.error("The application could not start: %s", error, exc_info=error.__cause__)
        return os.EX_CONFIG
    # What start-up made stays until the end; the collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    gate = Gate(app, lifespan.state)
    server = HttpServer(gate, listener, settings.head_timeout_s)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.is_asked.wait())
    # One turn of the loop, in which the server begins.
    await asyncio.sleep(0)
    os.write(news, b"1")
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_asked.is_set():
        await (_retire if stop.is_for_successor else _drain)(app, gate, server, serving, settings)
    # What was cut off gives back its connections before the database closes.
    await server.cut_requests(CUT_S)
    await _close(lifespan)
    return 0 if stop.is_asked.is_set() else 1


class Stop:
    """Waits for the signals that end a worker."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.is_for_successor = False
        """Whether another worker has taken over, so that clients need not know."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.is_asked.set)
        loop.add_signal_handler(RETIRE, self._retire)

    def _retire(self) -> None:
        self.is_for_successor = not self.is_asked.is_set()
        self.is_asked.set()


async def _drain(app: App, gate: Gate, server: HttpServer, serving: asyncio.Task[None], settings: Settings) -> None:
    """Announce the end, stop accepting, and let requests and streams finish, each for its time."""
    _announce_end(app)
    await asyncio.sleep(settings.drain_notice_s)
    ends_at = asyncio.get_running_loop().time() + settings.drain_s
    server.stop_accepting()
    # By the end of the first pause every worker has let go of the port, so a client that is told to connect anew
    # goes elsewhere. In the second, whoever is connected may still send a request, and is told so by its answer.
    await asyncio.sleep(min(LINGER_S, settings.drain_s / 4))
    gate.end_connections()
    _end_streams(app)
    await asyncio.sleep(min(LINGER_S, settings.drain_s / 4))
    server.stop()
    await _finish(serving, ends_at, settings)


async def _retire(app: App, gate: Gate, server: HttpServer, serving: asyncio.Task[None], settings: Settings) -> None:
    """The same, except that nobody notices: the service goes on, and has time for connections that idle."""
    ends_at = asyncio.get_running_loop().time() + settings.drain_s
    server.stop_accepting()
    gate.end_connections()
    # Whoever is connected has sent a request by then and was told to connect anew, or has idled for so long that the
    # connection was closed as it is on any other day.
    await asyncio.sleep(min(settings.head_timeout_s + LINGER_S, settings.drain_s / 2))
    server.stop()
    _announce_end(app)
    await _finish(serving, ends_at, settings)


def _announce_end(app: App) -> None:
    """Tell the application, whose readiness turns, and whose streams may end."""
    if hasattr(app, "state"):
        app.state.draining = True


async def _finish(serving: asyncio.Task[None], ends_at: float, settings: Settings) -> None:
    """Wait for what still runs, for as long as it may."""
    remaining_s = ends_at - asyncio.get_running_loop().time()
    finished, _ = await asyncio.wait({serving}, timeout=max(0.0, remaining_s))
    if not finished:
        log.warning("Requests or streams still ran after DRAIN_S=%g seconds; they are cut off", settings.drain_s)


def _end_streams(app: App) -> None:
    """End answers that have no end of their own; their clients come again, and another process answers."""
    watches = getattr(getattr(app, "state", None), "watches", None)
    if watches is not None:
        watches.end()


async def _close(lifespan: Lifespan) -> None:
    """Run the application's own end, which closes the database, and do not wait for it for ever."""
    try:
        await lifespan.stop(SHUTDOWN_S)
    except TimeoutError:
        log.warning("The application did not close within %g seconds", SHUTDOWN_S)
    except LifespanFailed as error:
        log.error("The application did not close: %s", error, exc_info=error.__cause__)


if __name__ == "__main__":
    main()
