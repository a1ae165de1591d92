"""Drop the tables of this project, with all rows in them, and make them anew: `python -m scripts.reset_and_migrate`.

Asks first; `--yes` answers. Refuses where `ENVIRONMENT=production`. Tables of others stay.
"""

import argparse
import sys

from src.core.config import Settings, load_settings
from src.core.errors import DatabaseAway
from src.db.migration import drop_tables, our_tables, upgrade
from src.db.revisions import head_revision


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.reset_and_migrate", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    settings = load_settings()
    if settings.environment == "production":
        print(f"ENVIRONMENT is production: {settings.safe_url} is left as it is.")
        return 1
    try:
        return _reset(settings, must_ask=not options.yes)
    except (DatabaseAway, ValueError) as error:
        print(error)
        return 1


def _reset(settings: Settings, *, must_ask: bool) -> int:
    print(f"All rows of these tables of {settings.safe_url} will be gone: {', '.join(our_tables())}")
    if must_ask and not _is_confirmed():
        print("Nothing was changed.")
        return 1
    drop_tables(settings.url)
    upgrade(settings.url)
    print(f"{settings.safe_url} is empty and at revision {head_revision()}")
    return 0


def _is_confirmed() -> bool:
    """Ask; anything but `yes` is a no, and so is the end of the input."""
    try:
        return input("Go on? Type yes: ").strip().lower() == "yes"
    except EOFError:
        return False


if __name__ == "__main__":
    sys.exit(main())
