"""What Alembic runs first: whose tables it compares, with which database, and how it changes it."""

from logging.config import fileConfig
from typing import Any

from alembic import context
from alembic.operations.ops import CreateTableOp, MigrationScript
from alembic.util import CommandError
from sqlalchemy.engine import make_url

from src.core.config import load_settings
from src.core.errors import DatabaseAway
from src.db.migration import LOCK_TIMEOUT_S, migrate
from src.db.schema import metadata

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

url = make_url(config.attributes["url"]) if "url" in config.attributes else load_settings().url
is_sqlite = url.get_backend_name() == "sqlite"


def is_ours(_object: object, name: str | None, kind: str, is_reflected: bool, _compared_to: object) -> bool:
    """Leave tables alone that schema.py does not know: they are served, but belong to somebody else."""
    return not (kind == "table" and is_reflected and name not in metadata.tables)


def forget_notes(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
    """Leave the notes of schema.py out of new revisions: they are for models, and databases do not keep them."""
    for script in directives:
        for operations in (script.upgrade_ops, script.downgrade_ops):
            for operation in operations.ops if operations else ():
                if isinstance(operation, CreateTableOp):
                    operation.info = {}


OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "include_object": is_ours,
    "process_revision_directives": forget_notes,
    "compare_type": True,
    # SQLite writes the same default in several ways; comparing them raises false alarms.
    "compare_server_default": False,
    "render_as_batch": is_sqlite,
    # SQLite holds its one write lock from the first statement to the last; on PostgreSQL a revision lets go of its
    # locks before the next one begins.
    "transactional_ddl": True,
    "transaction_per_migration": not is_sqlite,
}


def write_script() -> None:
    """Print the statements instead of running them (`--sql`)."""
    context.configure(
        dialect_name=url.get_backend_name(), literal_binds=True, dialect_opts={"paramstyle": "named"}, **OPTIONS
    )
    if not is_sqlite:
        context.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S:g}s'")
    with context.begin_transaction():
        context.run_migrations()


def run(connection: Any) -> None:
    """Run what the command asks for, on one connection."""
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    write_script()
else:
    try:
        migrate(url, run)
    except DatabaseAway as error:
        raise CommandError(str(error)) from error
