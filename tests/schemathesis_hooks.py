"""What a JSON Schema cannot say of this API, so that generated requests respect it."""

from typing import Any
from urllib.parse import unquote

import schemathesis


@schemathesis.hook
def filter_body(_: Any, body: Any) -> bool:
    """Keep NUL out of documents of any shape: their schema says nothing of texts deep inside."""
    return not _has_nul(body)


@schemathesis.hook
def before_call(_: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Send no cursor, and the key of the path in a PUT's body."""
    # A cursor is opaque, and only an answer has one that is valid; `test_paging.py` tests it.
    if isinstance(case.query, dict):
        case.query.pop("cursor", None)
    is_positive = case.meta is None or case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    if case.method.upper() == "PUT" and isinstance(case.body, dict) and is_positive:
        for name, value in (case.path_parameters or {}).items():
            if name in case.body:
                # The path's parameters are percent-encoded by now.
                case.body[name] = unquote(str(value))


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(item) for pair in value.items() for item in pair)
    return isinstance(value, list) and any(map(_has_nul, value))
