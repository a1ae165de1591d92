"""Bring the database to the newest revision: `python -m scripts.migrate`, the same as `alembic upgrade head`."""

import logging
import sys

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from src.core.config import load_settings
from src.db.migration import upgrade
from src.db.revisions import head_revision


def main() -> int:
    """Migrate the database of the settings; return the exit code."""
    settings = load_settings()
    logging.basicConfig(format="%(message)s")
    steps = logging.getLogger("alembic.runtime.migration")
    steps.setLevel(logging.INFO)
    steps.addFilter(lambda record: record.getMessage().startswith("Running"))
    try:
        upgrade(settings.url)
    except (CommandError, DBAPIError) as error:
        print(f"{settings.safe_url} was not migrated: {error.orig if isinstance(error, DBAPIError) else error}")
        return 1
    print(f"{settings.safe_url} is at revision {head_revision()}, the newest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
