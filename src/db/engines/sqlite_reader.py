"""Connections that read a SQLite file."""

from pathlib import Path

import apsw

from src.db.engines.sqlite_functions import add_functions

BUSY_TIMEOUT_MS = 5000
OPCODES_BETWEEN_CHECKS = 200


def open_reader(path: Path) -> apsw.Connection:
    """Open a connection that reads; it sees what was committed when its statement began."""
    connection = apsw.Connection(str(path), statementcachesize=500)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA query_only = on")
    add_functions(connection)
    return connection
