"""The listening socket, which all workers share, and the process limits that go with it."""

import contextlib
import errno
import resource
import socket
import time

BACKLOG = 2048
# The workers of a supervisor that was killed hold its port until they notice, some milliseconds later.
PORT_WAIT_S = 1.0
MAX_OPEN_FILES = 65_536


class CannotListen(Exception):
    """The address cannot be served; the text is one sentence for the operator."""


def open_listener(host: str, port: int) -> socket.socket:
    """Bind and listen. One socket for all workers: a connection that waits in its queue outlives any one of them.

    Raises:
        CannotListen: the port is taken, or the host is not an address of this machine.
    """
    deadline = time.monotonic() + PORT_WAIT_S
    while True:
        try:
            return _listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise CannotListen(_explain(error, host, port)) from error
        time.sleep(0.05)


def _listen(host: str, port: int) -> socket.socket:
    family, address = _resolve(host, port)
    is_any_ipv6 = address[0] == "::"
    listener = socket.create_server(
        address, family=family, backlog=BACKLOG, dualstack_ipv6=is_any_ipv6 and socket.has_dualstack_ipv6()
    )
    # Accepted connections inherit it. Without it, an answer in two parts can wait 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The first address of the host, IPv4 before IPv6: `localhost` usually has both."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, (str(address[0]), port)


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another process; stop that one or set PORT."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}; set PORT to one above 1023."
    return f"HOST={host} cannot be listened on: {error.strerror}."


def raise_file_limit() -> None:
    """Let this process and its children open as many files as they may: each connection is one.

    Most shells start programs with a limit of 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A container may forbid even this; fewer connections are no reason not to start.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
