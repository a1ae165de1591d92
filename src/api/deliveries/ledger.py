"""What deliveries tell of devices, kept in the transaction of their rows: which numbers came, how wrong clocks are."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
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

Values = Mapping[str, Any]

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
        self._owner = owner
        self._deliverer = deliverer

    def concerns(self, values: Values) -> bool:
        """Whether there is something in a row to keep."""
        return bool(self._numbers((values,)) or self._last_sent((values,)))

    async def record(self, db: Connection, rows: Sequence[Values], received_at: datetime) -> dict[str, Received]:
        """Keep what new rows tell, in the transaction that inserts them; what has arrived of their devices by then."""
        numbers = {Counter(self._deliverer, device): those for device, those in self._numbers(rows).items()}
        # In one order, two deliveries from the same devices do not wait for each other.
        receipts = {
            counter.device: await _count(db, counter, numbers[counter], received_at)
            for counter in sorted(numbers, key=lambda each: each.receipt_id)
        }
        for (session, person), last in sorted(self._last_sent(rows).items(), key=lambda each: each[0][0]):
            await _note_offset(db, session, (received_at - last) // MILLISECOND, person, received_at)
        return receipts

    def _numbers(self, rows: Iterable[Values]) -> dict[str, list[int]]:
        """The numbers of rows, by the devices that count them."""
        device_name, seq_name = self._delivery.device, self._delivery.seq
        numbers: dict[str, list[int]] = {}
        for values in rows:
            device, seq = values.get(device_name), values.get(seq_name)
            if device is not None and seq is not None:
                numbers.setdefault(device, []).append(seq)
        return numbers

    def _last_sent(self, rows: Iterable[Values]) -> dict[tuple[str, str | None], datetime]:
        """When rows were sent last, by their sessions and whose they are."""
        session_name, sent_name = self._delivery.session, self._delivery.sent_at
        last: dict[tuple[str, str | None], datetime] = {}
        for values in rows:
            session, sent_at = values.get(session_name), values.get(sent_name)
            if session is not None and sent_at is not None:
                whose = (session, values.get(self._owner))
                if whose not in last or sent_at > last[whose]:
                    last[whose] = sent_at
        return last


async def _count(db: Connection, counter: Counter, numbers: list[int], received_at: datetime) -> Received:
    """Enter numbers into an account, which nobody else changes until the transaction ends."""
    new = _new_receipt(counter, received_at)
    text = await write_row(db, builder.insert_or_lock_row(ALL_RECEIPTS, new))
    assert text is not None, "a receipt that was just put is there"
    before = _decode(text).received()
    after = before.with_numbers(numbers)
    if after != before:
        changes = {**_columns_of(after), "updated_at": received_at}
        await change_rows(
            db, builder.update_rows(ALL_RECEIPTS, changes, (builder.has_key(RECEIPTS, new["receipt_id"]),))
        )
    return after


async def find_receipts(db: Connection, person: str | None, devices: Iterable[str]) -> dict[str, Received]:
    """What has arrived from each of some devices by deliveries of a person, or of those who are none."""
    conditions = (Filter(Target("device_id"), "in", Kind.TEXT, tuple(devices)), _is_of(RECEIPTS, person))
    rows = await fetch_rows(db, builder.select_rows(ALL_RECEIPTS, conditions))
    receipts = [_decode(text) for text, _ in rows]
    return {receipt.device_id: receipt.received() for receipt in receipts}


def _new_receipt(counter: Counter, instant: datetime) -> dict[str, object]:
    whose = {"receipt_id": counter.receipt_id, "device_id": counter.device, "user_id": counter.person}
    return {**whose, **_columns_of(Received()), "created_at": instant, "updated_at": instant}


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
