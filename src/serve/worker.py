"""A worker process: the application on the HTTP server, on a socket that the supervisor opened.

It is started by `src.serve.slots` as `python -m src.serve.worker LISTENER LIFELINE MODULE:ATTRIBUTE`, where the
first two are file descriptors.
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

SHUTDOWN_S = 5.0
CUT_S = 1.0
LINGER_S = 0.2

log = logging.getLogger("serve")


def main() -> None:
    """Serve until SIGTERM."""
    listener, lifeline, app = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    threading.Thread(target=_exit_with_parent, args=(lifeline,), daemon=True).start()
    try:
        settings = load_settings()
        configure_logging(settings)
        target = load_app(app)
    except SystemExit as error:
        print(error, file=sys.stderr)
        _leave(os.EX_CONFIG)
    except Exception:
        log.exception("The application could not be loaded")
        _leave(os.EX_CONFIG)
    uvloop.run(_serve_and_leave(target, listener, settings))


def _exit_with_parent(lifeline: int) -> None:
    """Wait until the supervisor is gone, even by `kill -9`, and follow it.

    A thread, because the event loop may be busy or not yet running.
    """
    os.read(lifeline, 1)
    os._exit(1)


async def _serve_and_leave(app: App, listener: int, settings: Settings) -> None:
    _leave(await serve(app, listener, settings))


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


async def serve(app: App, listener: int, settings: Settings) -> int:
    """Serve on the listening socket until SIGTERM, then drain; the process's exit code."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lifespan = Lifespan(app)
    try:
        await lifespan.start()
    except LifespanFailed as error:
        log.error("The application could not start: %s", error, exc_info=error.__cause__)
        return os.EX_CONFIG
    # What start-up made stays until the end; the collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    gate = Gate(app, lifespan.state)
    server = HttpServer(gate, listener, settings.head_timeout_s)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        await _drain(app, gate, server, serving, settings)
    # What was cut off gives back its connections before the database closes.
    await server.cut_requests(CUT_S)
    await _close(lifespan)
    return 0 if stop.is_set() else 1


async def _drain(app: App, gate: Gate, server: HttpServer, serving: asyncio.Task[None], settings: Settings) -> None:
    """Announce the end, stop accepting, and let requests and streams finish, each for its time."""
    if hasattr(app, "state"):
        app.state.draining = True
    await asyncio.sleep(settings.drain_notice_s)
    began = asyncio.get_running_loop().time()
    server.stop_accepting()
    # By the end of the first pause every worker has let go of the port, so a client that is told to connect anew
    # goes elsewhere. In the second, whoever is connected may still send a request, and is told so by its answer.
    await asyncio.sleep(min(LINGER_S, settings.drain_s / 4))
    gate.end_connections()
    _end_streams(app)
    await asyncio.sleep(min(LINGER_S, settings.drain_s / 4))
    server.stop()
    remaining_s = settings.drain_s - (asyncio.get_running_loop().time() - began)
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
