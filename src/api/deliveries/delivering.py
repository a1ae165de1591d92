"""Storing what a device delivers: each row for itself, all of them in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from src.api.bodies import Values, check_row
from src.api.deliveries.equality import is_same_row, is_same_values
from src.api.deliveries.given_events import GivenEvent, Unreadable
from src.api.deliveries.ledger import find_receipts
from src.api.deliveries.ranges import Received
from src.api.given_rows import Given
from src.api.http import Request, shortened
from src.api.writer import Writer
from src.auth.tombstones import ERASED
from src.core.errors import ApiError, InvalidRequest, ReferenceBroken
from src.core.tables import Delivery
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import fetch_rows, transact

NOT_YOURS = "must be your own: a row is delivered by its owner"
TAKEN = "is the key of another row"
OTHER_CONTENT = "is stored already, with other content; what is stored stays"
TWICE = "stands earlier in this batch, with other content"


class Result(StrEnum):
    """What became of a row."""

    OK = "ok"
    """It is stored."""
    DUPLICATE = "duplicate"
    """It was stored before."""
    DROP = "drop"
    """It cannot be stored, now or later."""
    RETRY = "retry"
    """It may be stored later."""


class Verdict(NamedTuple):
    """What became of a row, and why."""

    result: Result
    detail: str = ""


OK, DUPLICATE = Verdict(Result.OK), Verdict(Result.DUPLICATE)


class Outcome(NamedTuple):
    """What became of all rows, by their labels, and what has arrived from the devices among them."""

    verdicts: dict[str, Verdict]
    receipts: dict[str, Received]

    @property
    def accepted(self) -> int:
        """How many rows are stored."""
        return sum(verdict.result in (Result.OK, Result.DUPLICATE) for verdict in self.verdicts.values())


class _Candidate(NamedTuple):
    """A row that may be stored."""

    label: str
    key: str
    values: Values


class _ErasedMeanwhile(Exception):
    """People of a delivery were erased while it was being stored."""

    def __init__(self, people: set[str]) -> None:
        self.people = people


async def deliver(
    request: Request, writer: Writer, events: Sequence[GivenEvent], sent_at: datetime | None, *, is_rehearsal: bool
) -> Outcome:
    """Store what can be stored. When this returns, every row that it calls ok or a duplicate is committed.

    Raises:
        Unavailable: nothing was stored; the whole delivery may be sent again.
    """
    if request.transaction:
        raise InvalidRequest("a delivery is no part of a batch; each of its rows stands for itself")
    delivery = writer.models.delivery
    assert delivery is not None, "only tables with a delivery are delivered to"
    sorting = _Sorting(writer, delivery, sent_at)
    for index, event in enumerate(events):
        sorting.take(index, event)
    verdicts, candidates = sorting.verdicts, sorting.candidates
    while candidates:
        try:
            stored = await transact(
                request.db,
                lambda db, rows=candidates: _store(db, writer, rows),  # type: ignore[misc]
                is_rehearsal=is_rehearsal,
            )
        except _ErasedMeanwhile as erased:
            gone = [each for each in candidates if each.values.get(writer.table.owner) in erased.people]
            verdicts |= {each.label: Verdict(Result.DROP, ERASED) for each in gone}
            candidates = [each for each in candidates if each not in gone]
        else:
            verdicts |= _judge(writer, delivery, candidates, stored)
            break
    for label, first in sorting.repeated.items():
        verdicts[label] = DUPLICATE if verdicts[first] is OK else verdicts[first]
    return Outcome(
        {label: verdicts[label] for label in sorting.labels},
        await find_receipts(request.db, writer.reach.person, sorting.devices) if sorting.devices else {},
    )


class _Sorting:
    """Sorts rows into those that may be stored, those that cannot, and those that stand there twice."""

    def __init__(self, writer: Writer, delivery: Delivery, sent_at: datetime | None) -> None:
        self._writer = writer
        self._delivery = delivery
        self._sent_at = sent_at
        self._left_out = left_out(delivery)
        self._by_key: dict[str, _Candidate] = {}
        self._taken: set[str] = set()
        self.labels: list[str] = []
        self.verdicts: dict[str, Verdict] = {}
        self.candidates: list[_Candidate] = []
        self.repeated: dict[str, str] = {}
        """Labels of rows that are equal to one before them, and that one's label."""
        self.devices: set[str] = set()

    def take(self, index: int, event: GivenEvent) -> None:
        """Take the next row."""
        label = self._label(index, event)
        self.labels.append(label)
        if isinstance(event, Unreadable):
            self.verdicts[label] = Verdict(Result.DROP, event.reason)
            return
        try:
            values = self._values_of(event)
        except InvalidRequest as error:
            self.verdicts[label] = Verdict(Result.DROP, error.detail)
            return
        candidate = _Candidate(label, str(values[self._writer.table.key]), values)
        first = self._by_key.setdefault(candidate.key, candidate)
        if first is candidate:
            self.candidates.append(candidate)
            self._note_device(values)
        elif is_same_values(self._writer.table, first.values, values, self._left_out):
            self.repeated[label] = first.label
        else:
            self.verdicts[label] = Verdict(Result.DROP, f"{self._writer.table.key} {TWICE}")

    def _label(self, index: int, event: GivenEvent) -> str:
        key = event.value.get(self._writer.table.key) if _is_object(event) else None  # type: ignore[union-attr]
        # An id that could be an index, or that stands there twice, would be misread.
        if not isinstance(key, str) or not key or key.isdecimal() or key in self._taken or shortened(key) != key:
            return str(index)
        self._taken.add(key)
        return key

    def _values_of(self, given: Given) -> Values:
        models, names = self._writer.models, self._delivery
        values = self._writer.owned(check_row(models, models.create, given).values)
        if self._writer.reach.is_owned and values[self._writer.table.owner] != self._writer.reach.person:
            raise InvalidRequest(f"{self._writer.table.owner} {NOT_YOURS}")
        if self._sent_at and values.get(names.sent_at) is None:
            values[names.sent_at] = self._sent_at
        return values

    def _note_device(self, values: Values) -> None:
        device = values.get(self._delivery.device)
        if isinstance(device, str) and values.get(self._delivery.seq) is not None:
            self.devices.add(device)


def _is_object(event: GivenEvent) -> bool:
    return isinstance(event, Given) and isinstance(event.value, dict)


def left_out(delivery: Delivery) -> frozenset[str]:
    """What may differ between two deliveries of the same row: when it was sent, and how its time was written."""
    return frozenset({delivery.sent_at, delivery.utc_offset})


class _Stored(NamedTuple):
    """What the database made of candidates."""

    new: Mapping[str, ApiError | None]
    """The keys of those that are new, or were refused."""
    rows: Mapping[str, str]
    """The rows that the others found, by their keys; without those out of reach."""


async def _store(db: Connection, writer: Writer, candidates: Sequence[_Candidate]) -> _Stored:
    # In one order, two deliveries of the same rows do not wait for each other.
    in_order = sorted(candidates, key=lambda each: each.key)
    written = await writer.insert_each(db, [each.values for each in in_order])
    refused = {each.key: key for each, key in zip(in_order, written, strict=True) if isinstance(key, ApiError)}
    new = {each.key for each, key in zip(in_order, written, strict=True) if key is not None} - set(refused)
    if erased := await writer.find_erased(db, [each.values for each in candidates]):
        raise _ErasedMeanwhile(erased)
    await writer.note(db, [each.values for each in candidates if each.key in new])
    others = [each.key for each in candidates if each.key not in new and each.key not in refused]
    rows: dict[str, str] = {}
    if others:
        found = await fetch_rows(db, builder.select_rows(writer.reach, (builder.has_one_of(writer.table, others),)))
        rows = {str(key): row for row, key in found}
    return _Stored({**refused, **dict.fromkeys(new)}, rows)


def _judge(writer: Writer, delivery: Delivery, candidates: Sequence[_Candidate], stored: _Stored) -> dict[str, Verdict]:
    return {each.label: _verdict(writer, delivery, each, stored) for each in candidates}


def _verdict(writer: Writer, delivery: Delivery, candidate: _Candidate, stored: _Stored) -> Verdict:
    if candidate.key in stored.new:
        error = stored.new[candidate.key]
        if error is None:
            return OK
        # What a row refers to may arrive later.
        return Verdict(Result.RETRY if isinstance(error, ReferenceBroken) else Result.DROP, error.detail)
    row: Any = stored.rows.get(candidate.key)
    if row is None:
        return Verdict(Result.DROP, f"{writer.table.key} {TAKEN}")
    if is_same_row(writer.table, row, candidate.values, left_out(delivery)):
        return DUPLICATE
    return Verdict(Result.DROP, f"{writer.table.key} {OTHER_CONTENT}")
