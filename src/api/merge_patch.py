"""JSON merge patch (RFC 7396), on texts: what a patch does not touch keeps every digit that it was written with."""

import msgspec

from src.api.bodies import Values, check_row
from src.api.given_rows import Members, decode_members, given_text
from src.api.strict_json import need_object, parse_json
from src.api.validation import refuse_unknown
from src.core.errors import BodyTooLarge
from src.core.models import TableModels

_encode = msgspec.json.Encoder().encode
NULL = msgspec.Raw(b"null")


class Patch:
    """What a body says of the columns of a row."""

    def __init__(self, models: TableModels, body: bytes) -> None:
        """Read a body.

        Raises:
            InvalidRequest: it is no JSON object, or deletes what no row has.
        """
        json = parse_json(body)
        need_object(json.value)
        self._models = models
        self._text = json.text
        self._members = self._without_server_columns(json.text)
        # What is deleted leaves no trace in the row that is checked.
        refuse_unknown(models.update, (name for name, value in self._members.items() if value == NULL))

    def _without_server_columns(self, text: bytes | str) -> Members:
        return {name: value for name, value in decode_members(text).items() if name not in self._models.server_columns}

    @property
    def names_key(self) -> bool:
        """Whether it says anything of the key."""
        return self._models.key in self._members

    @property
    def merges_documents(self) -> bool:
        """Whether what it makes of a row depends on what is there: it goes inside of a document."""
        return any(_is_object(self._members.get(name)) for name in self._models.info.documents)

    def check(self) -> None:
        """Look at what depends on no row, also where there is none to change.

        Raises:
            InvalidRequest: the table's models refuse it.
        """
        plain = {name: text for name, text in self._members.items() if name not in self._models.info.documents}
        check_row(self._models, self._models.patch, given_text(self._models, _encode(plain)))

    def values(self) -> Values:
        """The columns that it sets, where that depends on no row.

        Raises:
            InvalidRequest: the table's models refuse them.
        """
        return self._named(check_row(self._models, self._models.patch, given_text(self._models, self._text)).values)

    def apply(self, row: str, max_bytes: int) -> Values:
        """The columns that it sets of this row, checked as if the whole row had been sent.

        Raises:
            InvalidRequest: the table's models refuse the row that it makes.
            BodyTooLarge: that has more bytes than a row may have.
        """
        text = _encode(_merge(self._without_server_columns(row), self._members))
        if len(text) > max_bytes:
            raise BodyTooLarge(f"the row would be larger than {max_bytes} bytes")
        return self._named(check_row(self._models, self._models.update, given_text(self._models, text)).values)

    def _named(self, values: Values) -> Values:
        defaults = self._models.defaults
        named = {name: values.get(name) for name in self._members}
        return {name: defaults.get(name) if value is None else value for name, value in named.items()}


def _merge(target: Members, patch: Members) -> Members:
    merged = dict(target)
    for name, value in patch.items():
        if value == NULL:
            merged.pop(name, None)
        elif _is_object(value):
            below = merged.get(name)
            inside = decode_members(below) if below is not None and _is_object(below) else {}
            merged[name] = msgspec.Raw(_encode(_merge(inside, decode_members(value))))
        else:
            merged[name] = value
    return merged


def _is_object(text: msgspec.Raw | None) -> bool:
    return text is not None and memoryview(text)[0] == ord("{")
