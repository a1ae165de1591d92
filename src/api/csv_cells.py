"""CSV as RFC 4180 says. What Python's own reader forgets is kept: an empty cell is no value, `""` is an empty text."""

import re
from collections.abc import Iterator

from src.core.errors import InvalidRequest, Problem

Cells = list[str | None]

_match_cell = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)').match
_BYTE_ORDER_MARK = "\ufeff"
# No table of SQLite or PostgreSQL has more columns.
MAX_CELLS = 2000


def read_lines(text: str) -> Iterator[tuple[int, Cells]]:
    """Yield the cells of each line, beside the number of the line on which it begins, counted from 1.

    Raises:
        InvalidRequest: a quote stands where none can be, or is never closed; a line has too many cells.
    """
    place = len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0
    line, begin = 1, 1
    cells: Cells = []
    while place < len(text) or cells:
        found = _match_cell(text, place)
        if found is None:
            reason = "a cell with quotes, commas or line breaks stands in quotes, and a quote in it is doubled"
            column = len(cells) + 1
            raise InvalidRequest(
                f"line {line}, column {column}: {reason}", (Problem("body", "", reason, line=line, column=column),)
            )
        quoted, plain, end = found.groups()
        cells.append(plain or None if quoted is None else quoted.replace('""', '"'))
        if quoted:
            line += len(re.findall(r"\r\n|\n|\r", quoted))
        if len(cells) > MAX_CELLS:
            reason = f"a line has at most {MAX_CELLS} cells"
            raise InvalidRequest(f"line {line}: {reason}", (Problem("body", "", reason, line=line),))
        place = found.end()
        if end != ",":
            yield begin, cells
            cells = []
            line += 1
            begin = line
