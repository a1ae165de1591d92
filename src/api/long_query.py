"""Long queries: the parameters of a list in a body, as a JSON object or a form, with no limit of a URL."""

from collections.abc import Iterator
from typing import Any

import msgspec

from src.api.http import FORM_TYPE, QUERY_TYPES, Request, shortened
from src.api.query import Pair, check_number_of_parameters, split_query
from src.api.strict_json import need_object, parse_json
from src.core.errors import InvalidRequest, Problem

# Parameters whose value is a list with commas; in JSON it may be an array.
COMMA_LISTS = ("sort", "fields", "expand", "group", "select")
LIST_SUFFIXES = ("_in", "_nin")


async def read_long_query(request: Request) -> list[Pair]:
    """Read the parameters in the body, beside those of the URL (which has the cursor, when a `Link` is followed).

    Raises:
        UnsupportedMedia: neither JSON nor a form.
        InvalidRequest: not an object, or a value that no parameter takes.
    """
    media_type, body = await request.body_of(*QUERY_TYPES)
    pairs = split_query(body.decode("latin-1")) if media_type == FORM_TYPE else list(_pairs(body))
    pairs = [*split_query(request.query_string), *((name, text, "") for name, text, _ in pairs)]
    check_number_of_parameters(len(pairs))
    return pairs


def _pairs(body: bytes) -> Iterator[Pair]:
    value = need_object(parse_json(body).value)
    for name, content in value.items():
        if "." not in name and (content is None or (isinstance(content, list) and None in content)):
            raise _refused(name, "is compared with no null; ask for no value with _isnull")
        if isinstance(content, list) and not name.endswith(LIST_SUFFIXES):
            if not content:
                # Left out in silence, a filter by nothing would find everything.
                raise _refused(name, "takes at least one value; leave it out if you mean none")
            texts = [_text(name, item) for item in content]
            for text in [",".join(texts)] if name in COMMA_LISTS else texts:
                yield name, text, ""
        else:
            yield name, _json(content) if isinstance(content, list) else _text(name, content), ""


def _text(name: str, value: Any) -> str:
    """A scalar as it would stand in a URL."""
    if isinstance(value, dict | list):
        raise _refused(name, "takes what it takes in a URL: a text, a number, true, false, or an array of these")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        # In JSON, 20.0 is an integer.
        value = int(value)
    return value if isinstance(value, str) else _json(value)


def _refused(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{shortened(name)}: {reason}", (Problem("body", "/" + shortened(name), reason),))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
