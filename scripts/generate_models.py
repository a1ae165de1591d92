"""Write the Pydantic models of a database's tables, and print what else it takes to serve them.

python -m scripts.generate_models                    all tables of DATABASE_URL
python -m scripts.generate_models pets "order items" these tables
python -m scripts.generate_models --check            change nothing; exit 1 when a file differs
"""

import argparse
import asyncio
import sys
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from src.codegen import wiring
from src.codegen.files import Modules, file_name, generated_files, has_drifted, is_generated, render_modules
from src.codegen.modules import COMMAND
from src.codegen.naming import module_name
from src.core.config import load_settings
from src.core.errors import DatabaseAway
from src.db.catalogs.live import LiveTable
from src.db.introspection import read_tables
from src.db.schema import metadata

ROOT = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        tables = asyncio.run(read_tables(_url(options.database_url)))
    except DatabaseAway as error:
        print(error)
        return 1
    if options.check:
        return check(tables, options.output, options.tables)
    modules = render_modules(tables, options.tables or list(tables), metadata)
    write(modules, options.output)
    _report(modules, tables, options.output)
    if not options.tables:
        _mention_orphans(tables, options.output, must_prune=options.prune)
    return 1 if any(name in modules.refused for name in options.tables) else 0


def write(modules: Modules, directory: Path) -> None:
    """Write the modules into the directory, and never over what somebody wrote by hand."""
    directory.mkdir(parents=True, exist_ok=True)
    for table, text in list(modules.texts.items()):
        path = directory / file_name(table)
        if path.exists() and not is_generated(path):
            del modules.texts[table]
            modules.refused[table] = f"{_shown(path)} exists and was not written by this command; move it away"
        elif has_drifted(path, text):
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"wrote {_shown(path)}")
        else:
            print(f"unchanged {_shown(path)}")


def check(tables: dict[str, LiveTable], directory: Path, names: list[str]) -> int:
    """Compare the files with the database: of the named tables, else of those in schema.py or with a file."""
    files = {path.name for path in generated_files(directory)}
    chosen = names or [name for name in tables if name in metadata.tables or file_name(name) in files]
    modules = render_modules(tables, chosen, metadata)
    paths = {directory / file_name(table): text for table, text in modules.texts.items()}
    problems = [f"{_shown(path)} differs: run {COMMAND}" for path, text in paths.items() if has_drifted(path, text)]
    problems += [f"table {table} cannot be served: {reason}" for table, reason in modules.refused.items()]
    if not names:
        problems += [f"table {name} is missing in the database: {_cure(name)}" for name in _missing(tables, directory)]
    print("\n".join(problems) or f"{len(paths)} modules in {_shown(directory)} agree with the database")
    return 1 if problems else 0


def _missing(tables: dict[str, LiveTable], directory: Path) -> list[str]:
    """Name the tables that schema.py or a file has, and the database lacks."""
    known = {file_name(table) for table in (*tables, *metadata.tables)}
    orphans = [path.stem for path in generated_files(directory) if path.name not in known]
    return sorted({*(set(metadata.tables) - set(tables)), *orphans})


def _cure(table: str) -> str:
    if table in metadata.tables:
        return "run alembic upgrade head"
    return f"create it, or remove its file with {COMMAND} --prune"


def _report(modules: Modules, tables: dict[str, LiveTable], directory: Path) -> None:
    for remark in modules.remarks:
        print(f"note: {remark}")
    for table, reason in modules.refused.items():
        print(f"refused: table {table}: {reason}")
    if not tables:
        print("The database has no tables: run alembic upgrade head")
    steps: dict[str, list[str]] = {}
    sources = wiring.Sources.read(ROOT)
    for table, text in modules.texts.items():
        if table in metadata.tables and metadata.tables[table].info.get("is_private"):
            continue
        for step in wiring.missing_steps(table, has_timestamps="server_columns=" in text, sources=sources):
            steps.setdefault(step.place, []).extend(step.lines)
    for place, lines in steps.items():
        print(f"\nAdd to {place}:\n")
        print("\n".join(lines))


def _mention_orphans(tables: dict[str, LiveTable], directory: Path, *, must_prune: bool) -> None:
    modules = {module_name(table) for table in tables}
    for path in generated_files(directory):
        if path.stem in modules:
            continue
        if must_prune:
            path.unlink()
        print(f"{'removed' if must_prune else 'note: no table for'} {_shown(path)}")


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _url(text: str | None) -> URL:
    return make_url(text) if text else load_settings().url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the models of a database's tables.")
    parser.add_argument("tables", nargs="*", metavar="table", help="all tables when none is named")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file differs")
    parser.add_argument("--prune", action="store_true", help="remove generated files whose table is gone")
    parser.add_argument("--database-url", metavar="URL", help="another database than DATABASE_URL")
    parser.add_argument("--output", metavar="DIR", type=Path, default=ROOT / "src" / "models")
    return parser


if __name__ == "__main__":
    sys.exit(main())
