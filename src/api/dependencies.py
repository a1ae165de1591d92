"""MODEL_MAP: table name -> its models. Adding a line here is the second of the README's four steps."""

from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter

from src.core.models import TableModels
from src.core.tables import Relation, TableInfo
from src.models import algos, event_log, receipts, recordings, session_clocks, sessions, users

MODEL_MAP: dict[str, TableModels] = {
    "users": users.TABLE,
    "sessions": sessions.TABLE,
    "recordings": recordings.TABLE,
    "algos": algos.TABLE,
    "event_log": event_log.TABLE,
    "receipts": receipts.TABLE,
    "session_clocks": session_clocks.TABLE,
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


@cache
def relations_of(table: TableInfo) -> Mapping[str, Relation]:
    """What can be expanded in the rows of a table, by name: foreign keys from it and to it.

    A row that is referred to is named after the column without `_id`, rows that refer are named after their table.
    Where that name is taken, the other table's name or the column is added, until it is not.
    """
    relations: dict[str, Relation] = {}
    taken = set(table.by_name)
    infos = {name: models.info for name, models in MODEL_MAP.items()}
    for key in table.foreign_keys:
        if key.referred_table in infos:
            other = infos[key.referred_table]
            names = (key.column.removesuffix("_id"), f"{key.column}_{other.name}")
            name = next(name for name in (*names, f"{key.column}_row") if name not in taken)
            relations[name] = Relation(name, other, key.column, key.referred_column, is_list=False)
            taken.add(name)
    for other in infos.values():
        for key in other.foreign_keys:
            if key.referred_table == table.name:
                names = (other.name, f"{other.name}_by_{key.column}")
                name = next((name for name in names if name not in taken), "")
                if name:
                    relations[name] = Relation(name, other, key.referred_column, key.column, is_list=True)
                    taken.add(name)
    return relations


@cache
def carriers_of(table: str) -> Mapping[str, TableInfo]:
    """The other tables whose rows carry a key of this table, in a column of the same name.

    A table that refers to another one of them comes before it, so that rows can be deleted in this order.
    """
    key = MODEL_MAP[table].key
    carriers = {name: models.info for name, models in MODEL_MAP.items() if name != table and key in models.info.by_name}
    order = TopologicalSorter(
        {
            name: [other for other, info in carriers.items() if other != name and _refers(info, name)]
            for name in carriers
        }
    )
    return {name: carriers[name] for name in order.static_order()}


def _refers(table: TableInfo, name: str) -> bool:
    return any(reference.referred_table == name for reference in table.foreign_keys)
