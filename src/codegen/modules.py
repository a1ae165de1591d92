"""The module of one table: a read, a create and an update model, and what a model cannot say."""

from collections.abc import Iterator

from sqlalchemy import Table

from src.codegen.columns import TYPES, Column, DocumentShape, left_out_columns, served_columns
from src.codegen.naming import class_name
from src.codegen.source import INDENT, Group, Part, call, docstring, import_line, lay_out, literal, quoted
from src.core.tables import Kind
from src.db.catalogs.live import LiveTable

COMMAND = "python -m scripts.generate_models"
HEADER = f"Written by `{COMMAND}`; change the schema instead."
FILLED = "Filled by the database when left out."
NUMBERED = "Numbered by the database when left out."
MADE = "Made by the server when left out."


def render_module(live: LiveTable, declared: Table | None) -> str:
    """Write the module of a table; `declared` is the table in schema.py, if it is one of those.

    Raises:
        TableRefused: the table cannot be served.
    """
    columns = served_columns(live, declared)
    notes = declared.info if declared is not None else {}
    row = notes.get("row") or class_name(live.name)
    classes = [
        *(_document(column.document) for column in columns if column.document),
        _comments(live)
        + _model(row, "ReadModel", notes.get("doc") or f"A row of `{live.name}`.", map(_read_field, columns)),
        _model(
            f"{row}Create",
            "WriteModel",
            f"What a client sends to create a row of `{live.name}`.",
            (_create_field(column) for column in columns if column.is_written),
        ),
        _model(
            f"{row}Update",
            "WriteModel",
            f"What a client sends to replace a row of `{live.name}`: what it leaves out becomes null or its default.",
            (_update_field(column) for column in columns if column.is_written or column.is_key),
        ),
        _table(row, live, columns, notes.get("sort", "")),
    ]
    head = docstring(f"Models of the table `{live.name}`. {HEADER}", indent="")
    return "\n\n\n".join([f"{head}\n\n{_imports(live, columns, classes)}", *classes]) + "\n"


def _imports(live: LiveTable, columns: list[Column], classes: list[str]) -> str:
    types = {"ReadModel", "WriteModel"} | {column.type_name for column in columns if not column.document}
    for column in columns:
        if column.document:
            types |= {"Document"} | {TYPES[Kind(member[0])] for member in column.document.members.values()}
    body = "\n".join(classes)
    first = ["from decimal import Decimal\n"] if "Decimal(" in body else []
    third_party = ["from pydantic import Field\n"] if "Field(" in body else []
    ours = [import_line("src.core.models", {"TableModels"})]
    if "ForeignKey(" in body:
        ours.append(import_line("src.core.tables", {"ForeignKey"}))
    ours.append(import_line("src.core.types", types))
    if "default_factory=new_uuid" in body:
        ours.append(import_line("src.core.values", {"new_uuid"}))
    return "\n".join([*first, *third_party, *ours])


def _comments(live: LiveTable) -> str:
    return "".join(
        f"# The column {literal(column.name)} is left out: its type is not one that can be read and written as JSON.\n"
        for column in left_out_columns(live)
    )


def _document(shape: DocumentShape) -> str:
    fields = []
    for name, (kind, example, *description) in shape.members.items():
        described = {"description": literal(description[0])} if description else {}
        field = call("Field", default="None", **described, examples=literal([example]))
        fields.append(lay_out(f"{name}: {TYPES[Kind(kind)]} | None = ", field, indent=INDENT))
    return _model(shape.name, "Document", f"{shape.doc} Further members are kept as they come.", fields)


def _model(name: str, base: str, doc: str, fields: Iterator[str] | list[str]) -> str:
    return "\n".join([f"class {name}({base}):", docstring(doc), "", *fields]).rstrip()


def _read_field(column: Column) -> str:
    annotation = column.type_name + (" | None" if column.live.is_nullable else "")
    return _field(column, annotation, None, column.doc)


def _create_field(column: Column) -> str:
    if column.is_filled_by_database:
        doc = NUMBERED if column.live.is_numbered else FILLED
        return _field(column, f"{column.type_name} | None", {"default": "None"}, f"{column.doc} {doc}".lstrip())
    if column.is_key and column.kind is Kind.UUID:
        factory: dict[str, Part] = {"default_factory": "new_uuid"}
        return _field(column, column.type_name, factory, f"{column.doc} {MADE}".lstrip())
    annotation = column.type_name + (" | None" if column.live.is_nullable else "")
    if column.default is None:
        return _field(column, annotation, {"default": "None"} if column.live.is_nullable else {}, column.doc)
    return _field(column, annotation, {"default": literal(column.default)}, column.doc)


def _update_field(column: Column) -> str:
    if not column.is_key:
        return _create_field(column)
    doc = "If sent, the key in the address."
    return _field(column, f"{column.type_name} | None", {"default": "None"}, doc, has_example=False)


def _field(
    column: Column, annotation: str, default: dict[str, Part] | None, doc: str, *, has_example: bool = True
) -> str:
    """Write one field in the shortest way: `x: Text`, `x: Text = "a"` or `x: Text = Field(...)`."""
    arguments: dict[str, Part] = dict(default or {})
    if column.field != column.name:
        arguments["alias"] = quoted(column.name)
    arguments |= _limits(column)
    if column.kind is Kind.NUMERIC and default and column.default is not None:
        # Pydantic would show the default of a decimal as a string.
        arguments["json_schema_extra"] = literal({"default": float(column.default)})
    if doc:
        arguments["description"] = literal(doc)
    if has_example and column.example is not None:
        arguments["examples"] = literal([column.example])
    if not arguments:
        return f"{INDENT}{column.field}: {annotation}"
    short = arguments.get("default") if len(arguments) == 1 else None
    return lay_out(f"{column.field}: {annotation} = ", short or call("Field", **arguments), indent=INDENT)


def _limits(column: Column) -> dict[str, Part]:
    limits = {
        "min_length": column.live.type.max_length if column.live.type.is_padded else None,
        "max_length": column.live.type.max_length,
        "max_digits": column.live.type.precision,
        "decimal_places": column.live.type.scale,
    }
    return {name: str(limit) for name, limit in limits.items() if limit is not None}


def _table(row: str, live: LiveTable, columns: list[Column], sort: str) -> str:
    served = {column.name for column in columns}
    references = tuple(call("ForeignKey", *map(quoted, key)) for key in live.foreign_keys if key.column in served)
    arguments: dict[str, Part] = {
        "table": quoted(live.name),
        "key": quoted(live.key[0]),
        "read": row,
        "create": f"{row}Create",
        "update": f"{row}Update",
        "foreign_keys": Group("(", references, ")") if references else "",
        "server_columns": _names(column.name for column in columns if column.is_server_column),
        "database_defaults": _names(
            column.name for column in columns if column.is_filled_by_database and column.is_written
        ),
        "sort": quoted(sort) if sort else "",
    }
    given = {name: part for name, part in arguments.items() if part}
    return _one_per_line("TABLE = TableModels", given)


def _names(names: Iterator[str]) -> Part:
    found = tuple(names)
    return literal(found) if found else ""


def _one_per_line(start: str, arguments: dict[str, Part]) -> str:
    lines = [lay_out(f"{name}=", part, ",", INDENT) for name, part in arguments.items()]
    return "\n".join([f"{start}(", *lines, ")"])
