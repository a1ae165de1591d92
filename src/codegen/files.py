"""The modules of a whole database, and the files that they are compared with or written to."""

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import MetaData

from src.codegen.columns import TableRefused, left_out_columns, not_served
from src.codegen.modules import COMMAND, render_module
from src.codegen.naming import module_name
from src.db.catalogs.live import LiveTable

MARK = f"Written by `{COMMAND}`"


@dataclass
class Modules:
    """What became of each table that was asked for."""

    texts: dict[str, str] = field(default_factory=dict)
    """Module text by table."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reason by table."""
    remarks: list[str] = field(default_factory=list)
    """What a reader should know of tables that are served."""


def render_modules(tables: dict[str, LiveTable], names: list[str], declared: MetaData) -> Modules:
    """Render the modules of the named tables of a database; one refused table stops no other."""
    modules = Modules()
    clashing = _clashes(tables)
    for name in names:
        if name not in tables:
            modules.refused[name] = "there is no such table in the database"
        elif name in clashing:
            modules.refused[name] = f"its module would be {file_name(name)}, as that of {clashing[name]}; rename one"
        else:
            _render(tables[name], modules, declared)
    return modules


def _render(live: LiveTable, modules: Modules, declared: MetaData) -> None:
    try:
        modules.texts[live.name] = render_module(live, declared.tables.get(live.name))
    except TableRefused as refusal:
        modules.refused[live.name] = str(refusal)
        return
    modules.remarks += [
        f"{live.name}.{column.name} is left out: {not_served(column)}" for column in left_out_columns(live)
    ]


def file_name(table: str) -> str:
    """Name the file of a table's models."""
    return f"{module_name(table)}.py"


def has_drifted(path: Path, text: str) -> bool:
    """Tell whether a file is missing or says something else."""
    return not path.exists() or path.read_text(encoding="utf-8") != text


def generated_files(directory: Path) -> list[Path]:
    """List the files that this command wrote, now or earlier."""
    return [path for path in sorted(directory.glob("*.py")) if is_generated(path)]


def is_generated(path: Path) -> bool:
    """Tell whether this command wrote a file: what somebody wrote by hand is never touched."""
    return MARK in path.read_text(encoding="utf-8").partition("\n")[0]


def _clashes(tables: dict[str, LiveTable]) -> dict[str, str]:
    """Find tables whose module has the name of another's; the table that is called like its module keeps it."""
    by_file: dict[str, list[str]] = {}
    for name in tables:
        by_file.setdefault(file_name(name).casefold(), []).append(name)
    return {
        name: next(other for other in names if other != name)
        for names in by_file.values()
        for name in names
        if len(names) > 1 and module_name(name) != name
    }
