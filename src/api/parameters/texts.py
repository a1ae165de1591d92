"""How the values of parameters are cut into parts: at separators outside of quotes and parentheses."""

import re
from collections.abc import Iterator

QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


class Unbalanced(ValueError):
    """A quote or a parenthesis that is not closed, or closed but not opened."""


def split_outside(text: str, separator: str) -> list[str]:
    """Cut a text at each separator that stands outside of double quotes and parentheses.

    Raises:
        Unbalanced: a quote or a parenthesis has no other half.
    """
    return list(_parts(text, separator)) if '"' in text or "(" in text or ")" in text else text.split(separator)


def _parts(text: str, separator: str) -> Iterator[str]:
    depth = begin = place = 0
    while place < len(text):
        character = text[place]
        if character == '"':
            quoted = QUOTED.match(text, place)
            if quoted is None:
                raise Unbalanced("a double quote is not closed")
            place = quoted.end()
            continue
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise Unbalanced("a parenthesis is closed but not opened")
        if character == separator and not depth:
            yield text[begin:place]
            begin = place + 1
        place += 1
    if depth:
        raise Unbalanced("a parenthesis is not closed")
    yield text[begin:]


def unquote(text: str) -> str:
    """What stands between double quotes, a backslash before a character meaning that character."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
