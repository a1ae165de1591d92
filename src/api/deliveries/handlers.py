"""How devices deliver rows, and ask what has arrived."""

from collections.abc import Mapping

import msgspec

from src.api.conditions import refuse_conditions
from src.api.deliveries.delivering import OK, Outcome, Verdict, deliver
from src.api.deliveries.given_events import read_batch
from src.api.deliveries.ledger import RECEIPTS, find_receipts
from src.api.deliveries.ranges import Received
from src.api.http import Answer, Request, shortened
from src.api.preferences import REPRESENTATION, read_preferences
from src.api.writer import Writer
from src.core.access import Action
from src.core.errors import RowNotFound


class DeliveryHandlers:
    """The handlers of one table whose rows devices deliver."""

    def __init__(self, table: str, *, auto_timestamps: bool) -> None:
        self._name = table
        self._auto_timestamps = auto_timestamps

    async def deliver_rows(self, request: Request) -> Answer:
        """Store up to 10,000 rows, each for itself: an array, `{"batch": [...], "sentAt": "..."}`, or lines of JSON.

        `ok` and `duplicate` are committed: the device may forget those rows. `drop` can never be stored, `retry` may
        be later. Results are named by the row's key, or by its index where it has none; those that are `ok` are left
        out unless `Prefer: return=representation` asks for them. The same rows sent again change nothing. The body may
        be gzipped.
        """
        request.refuse_parameters()
        refuse_conditions(request)
        prefers = read_preferences(request.header(b"prefer"))
        access = request.access(self._name, Action.CREATE)
        writer = Writer(access, request.tombstones, auto_timestamps=self._auto_timestamps)
        batch = await read_batch(request, writer.models)
        outcome = await deliver(request, writer, batch.events, batch.sent_at, is_rehearsal=prefers.is_rehearsal)
        body = _answer(outcome, shows_all=prefers.returned == REPRESENTATION)
        return Answer(200, msgspec.json.encode(body), prefers.applied("return", "tx"))


def _answer(outcome: Outcome, *, shows_all: bool) -> dict[str, object]:
    shown = {label: verdict for label, verdict in outcome.verdicts.items() if shows_all or verdict != OK}
    return {
        "accepted": outcome.accepted,
        "results": {label: _result(verdict) for label, verdict in shown.items()},
        "receipts": {device: _receipt(received) for device, received in outcome.receipts.items()},
    }


def _result(verdict: Verdict) -> dict[str, str]:
    shown = {"result": verdict.result.value}
    return shown | {"detail": verdict.detail} if verdict.detail else shown


def _receipt(received: Received) -> Mapping[str, object]:
    return {
        "contiguous_through": received.contiguous_through,
        "received_through": received.through,
        "missing": received.missing,
    }


class ReceiptHandlers:
    """What a device asks that does not know any more what has arrived."""

    def __init__(self, table: str) -> None:
        self._name = table

    async def read_receipt(self, request: Request) -> Answer:
        """Answer which of a device's numbered events are stored: all through `contiguous_through`, and the gaps after.

        For people those that they have delivered themselves; for all others those that no person has.
        """
        request.refuse_parameters()
        principal = request.principal
        # Whoever delivers may ask what has arrived, also without reading rows.
        if not principal.may(self._name, Action.CREATE):
            principal.access(RECEIPTS.name, Action.READ)
        found = await find_receipts(request.db, principal.person, (request.key,))
        if request.key not in found:
            raise RowNotFound(f"nothing that is numbered has arrived from the device {shortened(request.key)!r}")
        body = {"device_id": request.key, **_receipt(found[request.key])}
        return Answer(200, msgspec.json.encode(body))
