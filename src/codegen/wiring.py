"""The lines of code that put a table into the API, ready to be copied."""

import re
from pathlib import Path
from typing import NamedTuple

from src.codegen.naming import module_name, path_name
from src.codegen.source import call, lay_out, literal, quoted

DEPENDENCIES = "src/api/dependencies.py"
ROUTES = "src/api/routes/crud_routes.py"
MAIN = "src/main.py"
# Addresses that the service has for itself.
TAKEN_PATHS = {"batch", "docs", "health", "openapi.json", "redoc", "static-offline-docs", "v1"}


class Sources(NamedTuple):
    """The three files that a table is entered in, as they are now."""

    dependencies: str
    routes: str
    main: str

    @classmethod
    def read(cls, root: Path) -> "Sources":
        """Read them; a file that is not there yet counts as empty."""
        paths = (root / name for name in (DEPENDENCIES, ROUTES, MAIN))
        return cls(*(path.read_text(encoding="utf-8") if path.exists() else "" for path in paths))


class Step(NamedTuple):
    """Lines to add in one place."""

    place: str
    lines: list[str]


def missing_steps(table: str, *, has_timestamps: bool, sources: Sources) -> list[Step]:
    """Write what is still to be added before the table is served; empty when nothing is."""
    steps = [
        *_entry(table, sources.dependencies),
        Step(ROUTES, _router(table, has_timestamps=has_timestamps, routes=sources.routes)),
        Step(MAIN, _registration(_router_name(table, sources.routes), sources.main)),
    ]
    return [step for step in steps if step.lines]


def _entry(table: str, dependencies: str) -> list[Step]:
    if re.search(rf"^\s*{re.escape(quoted(table))}: ", dependencies, re.MULTILINE):
        return []
    module = name = module_name(table)
    # A module called `json` or `order` must not hide what the file calls so already.
    if re.search(rf"\b{re.escape(module)}\b", dependencies):
        name = f"{module}_models"
    line = f"from src.models import {module}" + (f" as {name}" if name != module else "")
    return [
        Step(f"the imports of {DEPENDENCIES}", [line]),
        Step(f"MODEL_MAP in {DEPENDENCIES}", [f"    {quoted(table)}: {name}.TABLE,"]),
    ]


def _router(table: str, *, has_timestamps: bool, routes: str) -> list[str]:
    if f"table_name={quoted(table)}" in routes:
        return []
    path = path_name(table)
    if path in TAKEN_PATHS or f'"/{path}"' in routes:
        path = f"{path}-rows"
    arguments = {
        "table_name": quoted(table),
        "prefix": quoted(f"/{path}"),
        "tags": literal([path]),
        "auto_timestamps": str(has_timestamps),
    }
    prefix = f"{_router_name(table, routes)} = "
    return [lay_out(prefix, call("create_crud_router", **arguments))]


def _registration(router: str, main: str) -> list[str]:
    return [] if re.search(rf"\b{router}\b", main) else [f"app.include_router(crud_routes.{router})"]


def _router_name(table: str, routes: str) -> str:
    """Find what the table's router is called, if it is there already; else call it after the table."""
    argument = rf"table_name={re.escape(quoted(table))}"
    found = re.search(rf"^(\w+)\s*=\s*create_crud_router\([^()]*{argument}", routes, re.MULTILINE)
    return found.group(1) if found else f"{module_name(table).strip('_')}_router"
