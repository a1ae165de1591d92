"""Bodies of rows as they are given: an object, an array, lines of JSON, a CSV. No model has checked them yet."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from src.api.csv_cells import Cells, read_lines
from src.api.errors import MAX_PROBLEMS
from src.api.hints import nearest
from src.api.http import CSV_TYPE, JSON_TYPE, shortened
from src.api.parameters.values import match_number
from src.api.strict_json import Json, parse_json
from src.core.errors import InvalidRequest, Problem
from src.core.models import TableModels
from src.core.tables import Kind

MAX_ROWS = 1000

_decode_exactly = msgspec.json.Decoder(float_hook=Decimal).decode
Members = dict[str, msgspec.Raw]
decode_members = msgspec.json.Decoder(Members).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Given(NamedTuple):
    """One row as a body gives it."""

    value: Any
    document: Callable[[str], str]
    """The text of a member that holds a JSON document."""
    line: int | None = None
    """Where it begins, in a body of lines, counted from 1."""
    columns: tuple[str, ...] = ()
    """The columns of its line, in a CSV; a cell without value is no member of the row."""
    filled: frozenset[str] = frozenset()
    """Columns that whoever reads it has filled, with another value each time."""


def given_row(models: TableModels, body: bytes) -> Given:
    """Read a body of JSON that is one row.

    Raises:
        InvalidRequest: it is not strict JSON.
    """
    json = parse_json(body)
    return _given(models, json.value, json.text, is_canonical=json.is_canonical)


def given_text(models: TableModels, text: bytes) -> Given:
    """Take the text of a JSON object, which has been read strictly before, as one row."""
    return _given(models, msgspec.json.decode(text), text, is_canonical=False)


def given_rows(models: TableModels, media_type: bytes, body: bytes) -> Iterator[Given]:
    """Read a body of many rows.

    Raises:
        InvalidRequest: there are too many, or they cannot be read.
    """
    if media_type == JSON_TYPE:
        json = parse_json(body, levels=2)
        _refuse_too_many(len(json.value))
        return given_array(models, json)
    return _rows_of_csv(models, body) if media_type == CSV_TYPE else _rows_of_lines(models, body)


def given_array(models: TableModels, json: Json) -> Iterator[Given]:
    """Take an array of JSON, which has been read strictly before, as rows."""
    if json.is_canonical:
        for value in json.value:
            yield _given(models, value, b"", is_canonical=True)
    else:
        for value, text in zip(json.value, _decode_items(json.text), strict=True):
            yield _given(models, value, bytes(text), is_canonical=False)


def _rows_of_lines(models: TableModels, body: bytes) -> Iterator[Given]:
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    _refuse_too_many(len(lines))
    for number, line in lines:
        try:
            yield given_row(models, line)._replace(line=number)
        except InvalidRequest as error:
            problems = tuple(problem._replace(line=number) for problem in error.problems)
            raise InvalidRequest(f"line {number}: {error.detail}", problems) from None


def _refuse_too_many(number: int) -> None:
    if number > MAX_ROWS:
        reason = f"{MAX_ROWS} rows are the most in one request"
        raise InvalidRequest(f"the body has {number} rows; {reason}", (Problem("body", "", reason),))


def _given(models: TableModels, value: Any, text: bytes, *, is_canonical: bool) -> Given:
    if not isinstance(value, dict):
        return Given(value, str)
    if models.has_decimals:
        text = text or _encode(value)
        value, is_canonical = _decode_exactly(text), False
    if is_canonical:
        return Given(value, lambda name: _encode(value[name]).decode())
    members = decode_members(text)
    return Given(value, lambda name: bytes(members[name]).decode())


def _rows_of_csv(models: TableModels, body: bytes) -> Iterator[Given]:
    try:
        lines = read_lines(body.decode())
    except UnicodeDecodeError:
        raise InvalidRequest("the text is not UTF-8", (Problem("body", "", "the text is not UTF-8"),)) from None
    _, head = next(lines, (1, []))
    columns = _read_head(models, head)
    kinds = [models.info.by_name[name].kind for name in columns]
    for number, (line, cells) in enumerate(lines, 1):
        if number > MAX_ROWS:
            _refuse_too_many(number)
        if len(cells) != len(columns):
            reason = f"has {len(cells)} cells where the first line has {len(columns)}"
            raise InvalidRequest(f"line {line} {reason}", (Problem("body", f"/{number - 1}", reason, line=line),))
        yield _row_of_cells(columns, kinds, cells, number - 1, line)


def _read_head(models: TableModels, cells: Cells) -> tuple[str, ...]:
    """The columns that the first line names.

    Raises:
        InvalidRequest: one is unknown or stands twice, or one that every row must have is missing.
    """
    problems = []
    names = [name or "" for name in cells]
    for number, name in enumerate(names, 1):
        if name not in models.info.by_name:
            reason = f"{shortened(name)!r} is no column{nearest(name, list(models.info.by_name))}"
        elif name in names[: number - 1]:
            reason = f"{name} stands twice"
        else:
            continue
        problems.append(Problem("body", "", reason, line=1, column=number))
        if len(problems) == MAX_PROBLEMS:
            break
    missing = (name for name in models.required if name not in names)
    problems += (Problem("body", "", f"{name} is missing", line=1) for name in missing)
    if problems:
        place = f", column {problems[0].column}" if problems[0].column else ""
        raise InvalidRequest(f"line 1{place}: {problems[0].detail}", tuple(problems))
    return tuple(names)


def _row_of_cells(columns: tuple[str, ...], kinds: list[Kind], cells: Cells, index: int, line: int) -> Given:
    value: dict[str, Any] = {}
    documents: dict[str, str] = {}
    for number, (name, kind, cell) in enumerate(zip(columns, kinds, cells, strict=True), 1):
        if cell is not None and kind is Kind.JSON:
            try:
                json = parse_json(cell.encode(), levels=0)
            except InvalidRequest as error:
                reason = error.detail.replace("the body", "the cell")
                problem = Problem("body", f"/{index}/{name}", reason, line, number)
                raise InvalidRequest(f"line {line}, column {number} ({name}): {reason}", (problem,)) from None
            value[name], documents[name] = json.value, json.text.decode()
        elif cell is not None:
            value[name] = _read_cell(kind, cell)
    return Given(value, documents.__getitem__, line, columns)


def _read_cell(kind: Kind, cell: str) -> Any:
    """What stands in a cell, as it would stand in JSON; what cannot be read is left for the model to refuse."""
    if kind is Kind.BOOLEAN:
        return {"true": True, "false": False}.get(cell, cell)
    if kind in (Kind.INTEGER, Kind.DOUBLE, Kind.NUMERIC) and match_number(cell):
        try:
            return (_decode_exactly if kind is Kind.NUMERIC else msgspec.json.decode)(cell.encode())
        except msgspec.MsgspecError:
            return cell
    return cell
