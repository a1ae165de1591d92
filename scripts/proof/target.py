"""The databases under test, whose data lie where the disk can be filled if that is what is tested."""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

DISK_MIB = {"sqlite": 192, "postgresql": 640}
# A server that is killed must find what it has promised to keep; the tests' server does without.
DURABLE = {"fsync": "on", "full_page_writes": "on", "max_wal_size": "96MB", "max_connections": "50"}


class Target(NamedTuple):
    """A database: exactly one of file and server is ours, or neither."""

    name: str
    url: str
    file: Path | None = None
    server: "PostgresServer | None" = None
    disk: Path | None = None

    def check(self) -> str:
        """What SQLite says about the file once nobody uses it; `-` for other databases."""
        if self.file is None:
            return "-"
        import apsw  # noqa: PLC0415 - PostgreSQL needs none of it

        connection = apsw.Connection(str(self.file))
        try:
            return "; ".join(str(row[0]) for row in connection.execute("PRAGMA integrity_check"))
        finally:
            connection.close()


@contextmanager
def open_target(arguments: argparse.Namespace, *, on_small_disk: bool) -> Iterator[Target]:
    """The database that the arguments ask for, without tables; gone afterwards if it is ours."""
    if arguments.database_url:
        yield Target(arguments.database_url.partition(":")[0], arguments.database_url)
        return
    with _folder(DISK_MIB[arguments.database] if on_small_disk else None) as folder:
        disk = folder if on_small_disk else None
        if arguments.database == "sqlite":
            yield Target("SQLite", f"sqlite:///{folder / 'proof.db'}", file=folder / "proof.db", disk=disk)
            return
        from tests.postgres import PostgresServer  # noqa: PLC0415 - needs the packages of the tests

        server = PostgresServer(**DURABLE)
        server.folder, server.external_url = folder, None
        try:
            server.start()
            yield Target("PostgreSQL", server.create_database(), server=server, disk=disk)
        finally:
            server.close()


def can_mount() -> bool:
    """Whether this process may make a small disk."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


@contextmanager
def _folder(disk_mib: int | None) -> Iterator[Path]:
    """A folder that goes afterwards; a disk of its own if a size is given."""
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if disk_mib is None:
            yield folder
            return
        mount = ["mount", "-t", "tmpfs", "-o", f"size={disk_mib}m,mode=0755", "proof", name]
        subprocess.run(mount, check=True)  # noqa: S603 - the command is ours
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", name], check=False)  # noqa: S603, S607 - the command is ours
