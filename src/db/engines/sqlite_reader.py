"""Connections that read a SQLite file."""

from pathlib import Path

import apsw

from src.db.queries.measures import BUCKET_FUNCTION
from src.db.time_buckets import time_bucket

BUSY_TIMEOUT_MS = 5000
OPCODES_BETWEEN_CHECKS = 500


def open_reader(path: Path) -> apsw.Connection:
    """Open a connection that reads; it sees what was committed when its statement began."""
    connection = apsw.Connection(str(path), statementcachesize=500)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA query_only = on")
    connection.create_scalar_function(BUCKET_FUNCTION, time_bucket, 3, deterministic=True)
    return connection
