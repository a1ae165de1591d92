"""The HTTP server: granian inside our own event loop, with the limits that this service wants.

The one module that knows granian's inner names; `pyproject.toml` pins its minor version for that.
"""

import asyncio
import logging
import os
import resource
import socket

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from src.core.errors import AnswerCutOff
from src.serve.lifespan import App
from src.serve.listener import BACKLOG

# Heads of this size are always read. Granian looks after it has read, so only twice as many bytes are always refused.
MAX_HEAD_BYTES = 64 * 1024
# Granian counts connections, idle ones too; past the limit they wait in the listening socket's queue.
MAX_CONNECTIONS = 16_384
OTHER_FILES = 256
# What granian calls the coroutine in which it runs the application for one request.
REQUEST_COROUTINE = "future_watcher"
REQUEST_LOGGER = "_granian.utils"
# Granian would else replace the handlers of the process's loggers.
KEEP_LOGGERS = {"incremental": True, "formatters": {}, "handlers": {}, "loggers": {}}


def _is_news(record: logging.LogRecord) -> bool:
    """Whether the application has not already logged what it raised: granian's text has the traceback."""
    return AnswerCutOff.__name__ not in record.getMessage()


class HttpServer(Server):
    """Serves one application on a listening socket that somebody else opened and shares."""

    def __init__(self, app: App, listener: int, head_timeout_s: float) -> None:
        super().__init__(
            app,
            # The lifespan is run by the worker: it must end in order even when the drain did not.
            interface=Interfaces.ASGINL,
            # With `auto`, a connection that sends nothing is never closed.
            http=HTTPModes.http1,
            websockets=False,
            backpressure=_connection_limit(),
            # Counted from the end of the answer before it, so it is also how long a connection may idle.
            http1_settings=HTTP1Settings(
                header_read_timeout=round(head_timeout_s * 1000), max_buffer_size=MAX_HEAD_BYTES
            ),
            log_level=LogLevels.error,
            log_dictconfig=KEEP_LOGGERS,
        )
        self._listener = listener
        logging.getLogger(REQUEST_LOGGER).addFilter(_is_news)

    def _init_shared_socket(self) -> None:
        """Take the socket as it is; granian would bind one of its own for each worker."""
        # Granian's annotations lag behind: the call takes whether it is a Unix socket, and the backlog.
        self._shd = SocketHolder(self._listener, False, BACKLOG)  # type: ignore[assignment, call-arg]

    def stop_accepting(self) -> None:
        """Let go of the listening socket and serve on what is connected.

        Granian itself only stops everything at once, and then drops a connection whose first request is on its way.
        So its file descriptor gets another socket, to which nobody connects.
        """
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            nobody.setblocking(False)
            os.dup2(nobody.fileno(), self._listener, inheritable=False)

    def stop(self) -> None:
        """Close idle connections, and let `serve` end with the last request."""
        self.signal_handler_interrupt()  # type: ignore[no-untyped-call]

    async def cut_requests(self, timeout_s: float) -> None:
        """Cancel what still answers requests; its connections end without a proper end of the answer."""
        tasks = {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == REQUEST_COROUTINE}
        # Granian would log the cancellation of each one as an error, with its traceback.
        logging.getLogger(REQUEST_LOGGER).disabled = True
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)


def _connection_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(128, min(MAX_CONNECTIONS, soft - OTHER_FILES))
