"""MODEL_MAP: table name -> its models. Adding a line here is the second of the README's four steps."""

from src.core.models import TableModels
from src.models import algos, event_log, recordings, sessions, users

MODEL_MAP: dict[str, TableModels] = {
    "users": users.TABLE,
    "sessions": sessions.TABLE,
    "recordings": recordings.TABLE,
    "algos": algos.TABLE,
    "event_log": event_log.TABLE,
}


def models_of(table_name: str) -> TableModels:
    """The models of a table.

    Raises:
        LookupError: the table is not in MODEL_MAP.
    """
    try:
        return MODEL_MAP[table_name]
    except KeyError:
        raise LookupError(
            f"{table_name!r} is not in MODEL_MAP (src/api/dependencies.py); "
            f"run: python -m scripts.generate_models {table_name}"
        ) from None
