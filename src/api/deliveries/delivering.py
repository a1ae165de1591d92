"""Storing what a device delivers: each row for itself, all of them in one transaction."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from src.api.bodies import Values, check_row
from src.api.deliveries.equality import is_same_row, is_same_values
from src.api.deliveries.given_events import GivenEvent, Unreadable
from src.api.deliveries.ledger import find_receipts
from src.api.deliveries.ranges import Received
from src.api.given_rows import Given
from src.api.http import Request
from src.api.writer import Writer
from src.auth.tombstones import ERASED
from src.core.errors import ApiError, InvalidRequest, ReferenceBroken
from src.core.tables import Delivery
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import fetch_rows

# A thousand rows take 7 ms: others have a turn before that, such as a delivery that is being stored.
CHECKED_AT_ONCE = 100
# As much of a client's text as an answer may repeat.
MAX_LABEL_LENGTH = 100
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
GONE = Verdict(Result.RETRY, "a row with this key was deleted while this one was delivered; send it again")


class Outcome(NamedTuple):
    """What became of all rows, by their labels, and what has arrived from the devices among them."""

    verdicts: dict[str, Verdict]
    receipts: dict[str, Received]

    @property
    def accepted(self) -> int:
        """How many rows are stored."""
        return sum(verdict is OK or verdict is DUPLICATE for verdict in self.verdicts.values())


class _Candidate(NamedTuple):
    """A row that may be stored."""

    label: str
    key: str
    values: Values
    ignored: frozenset[str]
    """Columns that may differ between two deliveries of the same row."""


class _ErasedMeanwhile(Exception):
    """People of a delivery were erased while it was being stored."""

    def __init__(self, people: set[str]) -> None:
        self.people = people


async def deliver(
    request: Request, writer: Writer, events: Iterable[GivenEvent], sent_at: datetime | None, *, is_rehearsal: bool
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
        if index % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
            # Other requests have a turn.
            await asyncio.sleep(0)
        sorting.take(index, event)
    verdicts, candidates = sorting.verdicts, sorting.candidates
    receipts: dict[str, Received] = {}
    while candidates:
        try:
            stored = await request.transact(
                lambda db, rows=candidates: _store(db, writer, rows),  # type: ignore[misc]
                is_rehearsal=is_rehearsal,
            )
        except _ErasedMeanwhile as erased:
            owner, everybody = writer.table.owner, candidates
            candidates = [each for each in everybody if each.values.get(owner) not in erased.people]
            gone = {each.label for each in everybody} - {each.label for each in candidates}
            verdicts |= dict.fromkeys(gone, Verdict(Result.DROP, ERASED))
        else:
            verdicts |= {each.label: _verdict(writer, each, stored) for each in candidates}
            # What a rehearsal has counted is undone.
            receipts = {} if is_rehearsal else stored.receipts
            break
    for label, first in sorting.repeated.items():
        verdicts[label] = DUPLICATE if verdicts[first] is OK else verdicts[first]
    if others := sorting.devices - receipts.keys():
        receipts |= await find_receipts(request.db, writer.reach.person, others)
    again = (each.values for each in candidates if verdicts[each.label] is DUPLICATE)
    if uncovered := [values for values in again if _is_uncovered(delivery, values, receipts)]:
        # They were stored when their device had too many gaps for an account of them.
        receipts |= await request.transact(lambda db: writer.recount(db, uncovered), is_rehearsal=is_rehearsal)
    return Outcome({label: verdicts[label] for label in sorting.labels}, receipts)


def _is_uncovered(delivery: Delivery, values: Values, receipts: Mapping[str, Received]) -> bool:
    """Whether a row has a number past all that its device's receipt knows of."""
    device, seq = values.get(delivery.device), values.get(delivery.seq)
    return isinstance(device, str) and isinstance(seq, int) and device in receipts and seq > receipts[device].through


class _Sorting:
    """Sorts rows into those that may be stored, those that cannot, and those that stand there twice."""

    def __init__(self, writer: Writer, delivery: Delivery, sent_at: datetime | None) -> None:
        self._writer = writer
        self._models = writer.models
        self._table = writer.table
        self._person = writer.reach.person if writer.reach.is_owned else None
        self._delivery = delivery
        self._sent_at = sent_at
        # Each try is sent at another time, and may write the same instant with another offset.
        self._ignored = frozenset({delivery.sent_at})
        self._ignored_if_unsaid = frozenset({delivery.sent_at, delivery.utc_offset})
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
            candidate = self._candidate(label, event)
        except InvalidRequest as error:
            self.verdicts[label] = Verdict(Result.DROP, error.detail.replace("the body", "the event"))
            return
        first = self._by_key.setdefault(candidate.key, candidate)
        if first is candidate:
            self.candidates.append(candidate)
            self._note_device(candidate.values)
        elif is_same_values(self._table, first.values, candidate.values, candidate.ignored):
            self.repeated[label] = first.label
        else:
            self.verdicts[label] = Verdict(Result.DROP, f"{self._table.key} {TWICE}")

    def _label(self, index: int, event: GivenEvent) -> str:
        key = event.value.get(self._table.key) if _is_object(event) else None  # type: ignore[union-attr]
        # An id that could be an index, or that stands there twice, would be misread.
        if not isinstance(key, str) or key in self._taken or not _is_label(key):
            return str(index)
        self._taken.add(key)
        return key

    def _candidate(self, label: str, given: Given) -> _Candidate:
        names = self._delivery
        values, named, _ = check_row(self._models, self._models.create, given)
        if self._person is not None:
            values = self._writer.owned(values)
            if values[self._table.owner] != self._person:
                raise InvalidRequest(f"{self._table.owner} {NOT_YOURS}")
        if self._sent_at and values.get(names.sent_at) is None:
            values[names.sent_at] = self._sent_at
        ignored = self._ignored if names.utc_offset in named else self._ignored_if_unsaid
        return _Candidate(label, str(values[self._table.key]), values, given.filled | ignored)

    def _note_device(self, values: Values) -> None:
        device = values.get(self._delivery.device)
        if isinstance(device, str) and values.get(self._delivery.seq) is not None:
            self.devices.add(device)


def _is_label(key: str) -> bool:
    return 0 < len(key) <= MAX_LABEL_LENGTH and key.isprintable() and not key.isdecimal()


def _is_object(event: GivenEvent) -> bool:
    return isinstance(event, Given) and isinstance(event.value, dict)


class _Stored(NamedTuple):
    """What the database made of candidates."""

    new: Mapping[str, ApiError | None]
    """The keys of those that are new, or were refused."""
    rows: Mapping[str, str]
    """The rows that the others found, by their keys; without those out of reach."""
    receipts: dict[str, Received]
    """What has arrived of the devices that count those that are new."""


async def _store(db: Connection, writer: Writer, candidates: Sequence[_Candidate]) -> _Stored:
    # In one order, two deliveries of the same rows do not wait for each other.
    in_order = sorted(candidates, key=lambda each: each.key)
    written = await writer.insert_each(db, [each.values for each in in_order])
    refused = {each.key: key for each, key in zip(in_order, written, strict=True) if isinstance(key, ApiError)}
    new = {each.key for each, key in zip(in_order, written, strict=True) if key is not None} - set(refused)
    if erased := await writer.find_erased(db, [each.values for each in candidates]):
        raise _ErasedMeanwhile(erased)
    receipts = await writer.note(db, [each.values for each in candidates if each.key in new])
    others = [each.key for each in candidates if each.key not in new and each.key not in refused]
    rows: dict[str, str] = {}
    if others:
        found = await fetch_rows(db, builder.select_rows(writer.reach, (builder.has_one_of(writer.table, others),)))
        rows = {str(key): row for row, key in found}
    return _Stored({**refused, **dict.fromkeys(new)}, rows, receipts)


def _verdict(writer: Writer, candidate: _Candidate, stored: _Stored) -> Verdict:
    if candidate.key in stored.new:
        error = stored.new[candidate.key]
        if error is None:
            return OK
        # What a row refers to may arrive later.
        return Verdict(Result.RETRY if isinstance(error, ReferenceBroken) else Result.DROP, error.detail)
    row: Any = stored.rows.get(candidate.key)
    if row is None:
        # Whoever sees all rows would see the one that has the key, if it were still there.
        return Verdict(Result.DROP, f"{writer.table.key} {TAKEN}") if writer.reach.is_owned else GONE
    if is_same_row(writer.table, row, candidate.values, candidate.ignored):
        return DUPLICATE
    return Verdict(Result.DROP, f"{writer.table.key} {OTHER_CONTENT}")
