"""A phone: it holds what it has not delivered yet, and forgets an event only when the service has confirmed it."""

import json
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from scripts.simulation.clock import Clock
from scripts.simulation.envelopes import Envelope, pack, pack_one
from scripts.simulation.life import Life, Row, Stretch, Write, is_same, stored_form
from scripts.simulation.pace import Pace
from scripts.simulation.receipts import covers
from scripts.simulation.study import Study
from scripts.simulation.truth import Truth
from scripts.simulation.wire import TRY_AGAIN, Answer, NoAnswer, Patience, Wire

# The row is there already, or is another one by now.
CONFLICTS = (409, 412)
EVENTS, BATCH = "/events", "/events/-/batch"
# How many delivered events the last backup of the phone still holds.
BACKUP_SIZE = 500


class Held(NamedTuple):
    """An event on the phone, and what the phone said at each try to send it."""

    event: Row
    sent_at: list[str]


class Phone:
    """One phone from its first day to its last."""

    def __init__(self, life: Life, study: Study, wire: Wire, truth: Truth, pace: Pace) -> None:
        self._life, self._study, self._faults = life, study, study.faults
        self._wire, self._truth, self._pace = wire, truth, pace
        self._chance = Random(f"network-{life.user_id}")  # noqa: S311 - not for secrets
        self._patience = Patience(self._chance, pace.shortest_wait_s, pace.sleep)
        self._outbox: dict[str, Held] = {}
        self._backup: deque[Held] = deque(maxlen=BACKUP_SIZE)
        self._tags: dict[str, str | None] = {}
        self._lost: list[int] = []
        self._clocks: dict[str, Clock] = {}
        self._skew_ms = 0
        # Up to which number an earlier run with the same seed has delivered.
        self._installed_at = 0

    def live(self, days: int | None) -> None:
        """Live until the last day, or until the pace says that it is over, and deliver what is left."""
        receipt = self._read_receipt()
        if receipt is not None and receipt.status == 200:
            self._installed_at = receipt.content["received_through"]
        for stretch in self._life.stretches(days):
            if self._pace.is_over.is_set():
                break
            self._live_through(stretch)
        while self._outbox and not self._pace.is_late():
            self._send_some()
        self._leave()

    def _live_through(self, stretch: Stretch) -> None:
        self._skew_ms = stretch.skew_ms
        self._lost += stretch.lost
        self._outbox |= {event["event_id"]: Held(event, []) for event in stretch.events}
        for write in stretch.writes:
            self._write(write)
        if self._faults.strikes("reinstall", self._chance):
            self._reinstall()
        # Now and then the network goes before all is sent, and the rest waits for the next time.
        while self._outbox and self._chance.random() > 0.03 and not self._pace.is_over.is_set():
            self._send_some()

    def _write(self, write: Write) -> None:
        """Create a row, or replace the one that this phone knows, until the service confirms it.

        A request of which no answer came may be done late. With the tag of the row that it is meant for, it cannot
        undo what was written since.
        """
        body = json.dumps(write.row, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        while not self._pace.is_late():
            tag = self._tags.get(write.key)
            if tag is None:
                answer = self._try("POST", write.path, Envelope(body, headers))
            else:
                answer = self._try("PUT", write.address, Envelope(body, headers | {"If-Match": tag}))
            if answer is not None and answer.status in CONFLICTS:
                answer = self._try("GET", write.address, Envelope(b"", {}))
            if answer is None:
                continue
            self._tags[write.key] = answer.etag
            if answer.status not in (200, 201):
                break
            if is_same(answer.content, write.row):
                return self._truth.note_acknowledged(write.path, write.key, write.row)
        return self._truth.note_maybe(write.path, write.key, write.row)

    def _send_some(self) -> None:
        batch = self._choose()
        if len(batch) == 1 and self._chance.random() < 0.5:
            self._send_one(batch[0])
        else:
            self._send_batch(batch)

    def _choose(self) -> list[Held]:
        held = list(self._outbox.values())
        if self._faults.strikes("reorder", self._chance):
            self._chance.shuffle(held)
        batch = held[: self._chance.choice(self._study.batch_sizes)]
        if self._faults.strikes("duplicate", self._chance):
            again = [*batch, *self._backup]
            batch += self._chance.sample(again, min(len(again), 5))
        return batch

    def _send_one(self, held: Held) -> None:
        answer = self._try("POST", EVENTS, pack_one(held.event, self._stamp([held])), 1)
        if answer is None:
            return
        # 409: an earlier try has stored it.
        if answer.status in (201, 409):
            self._forget([held])
        else:
            self._outbox.pop(held.event["event_id"], None)

    def _send_batch(self, batch: list[Held]) -> None:
        sent_at = self._stamp(batch)
        answer = self._try("POST", BATCH, pack([held.event for held in batch], sent_at, self._chance), len(batch))
        if answer is None:
            return
        if answer.status != 200:
            self._drop(batch)
            return
        results = list(results_of(answer, batch))
        for held, result in zip(batch, results, strict=True):
            if held.event["event_id"] not in self._outbox and result == "ok":
                self._truth.note_unexpected(f"{held.event['event_id']} was acknowledged before, and is new again")
        taken = [held for held, result in zip(batch, results, strict=True) if result in ("ok", "duplicate")]
        self._forget(taken)
        self._check_receipt(answer.content.get("receipts", {}).get(self._life.device_id), taken)
        self._drop([held for held, result in zip(batch, results, strict=True) if result.startswith("drop")])
        if answer.content["accepted"] != len(taken):
            self._truth.note_unexpected(f"accepted is {answer.content['accepted']}, not {len(taken)}")
        if any(result == "retry" for result in results):
            self._patience.wait(answer.retry_after_s)

    def _try(self, method: str, path: str, envelope: Envelope, events: int = 1) -> Answer | None:
        """Send a request; None when it has to be sent again, for which this has waited already."""
        self._pace.wait_for(events)
        if self._faults.strikes("kill", self._chance):
            self._wire.abandon(method, path, envelope.body, envelope.headers, self._chance.choice((0.5, 1, 1)))
            self._pace.note_retry()
            return None
        try:
            answer = self._wire.ask(method, path, envelope.body, envelope.headers)
        except NoAnswer:
            self._patience.wait()
            self._pace.note_retry()
            return None
        if answer.status not in (200, 201, *CONFLICTS, *TRY_AGAIN):
            self._truth.note_unexpected(f"{method} {path}: {answer.status} {str(answer.content)[:300]}")
        # A defect of the service is no promise either.
        if answer.status in TRY_AGAIN or answer.status == 500:
            self._patience.wait(answer.retry_after_s)
            self._pace.note_retry()
            return None
        self._patience.rest()
        return answer

    def _stamp(self, batch: list[Held]) -> str:
        """The phone's clock, noted with each event that is about to be sent."""
        now_ms = time.time_ns() // 1_000_000
        sent_ms = now_ms + self._skew_ms
        sent_at = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=sent_ms)).isoformat()
        for held in {id(held): held for held in batch}.values():
            held.sent_at.append(sent_at)
            clock = self._clocks.setdefault(held.event["session_id"], Clock())
            clock.note_sent(held.event["event_id"], sent_ms, now_ms)
        return sent_at

    def _forget(self, batch: list[Held]) -> None:
        now_ms = time.time_ns() // 1_000_000 + 1
        for held in batch:
            if self._outbox.pop(held.event["event_id"], None) is not None:
                self._clocks[held.event["session_id"]].note_stored(held.event["event_id"], now_ms)
                self._backup.append(held)
                self._pace.note_acknowledged()
                self._note(held)

    def _note(self, held: Held) -> None:
        row = stored_form(held.event)
        self._truth.note_acknowledged(EVENTS, row["event_id"], row, held.sent_at)

    def _drop(self, batch: list[Held]) -> None:
        for held in batch:
            self._truth.note_unexpected(f"{held.event['event_id']} was refused")
            self._outbox.pop(held.event["event_id"], None)

    def _reinstall(self) -> None:
        """Start from a backup that still holds what was delivered since, and forget what the receipt covers."""
        answer = self._read_receipt()
        if answer is None:
            return
        if answer.status == 404:
            if self._backup:
                self._truth.note_unexpected(f"{self._life.device_id} has no receipt")
            return
        self._check_receipt(answer.content, list(self._backup))
        covered = [held for held in self._outbox.values() if covers(answer.content, held.event["seq"])]
        for held in covered:
            if not held.sent_at and held.event["seq"] > self._installed_at:
                self._truth.note_unexpected(f"the receipt covers {held.event['seq']}, which was never sent")
        self._forget([held for held in covered if held.sent_at])

    def _read_receipt(self) -> Answer | None:
        while not self._pace.is_late():
            try:
                answer = self._wire.ask("GET", f"/devices/{self._life.device_id}/receipt")
            except NoAnswer:
                self._patience.wait()
                continue
            if answer.status not in TRY_AGAIN:
                self._patience.rest()
                return answer
            self._patience.wait(answer.retry_after_s)
        return None

    def _check_receipt(self, receipt: Row | None, taken: list[Held]) -> None:
        for held in taken:
            if receipt is None or not covers(receipt, held.event["seq"]):
                self._truth.note_unexpected(f"the receipt does not cover {held.event['seq']}, which is acknowledged")

    def _leave(self) -> None:
        for held in self._outbox.values():
            if held.sent_at:
                row = stored_form(held.event)
                self._truth.note_maybe(EVENTS, row["event_id"], row, held.sent_at)
        for session_id, clock in self._clocks.items():
            if clock.least_ms is not None and clock.most_ms is not None:
                self._truth.note_clock(session_id, clock.least_ms, clock.most_ms)
        self._truth.note_device(self._life.device_id, self._life.user_id, self._lost)


def results_of(answer: Answer, batch: list[Held]) -> Iterator[str]:
    """What became of each event: `ok`, `duplicate`, `drop` or `retry`."""
    results = answer.content["results"]
    for index, held in enumerate(batch):
        result = results.get(held.event["event_id"]) or results.get(str(index)) or {"result": "ok"}
        yield result["result"]
