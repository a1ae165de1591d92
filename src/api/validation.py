"""Checking a decoded body against a model, and what is wrong with it in words that its sender understands."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from src.api.errors import MAX_PROBLEMS
from src.api.hints import nearest
from src.api.http import shortened
from src.core import values
from src.core.errors import InvalidRequest, Problem
from src.core.types import WriteModel

# Putting one into words, with a hint at what would have been right, takes 20 µs; a body has room for half a million.
MAX_PROBLEMS_OF_ROW = 25

Context = Mapping[str, Any]

# What a text would have had to be that does not match a pattern.
PATTERNS = {values.NO_NUL: values.NUL_REFUSED, values.UUID_TEXT: values.UUID_REFUSED}
# By the type of Pydantic's error: https://docs.pydantic.dev/latest/errors/validation_errors
SENTENCES: dict[str, Callable[[Context], str]] = {
    "missing": lambda _: "is required",
    "string_type": lambda _: "takes a text",
    "string_too_short": lambda ctx: f"takes at least {_characters(ctx['min_length'])}",
    "string_too_long": lambda ctx: f"takes at most {_characters(ctx['max_length'])}",
    "string_pattern_mismatch": lambda ctx: PATTERNS.get(ctx["pattern"], f"does not match {ctx['pattern']}"),
    "dict_type": lambda _: "takes a JSON object",
    "model_type": lambda _: "takes a JSON object",
    "bool_type": lambda _: "takes true or false",
    "int_type": lambda _: "takes an integer",
    "greater_than_equal": lambda ctx: f"takes a number of at least {ctx['ge']}",
    "less_than_equal": lambda ctx: f"takes a number of at most {ctx['le']}",
    "value_error": lambda ctx: str(ctx["error"]),
}


def validate(model: type[WriteModel], value: dict[str, Any]) -> WriteModel:
    """Check a decoded body against a model.

    Raises:
        InvalidRequest: with one problem per member that is missing, unknown or wrong.
    """
    if len(value) > MAX_PROBLEMS:
        # Pydantic takes seconds for so many that it does not know.
        refuse_unknown(model, value)
    try:
        # What `model_validate` calls, after it has looked at options that are not given here.
        row: WriteModel = model.__pydantic_validator__.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise _refused([_problem(model, each) for each in found[:MAX_PROBLEMS_OF_ROW]], len(found)) from None
    return row


def refuse_unknown(model: type[BaseModel], names: Iterable[str]) -> None:
    """Refuse members that a model does not have.

    Raises:
        InvalidRequest: with one problem per member.
    """
    known = set(_members(model))
    unknown = [name for name in names if name not in known]
    if unknown:
        told = unknown[:MAX_PROBLEMS_OF_ROW]
        problems = [Problem("body", f"/{shortened(name)}", _unknown_member(model, name)) for name in told]
        raise _refused(problems, len(unknown))


def _refused(problems: Sequence[Problem], count: int) -> InvalidRequest:
    """The error of a body with so many problems, of which the first ones are put into words."""
    first = problems[0]
    more = f" (and {count - 1} more)" if count > 1 else ""
    return InvalidRequest(f"{first.pointer.removeprefix('/')}: {first.detail}{more}", tuple(problems))


def _problem(model: type[BaseModel], error: ErrorDetails) -> Problem:
    pointer = "".join("/" + shortened(str(part)).replace("~", "~0").replace("/", "~1") for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return Problem("body", pointer, _unknown_member(model, str(error["loc"][-1])))
    tell = SENTENCES.get(error["type"])
    return Problem("body", pointer, tell(error.get("ctx", {})) if tell else str(error["msg"]))


def _unknown_member(model: type[BaseModel], name: str) -> str:
    return "is unknown" + nearest(name, _members(model))


def _members(model: type[BaseModel]) -> list[str]:
    return [field.alias or attribute for attribute, field in model.model_fields.items()]


def _characters(number: int) -> str:
    return "1 character" if number == 1 else f"{number} characters"
