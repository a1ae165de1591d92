"""Trees of conditions in PostgREST's grammar: `or=(event_type.eq.tap,and(ts.gte.2026-01-01,log_level.eq.error))`."""

import re
from typing import NoReturn

from src.api.parameters.filters import MAX_LIST_LENGTH, SUFFIXES, parse_filter, parse_list_filter
from src.api.parameters.targets import need_target, unknown_name
from src.api.parameters.texts import QUOTED, unquote
from src.api.parameters.values import invalid
from src.core.tables import TableInfo
from src.db.queries.filters import OPERATORS
from src.db.queries.query import Condition, Junction
from src.db.queries.statement import Form

TREE_PARAMETERS = ("or", "and", "not.or", "not.and")
MAX_CONDITIONS = 100
MAX_DEPTH = 10

_find_name = re.compile(r"[^.,()\"]*")
_find_value = re.compile(r"[^,)]*")
_find_junction = re.compile(r"(and|or)\(")


def parse_tree(table: TableInfo, name: str, text: str) -> Junction:
    """Read the value of one of `TREE_PARAMETERS`.

    Raises:
        UnknownName: a column or an operator that does not exist.
        InvalidRequest: not the grammar, or more than the limits allow.
    """
    negation, _, word = name.rpartition(".")
    reader = _Reader(table, name, text)
    junction = reader.read_junction(is_any=word == "or", is_negated=bool(negation), depth=1)
    reader.expect_end()
    return junction


class _Reader:
    """A place in the text of a tree."""

    def __init__(self, table: TableInfo, name: str, text: str) -> None:
        self._table = table
        self._name = name
        self._text = text
        self._place = 0
        self._conditions = 0

    def read_junction(self, *, is_any: bool, is_negated: bool, depth: int) -> Junction:
        if depth > MAX_DEPTH:
            raise invalid(self._name, self._text, f"trees are at most {MAX_DEPTH} levels deep")
        self._expect("(")
        conditions = [self._read_condition(depth)]
        while self._skip(","):
            conditions.append(self._read_condition(depth))
        self._expect(")")
        return Junction(is_any, is_negated, tuple(conditions))

    def expect_end(self) -> None:
        if self._place != len(self._text):
            self._refuse("nothing more")

    def _read_condition(self, depth: int) -> Condition:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise invalid(self._name, self._text, f"{MAX_CONDITIONS} conditions are the most")
        while self._skip(" "):
            pass
        is_negated = self._skip("not.")
        if junction := _find_junction.match(self._text, self._place):
            self._place = junction.end() - 1
            return self.read_junction(is_any=junction.group(1) == "or", is_negated=is_negated, depth=depth + 1)
        column = self._read_text(_find_name)
        self._expect(".")
        is_negated ^= self._skip("not.")
        operator = self._read_text(_find_name)
        target = need_target(self._table, self._name, column)
        if operator not in SUFFIXES:
            raise unknown_name(self._name, operator, list(SUFFIXES), "operator")
        self._expect(".")
        name = f"{self._name}: {column}.{operator}"
        if operator in OPERATORS and OPERATORS[operator].form is Form.LIST:
            condition = parse_list_filter(self._table, target, operator, name, self._read_list())
        else:
            condition = parse_filter(self._table, target, operator, name, self._read_text(_find_value))
        return Junction(is_any=False, is_negated=True, conditions=(condition,)) if is_negated else condition

    def _read_list(self) -> list[str]:
        self._expect("(")
        items = [self._read_text(_find_value)]
        while self._skip(","):
            items.append(self._read_text(_find_value))
            if len(items) > MAX_LIST_LENGTH:
                raise invalid(self._name, self._text, f"a list has at most {MAX_LIST_LENGTH} values")
        self._expect(")")
        return items

    def _read_text(self, pattern: re.Pattern[str]) -> str:
        found = QUOTED.match(self._text, self._place)
        if found:
            self._place = found.end()
            return unquote(found.group(1))
        found = pattern.match(self._text, self._place)
        assert found is not None, "the pattern matches the empty text too"
        self._place = found.end()
        return found.group()

    def _skip(self, text: str) -> bool:
        if not self._text.startswith(text, self._place):
            return False
        self._place += len(text)
        return True

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            self._refuse(repr(text))

    def _refuse(self, expected: str) -> NoReturn:
        found = repr(self._text[self._place]) if self._place < len(self._text) else "the end"
        reason = f"expected {expected} at character {self._place + 1}, found {found}"
        raise invalid(self._name, self._text, reason)
