"""Bodies -> the values of rows, checked by the table's explicit model."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, ValidationError

from src.api.deliveries.offsets import with_offset
from src.api.errors import MAX_PROBLEMS
from src.api.given_rows import Given, given_row, given_rows
from src.api.hints import nearest
from src.api.http import shortened
from src.api.strict_json import need_object
from src.core.errors import InvalidRequest, Problem
from src.core.models import TableModels
from src.core.types import WriteModel

Values = dict[str, object]
"""What a row is to have, by column; JSON documents as the text that the client wrote."""


class Checked(NamedTuple):
    """One row that may be stored."""

    values: Values
    named: Collection[str]
    """What the body names; all else has its default."""
    line: int | None = None
    """Where the row begins, in a body of lines."""


def read_row(models: TableModels, model: type[WriteModel], body: bytes) -> Checked:
    """Read a body of JSON into the values of one row.

    Columns that the server sets are ignored, so that a row that was read can be changed and put back.
    Columns that the database fills are left out where the body leaves them out.

    Raises:
        InvalidRequest: the body is not strict JSON, not an object, or not what the model takes.
    """
    return check_row(models, model, given_row(models, body))


def read_rows(models: TableModels, media_type: bytes, body: bytes) -> list[Checked]:
    """Read a body of many new rows: an array of JSON, lines of JSON, or a CSV.

    Raises:
        InvalidRequest: too many rows, a key stands twice, or rows are not what the model takes; with their places.
    """
    rows = list(_check_all(models, given_rows(models, media_type, body)))
    _refuse_key_twice(models.key, rows)
    return rows


def check_row(models: TableModels, model: type[WriteModel], given: Given) -> Checked:
    """Check one row against a model.

    Raises:
        InvalidRequest: with one problem per member that is missing, unknown or wrong.
    """
    value = need_object(given.value)
    for name in models.server_columns:
        value.pop(name, None)
    row = _validate(model, value)
    if models.has_plain_names:
        values = row.__dict__
    else:
        columns = models.columns_by_field
        values = {columns[field]: content for field, content in row.__dict__.items()}
    for name in models.info.documents:
        if values.get(name) is not None:
            values[name] = given.document(name)
    for name in models.database_defaults:
        if values.get(name) is None:
            values.pop(name, None)
    if models.delivery and model is models.create:
        values = with_offset(models.delivery, values, value.get(models.delivery.happened_at))
    return Checked(values, given.columns or value, given.line)


def _check_all(models: TableModels, given: Iterable[Given]) -> Iterator[Checked]:
    """Yield each row, or raise all that is wrong with any of them."""
    problems: list[Problem] = []
    first = ""
    for index, each in enumerate(given):
        try:
            checked = check_row(models, models.create, each)
        except InvalidRequest as error:
            first = first or f"{place_of(index, each.line)}: {error.detail}"
            problems += (_placed(problem, index, each) for problem in error.problems)
            if len(problems) >= MAX_PROBLEMS:
                break
        else:
            if not problems:
                yield checked
    if problems:
        raise InvalidRequest(first, tuple(problems))


def place_of(index: int, line: int | None = None) -> str:
    """Where a row stands in a body, in words."""
    return f"the row at index {index}" + ("" if line is None else f" (line {line})")


def _placed(problem: Problem, index: int, given: Given) -> Problem:
    column = problem.pointer[1:].partition("/")[0]
    return problem._replace(
        pointer=f"/{index}{problem.pointer}",
        line=given.line,
        column=given.columns.index(column) + 1 if column in given.columns else None,
    )


def _refuse_key_twice(key: str, rows: list[Checked]) -> None:
    seen: dict[object, int] = {}
    for index, row in enumerate(rows):
        value = row.values.get(key)
        if value is not None and seen.setdefault(value, index) != index:
            reason = f"{key} is the same as at index {seen[value]}"
            raise InvalidRequest(f"{place_of(index)}: {reason}", (Problem("body", f"/{index}/{key}", reason),))


def _validate(model: type[WriteModel], value: dict[str, Any]) -> WriteModel:
    """Check a decoded body against a model.

    Raises:
        InvalidRequest: with one problem per member that is missing, unknown or wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = tuple(
            _problem(model, cast("dict[str, Any]", item))
            for item in error.errors(include_url=False, include_input=False)
        )
    raise _refused(problems)


def _refused(problems: tuple[Problem, ...]) -> InvalidRequest:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(f"{first.pointer.removeprefix('/')}: {first.detail}{more}", problems)


def _problem(model: type[BaseModel], error: dict[str, Any]) -> Problem:
    pointer = "".join("/" + shortened(str(part)).replace("~", "~0").replace("/", "~1") for part in error["loc"])
    match error["type"]:
        case "missing":
            return Problem("body", pointer, "is required")
        case "extra_forbidden":
            return Problem("body", pointer, _unknown_member(model, str(error["loc"][-1])))
        case "too_long" | "string_too_long":
            return Problem("body", pointer, f"takes at most {error['ctx']['max_length']} characters")
        case "dict_type" | "model_type":
            return Problem("body", pointer, "takes a JSON object")
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem("body", pointer, message if error["type"] == "value_error" else f"must be {message}")


def refuse_unknown(model: type[BaseModel], names: Iterable[str]) -> None:
    """Refuse members that a model does not have.

    Raises:
        InvalidRequest: with one problem per member.
    """
    known = {field.alias or attribute for attribute, field in model.model_fields.items()}
    problems = tuple(
        Problem("body", f"/{shortened(name)}", _unknown_member(model, name)) for name in names if name not in known
    )
    if problems:
        raise _refused(problems)


def _unknown_member(model: type[BaseModel], name: str) -> str:
    known = [field.alias or attribute for attribute, field in model.model_fields.items()]
    return "is unknown" + nearest(name, known)
