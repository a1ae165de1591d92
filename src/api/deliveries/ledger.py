"""What deliveries tell of devices, kept in the transaction of their rows: which numbers came, how wrong clocks are."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid5

import msgspec

from src.api.deliveries.ranges import Range, Received
from src.core.tables import Delivery, Kind, Reach, TableInfo
from src.db.connection import Connection
from src.db.queries import builder
from src.db.queries.executor import change_rows, fetch_rows, write_row, write_rows
from src.db.queries.query import Filter, Target
from src.db.queries.writes import OnConflict
from src.models import receipts, session_clocks

Values = Mapping[str, object]

RECEIPTS, CLOCKS = receipts.TABLE.info, session_clocks.TABLE.info
ALL_RECEIPTS, ALL_CLOCKS = Reach.whole(RECEIPTS), Reach.whole(CLOCKS)
# Receipts are found by who counts: their ids follow from the person and the device.
NAMESPACE = UUID("6f0c1f0a-6a58-5d5e-9d0e-3b1f5a7c2e94")
MILLISECOND = timedelta(milliseconds=1)


class _Missing(msgspec.Struct):
    ranges: list[Range]


class _Receipt(msgspec.Struct):
    device_id: str
    received_through: int
    missing: _Missing

    def received(self) -> Received:
        return Received(self.received_through, tuple(self.missing.ranges))


_decode = msgspec.json.Decoder(_Receipt).decode


class Counter(NamedTuple):
    """Who counts: a device, for the person who delivers, or for all where that is no person."""

    person: str | None
    device: str

    @property
    def receipt_id(self) -> str:
        """The key of its receipt."""
        return str(uuid5(NAMESPACE, f"{self.person or ''}\0{self.device}"))


class Ledger:
    """Keeps receipts and clocks for one table of rows that devices deliver."""

    def __init__(self, delivery: Delivery, owner: str, deliverer: str | None) -> None:
        self._delivery = delivery
        self._names = (delivery.device, delivery.seq, delivery.session, delivery.sent_at)
        self._owner = owner
        self._deliverer = deliverer

    def concerns(self, values: Values) -> bool:
        """Whether there is something in a row to keep."""
        names = self._delivery
        is_numbered = values.get(names.device) is not None and values.get(names.seq) is not None
        return is_numbered or (values.get(names.session) is not None and values.get(names.sent_at) is not None)

    async def record(self, db: Connection, rows: Sequence[Values], received_at: datetime) -> None:
        """Keep what new rows tell, in the transaction that inserts them."""
        numbers: dict[Counter, list[int]] = {}
        sent: dict[tuple[str, str | None], datetime] = {}
        device_name, seq_name, session_name, sent_name = self._names
        for values in rows:
            device, seq = values.get(device_name), values.get(seq_name)
            if isinstance(device, str) and isinstance(seq, int):
                numbers.setdefault(Counter(self._deliverer, device), []).append(seq)
            session, sent_at = values.get(session_name), values.get(sent_name)
            if isinstance(session, str) and isinstance(sent_at, datetime):
                whose = (session, self._person(values))
                sent[whose] = max(sent_at, sent.get(whose, sent_at))
        if numbers:
            await _count(db, {counter.receipt_id: (counter, those) for counter, those in numbers.items()}, received_at)
        for (session, person), last in sorted(sent.items(), key=lambda each: each[0][0]):
            await _note_offset(db, session, (received_at - last) // MILLISECOND, person, received_at)

    def _person(self, values: Values) -> str | None:
        person = values.get(self._owner) if self._owner else None
        return person if isinstance(person, str) else None


async def _count(db: Connection, numbers: Mapping[str, tuple[Counter, list[int]]], received_at: datetime) -> None:
    """Enter numbers into accounts, by the ids of these."""
    accounts = await _lock(db, {receipt_id: counter for receipt_id, (counter, _) in numbers.items()}, received_at)
    for receipt_id in sorted(numbers):
        before = accounts[receipt_id]
        after = before.with_numbers(numbers[receipt_id][1])
        if after != before:
            changes = {**_columns_of(after), "updated_at": received_at}
            await write_row(db, builder.update_row(ALL_RECEIPTS, receipt_id, changes))


async def find_receipts(db: Connection, person: str | None, devices: Iterable[str]) -> dict[str, Received]:
    """What has arrived from each of some devices by deliveries of a person, or of those who are none."""
    conditions = (Filter(Target("device_id"), "in", Kind.TEXT, tuple(devices)), _is_of(RECEIPTS, person))
    rows = await fetch_rows(db, builder.select_rows(ALL_RECEIPTS, conditions))
    receipts = [_decode(text) for text, _ in rows]
    return {receipt.device_id: receipt.received() for receipt in receipts}


async def _lock(db: Connection, counters: Mapping[str, Counter], instant: datetime) -> dict[str, Received]:
    """The accounts of counters by their ids, which nobody else changes until the transaction ends."""
    accounts = await _select_locked(db, counters)
    new = sorted(set(counters) - set(accounts))
    if new:
        stamps = {"created_at": instant, "updated_at": instant}
        rows = [_new_receipt(receipt_id, counters[receipt_id]) | stamps for receipt_id in new]
        columns = tuple(rows[0])
        values = [tuple(row.values()) for row in rows]
        await write_rows(db, builder.insert_rows(ALL_RECEIPTS, columns, values, OnConflict.IGNORE))
        # Of two who insert the same one, the second has waited for the first and reads what that has written.
        accounts |= await _select_locked(db, new)
    return accounts


async def _select_locked(db: Connection, receipt_ids: Iterable[str]) -> dict[str, Received]:
    condition = builder.has_one_of(RECEIPTS, receipt_ids)
    rows = await fetch_rows(db, builder.select_rows(ALL_RECEIPTS, (condition,), is_locked=True))
    return {str(key): _decode(text).received() for text, key in rows}


def _new_receipt(receipt_id: str, counter: Counter) -> dict[str, object]:
    whose = {"receipt_id": receipt_id, "device_id": counter.device, "user_id": counter.person}
    return whose | _columns_of(Received())


def _columns_of(received: Received) -> dict[str, object]:
    return {
        "contiguous_through": received.contiguous_through,
        "received_through": received.through,
        "missing": msgspec.json.encode({"ranges": received.missing}).decode(),
    }


async def _note_offset(db: Connection, session: str, offset_ms: int, person: str | None, received_at: datetime) -> None:
    """Keep an offset that is smaller than all before it; of somebody else's session nothing is kept."""
    new: dict[str, object] = {"session_id": session, "user_id": person, "clock_offset_ms": offset_ms}
    new |= {"created_at": received_at, "updated_at": received_at}
    statement = builder.insert_rows(ALL_CLOCKS, tuple(new), [tuple(new.values())], OnConflict.IGNORE)
    if (await write_rows(db, statement))[0] is None:
        conditions = (
            builder.has_key(CLOCKS, session),
            Filter(Target("clock_offset_ms"), "gt", Kind.INTEGER, offset_ms),
            _is_of(CLOCKS, person),
        )
        changes = {"clock_offset_ms": offset_ms, "updated_at": received_at}
        await change_rows(db, builder.update_rows(ALL_CLOCKS, changes, conditions))


def _is_of(table: TableInfo, person: str | None) -> Filter:
    owner = Target("user_id")
    if person is None:
        return Filter(owner, "isnull", Kind.BOOLEAN, True)
    return Filter(owner, "eq", table.by_name["user_id"].kind, person)
