"""The revisions of `migrations/`, as the service asks for them: without what runs them, which loads an ORM."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL

if TYPE_CHECKING:
    from alembic.config import Config

ROOT = Path(__file__).parents[2]


@cache
def head_revision() -> str | None:
    """Name the newest revision of `migrations/`; None before the first one was written."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - half of Alembic, only for those who ask

    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def alembic_config(url: URL | None = None) -> "Config":
    """Make Alembic's configuration for the database at `url`, for those who do not come by its command line."""
    from alembic.config import Config  # noqa: PLC0415 - the service never needs it

    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    if url is not None:
        config.attributes["url"] = url
    return config
