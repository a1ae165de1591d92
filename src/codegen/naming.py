"""Names: whatever a database calls its tables and columns becomes a name that Python and Pydantic take."""

import keyword
import re
import unicodedata

from src.core import types
from src.core.types import ReadModel, WriteModel

# What a model has already, and what its body calls while it is built.
TAKEN_FIELDS = frozenset(dir(ReadModel)) | frozenset(dir(WriteModel)) | {"new_uuid"}
# What a generated module imports or defines besides its models.
TAKEN_CLASSES = frozenset(vars(types)) | {"ForeignKey", "TABLE", "TableModels", "None", "True", "False"}
WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
KEEP_ENDINGS = ("ss", "us", "is", "news", "series")


def field_names(columns: list[str]) -> dict[str, str]:
    """Name the field of each column: the column's own name where Python takes it, else a similar one."""
    names = {column: column for column in columns if _identifier(column, "column") == column not in TAKEN_FIELDS}
    for column in columns:
        if column not in names:
            names[column] = _first_free(_identifier(column, "column"), TAKEN_FIELDS.union(names.values()))
    return names


def module_name(table: str) -> str:
    """Name the module of a table, as `from src.models import ...` and the file system take it."""
    return _identifier(table, "table")


def class_name(table: str) -> str:
    """Name the read model after one row of the table: `order items` has rows of class `OrderItem`."""
    *first, last = _identifier(table, "table").strip("_").split("_")
    name = "".join(word[:1].upper() + word[1:] for word in [*first, _singular(last)])
    return f"{name}Row" if name in TAKEN_CLASSES else name


def path_name(table: str) -> str:
    """Name the table in addresses: `/order-items`."""
    return _identifier(table, "table").strip("_").replace("_", "-")


def _identifier(name: str, noun: str) -> str:
    """Turn any name into one in snake_case that is legal in Python; a legal one stays as it is."""
    split = WORD_BORDER.sub("_", unicodedata.normalize("NFKC", name)).lower()
    plain = re.sub(r"\W", "_", unicodedata.normalize("NFKC", split)).lstrip("_")
    legal = plain if plain.isidentifier() else f"{noun}_{plain}".rstrip("_")
    return f"{legal}_" if keyword.iskeyword(legal) else legal


def _first_free(name: str, taken: frozenset[str]) -> str:
    if name not in taken:
        return name
    if f"{name}_" not in taken:
        return f"{name}_"
    return next(numbered for number in range(2, len(taken) + 3) if (numbered := f"{name}_{number}") not in taken)


def _singular(word: str) -> str:
    if word.endswith(KEEP_ENDINGS) or len(word) < 3:
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    return word.removesuffix("s")
