"""JSON bodies -> the values of a row: one strict parser, then the table's explicit model.

Python's parser takes NaN and lone surrogates, orjson turns 10^30 into a double. msgspec does neither; what
it lets pass (duplicate members, depth) is checked here.
"""

import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, cast

import msgspec
from pydantic import BaseModel, ValidationError

from src.api.http import shortened
from src.core.errors import InvalidRequest, Problem
from src.core.models import TableModels
from src.core.tables import Kind
from src.core.types import WriteModel
from src.core.values import MAX_JSON_DEPTH

_decode = msgspec.json.Decoder().decode
_decode_exactly = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_find_long_integer = re.compile(rb"[0-9]{309}").search
MAX_DOUBLE = int(sys.float_info.max)


def read_values(models: TableModels, model: type[WriteModel], body: bytes) -> dict[str, object]:
    """Read a body into the values of a row by column, JSON documents as the text that the client wrote.

    Columns that the server sets are ignored, so that a row that was read can be changed and put back.
    Columns that the database fills are left out where the body leaves them out.

    Raises:
        InvalidRequest: the body is not strict JSON, not an object, or not what the model takes.
    """
    value, text = parse_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object", (Problem("body", "", "takes a JSON object"),))
    kinds = models.info.by_name
    if any(column.kind is Kind.NUMERIC for column in models.info.columns):
        value = _decode_exactly(body)
    for name in models.server_columns:
        value.pop(name, None)
    row = validate(model, value)
    columns = models.columns_by_field
    values = {columns[field]: content for field, content in row.__dict__.items() if field in columns}
    documents = [name for name, content in values.items() if content is not None and kinds[name].kind is Kind.JSON]
    if documents:
        members = _decode_members(text)
        values.update((name, bytes(members[name]).decode()) for name in documents)
    for name in models.database_defaults:
        if values.get(name) is None:
            values.pop(name, None)
    return values


def parse_json(body: bytes) -> tuple[Any, bytes]:
    """Parse strict JSON; the value, and its text without white space between tokens.

    Raises:
        InvalidRequest: not JSON in UTF-8, a duplicate member, NUL in a text, or nested too deep.
    """
    if not body:
        raise InvalidRequest("the body is empty", (Problem("body", "", "takes a JSON object"),))
    try:
        value = _decode(body)
        text = msgspec.json.format(body, indent=-1)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = "the text is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidRequest(f"the body is not JSON: {reason}", (Problem("body", "", reason),)) from None
    # An object as text has fewer brackets than its depth only if some of them do not nest.
    if body.count(b"{") + body.count(b"[") > MAX_JSON_DEPTH and _depth(value) > MAX_JSON_DEPTH + 1:
        raise _too_deep()
    if b"\\u0000" in body:
        _refuse_nul(value)
    if _find_long_integer(body):
        _refuse_past_doubles(value)
    # What encodes back to the same text had no duplicate member; anything else is looked at properly.
    if _encode(value) != text:
        json.loads(text, object_pairs_hook=_refuse_duplicates, parse_int=_unread, parse_float=_unread)
    return value, text


def _too_deep() -> InvalidRequest:
    reason = f"JSON documents are nested at most {MAX_JSON_DEPTH} levels deep"
    return InvalidRequest(reason, (Problem("body", "", reason),))


def _depth(value: object) -> int:
    """The number of objects and arrays around the innermost value."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for child in value.values():
            yield from _texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child)


def _refuse_nul(value: object) -> None:
    if any("\x00" in text for text in _texts(value)):
        reason = "text has no NUL character (\\u0000)"
        raise InvalidRequest(reason, (Problem("body", "", reason),))


def _numbers(value: object) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _numbers(child)


def _refuse_past_doubles(value: object) -> None:
    """Refuse integers that most JSON parsers could not read back; with an exponent, msgspec refuses them."""
    if any(abs(number) > MAX_DOUBLE for number in _numbers(value)):
        reason = "a number is at most 1.7976931348623157e308"
        raise InvalidRequest(reason, (Problem("body", "", reason),))


def _unread(_: str) -> int:
    return 0


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise InvalidRequest(
                f"the member {shortened(name)!r} stands twice in one object",
                (Problem("body", "/" + shortened(name), "stands twice in one object"),),
            )
        members[name] = value
    return members


def validate(model: type[WriteModel], value: dict[str, Any]) -> WriteModel:
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
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise InvalidRequest(f"{first.pointer.removeprefix('/')}: {first.detail}{more}", problems)


def _problem(model: type[BaseModel], error: dict[str, Any]) -> Problem:
    pointer = "".join("/" + shortened(str(part)).replace("~", "~0").replace("/", "~1") for part in error["loc"])
    match error["type"]:
        case "missing":
            return Problem("body", pointer, "is required")
        case "extra_forbidden":
            return Problem("body", pointer, _unknown_member(model, str(error["loc"][-1])))
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem("body", pointer, message if error["type"] == "value_error" else f"must be {message}")


def _unknown_member(model: type[BaseModel], name: str) -> str:
    known = [field.alias or attribute for attribute, field in model.model_fields.items()]
    return "is unknown" + nearest(name, known)


def nearest(name: str, known: list[str]) -> str:
    """A hint at the known name that resembles `name` most, or at all of them."""
    matches = get_close_matches(name[:100], known, n=1)
    return f"; did you mean {matches[0]}?" if matches else f"; known are {', '.join(known)}"
