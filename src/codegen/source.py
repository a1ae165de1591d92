"""Python source, laid out as the project's formatter leaves it, so that it needs none at run time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

LINE_LENGTH = 120
INDENT = "    "


@dataclass(frozen=True)
class Group:
    """Parts between brackets: `Field(default=None, max_length=255)`, `["ada"]`, `(a, b)`."""

    start: str
    parts: tuple["Part", ...]
    end: str
    is_call: bool = False
    """A call that is too long for one line may keep its arguments together on the next one."""

    def __str__(self) -> str:
        comma = "," if self.start.endswith("(") and not self.is_call and len(self.parts) == 1 else ""
        return f"{self.start}{', '.join(map(str, self.parts))}{comma}{self.end}"


@dataclass(frozen=True)
class Named:
    """A part behind a name or a key: `examples=["ada"]`, `"screen": "home"`."""

    name: str
    part: "Part"

    def __str__(self) -> str:
        return f"{self.name}{self.part}"


Part = str | Group | Named


def call(function: str, *positional: Part, **keywords: Part) -> Group:
    """Write a call of a function."""
    named = (Named(f"{name}=", part) for name, part in keywords.items())
    return Group(f"{function}(", (*positional, *named), ")", is_call=True)


def lay_out(prefix: str, part: Part, suffix: str = "", indent: str = "") -> str:
    """Write `prefix part suffix` in one line if it fits, else part by part in lines of their own."""
    line = f"{indent}{prefix}{part}{suffix}"
    if isinstance(part, Named):
        return lay_out(prefix + part.name, part.part, suffix, indent)
    if len(line) <= LINE_LENGTH or isinstance(part, str) or not part.parts:
        return line
    inner = indent + INDENT
    together = inner + ", ".join(map(str, part.parts))
    if part.is_call and len(together) <= LINE_LENGTH:
        body = together
    else:
        body = "\n".join(lay_out("", one, ",", inner) for one in part.parts)
    return f"{indent}{prefix}{part.start}\n{body}\n{indent}{part.end}{suffix}"


def literal(value: Any) -> Part:
    """Write a value: text, numbers, and lists, tuples and dictionaries of them."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Decimal):
        return f'Decimal("{value}")'
    if isinstance(value, Mapping):
        return Group("{", tuple(Named(f"{literal(key)}: ", literal(each)) for key, each in value.items()), "}")
    if isinstance(value, Sequence):
        start, end = ("(", ")") if isinstance(value, tuple) else ("[", "]")
        return Group(start, tuple(literal(each) for each in value), end)
    return repr(value)


def quoted(text: str) -> str:
    """Write text between the quotes that need fewer backslashes; double ones when it makes no difference."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    plain = repr(text.replace('"', "").replace("'", ""))
    if "'" not in text and '"' not in text:
        return f'"{plain[1:-1]}"'
    return quote + "".join(f"\\{char}" if char == quote else _escaped(char) for char in text) + quote


def docstring(text: str, indent: str = INDENT) -> str:
    """Write a docstring of one line."""
    safe = "".join(_escaped(char) for char in text).replace('"', "'")
    return f'{indent}"""{safe}"""'


def import_line(module: str, names: set[str]) -> str:
    """Write an import of names, one per line when they are too many for one."""
    line = f"from {module} import {', '.join(sorted(names))}"
    if len(line) <= LINE_LENGTH:
        return line
    return "\n".join([f"from {module} import (", *(f"{INDENT}{name}," for name in sorted(names)), ")"])


def _escaped(char: str) -> str:
    return char if char in "'\"" else repr(char)[1:-1]
