"""The service compared with the truth, through its public API."""

import json
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from scripts.simulation.life import Row, is_same
from scripts.simulation.receipts import find_faults
from scripts.simulation.study import prefix_of
from scripts.simulation.wire import Wire

KEYS = {"/users": "user_id", "/sessions": "session_id", "/recordings": "recording_id", "/events": "event_id"}
# How many examples of each kind are shown.
EXAMPLES = 5


class Known:
    """What the truth says of one row: what may stand there now, and whether anything has to."""

    def __init__(self) -> None:
        self.is_acknowledged = False
        self.possible: list[str] = []
        self.sent_at: set[datetime] = set()

    def learn(self, line: Row) -> None:
        """Read on. An acknowledged row replaces what was known; one without an answer may."""
        if "acknowledged" in line:
            self.is_acknowledged = True
            self.possible.clear()
        self.possible.append(json.dumps(line["row"]))
        self.sent_at.update(map(datetime.fromisoformat, line.get("sent_at", ())))

    def allows(self, stored: Row) -> bool:
        """Whether the service holds one of the rows that it may hold."""
        if self.sent_at and datetime.fromisoformat(stored["sent_at"] or "1970-01-01T00:00:00Z") not in self.sent_at:
            return False
        return any(is_same(stored, json.loads(row)) for row in self.possible)


class TruthRead:
    """A truth as it was written down.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, path: Path) -> None:
        self.rows: dict[str, dict[str, Known]] = {path: {} for path in KEYS}
        self.devices: dict[str, set[int]] = {}
        self.clocks: dict[str, tuple[int, int]] = {}
        self.unexpected: list[str] = []
        self.seeds: set[int] = set()
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    self._read(json.loads(line))
                except (KeyError, TypeError, AttributeError, ValueError):
                    raise ValueError(f"line {number} of {path} is none of a truth") from None

    def _read(self, line: Row) -> None:
        if resource := line.get("acknowledged") or line.get("maybe"):
            self.rows[resource].setdefault(line["key"], Known()).learn(line)
        elif "device" in line:
            self.devices.setdefault(line["device"], set()).update(line["lost"])
        elif "clock" in line:
            least, most = self.clocks.get(line["clock"], (line["least_ms"], line["most_ms"]))
            # What a later run sends again is no news to the service, so that it says nothing about the greatest value.
            self.clocks[line["clock"]] = (min(least, line["least_ms"]), most)
        elif "unexpected" in line:
            self.unexpected.append(line["unexpected"])
        else:
            self.seeds.add(line["simulation"]["seed"])

    def numbers_of(self, device_id: str) -> tuple[set[int], set[int]]:
        """The numbers of a device whose events are acknowledged, and those whose events may be there."""
        acknowledged, maybe = self._numbers
        return acknowledged.get(device_id, set()), maybe.get(device_id, set())

    @cached_property
    def _numbers(self) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
        acknowledged: dict[str, set[int]] = {}
        maybe: dict[str, set[int]] = {}
        for known in self.rows["/events"].values():
            row = json.loads(known.possible[0])
            of_kind = acknowledged if known.is_acknowledged else maybe
            of_kind.setdefault(row["device_id"], set()).add(row["seq"])
        return acknowledged, maybe


class Findings(NamedTuple):
    """What is wrong, in sentences by kind, and how much was compared."""

    compared: dict[str, int]
    faults: dict[str, list[str]]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong; nothing compared proves nothing."""
        return any(self.compared.values()) and not any(self.faults.values())

    def table(self) -> str:
        """What was compared and what is wrong, for people."""
        lines = ["", f"{'compared':>14}  what"]
        lines += [f"{count:>14,}  {name}" for name, count in self.compared.items()]
        lines += ["", f"{'wrong':>14}  what"]
        for kind, sentences in self.faults.items():
            lines.append(f"{len(sentences):>14,}  {kind}")
            lines += [f"{'':>14}    {sentence}" for sentence in sentences[:EXAMPLES]]
        if not any(self.compared.values()):
            lines += ["", "Nothing was compared: the truth has no rows."]
        return "\n".join(lines)


def verify(wire: Wire, path: Path, clock_tolerance_ms: int) -> Findings:
    """Compare all that the service holds of a simulation's participants with the truth at `path`."""
    truth = TruthRead(path)
    faults: dict[str, list[str]] = {
        kind: [] for kind in ("missing", "stored twice", "altered", "unknown", "receipts", "clocks", "answers")
    }
    faults["answers"] = truth.unexpected
    compared = {}
    for resource, known in truth.rows.items():
        compared[resource.strip("/")] = sum(row.is_acknowledged for row in known.values())
        _compare_rows(wire, resource, truth, faults)
    compared["receipts"] = _compare_receipts(wire, truth, faults["receipts"])
    compared["numbers lost by phones"] = sum(map(len, truth.devices.values()))
    compared["session clocks"] = _compare_clocks(wire, truth, clock_tolerance_ms, faults["clocks"])
    return Findings(compared, faults)


def _compare_rows(wire: Wire, resource: str, truth: TruthRead, faults: dict[str, list[str]]) -> None:
    known, seen, numbers = truth.rows[resource], set(), set()
    for stored in _stored(wire, resource, truth):
        key = stored[KEYS[resource]]
        number = (stored.get("device_id"), stored.get("seq"))
        if key in seen or (number[1] is not None and number in numbers):
            faults["stored twice"].append(f"{resource}/{key}")
        elif key not in known:
            faults["unknown"].append(f"{resource}/{key}: {json.dumps(stored)[:200]}")
        elif not known[key].allows(stored):
            faults["altered"].append(f"{resource}/{key}: {json.dumps(stored)[:300]}")
        seen.add(key)
        numbers.add(number)
    faults["missing"] += [f"{resource}/{key}" for key, row in known.items() if row.is_acknowledged and key not in seen]


def _compare_receipts(wire: Wire, truth: TruthRead, faults: list[str]) -> int:
    for device_id in truth.devices:
        acknowledged, maybe = truth.numbers_of(device_id)
        answer = wire.ask("GET", f"/devices/{quote(device_id)}/receipt")
        if answer.status == 404 and not acknowledged:
            continue
        if answer.status != 200:
            faults.append(f"{device_id}: {answer.status}")
            continue
        faults += [f"{device_id}: {sentence}" for sentence in find_faults(answer.content, acknowledged, maybe)]
    return len(truth.devices)


def _compare_clocks(wire: Wire, truth: TruthRead, tolerance_ms: int, faults: list[str]) -> int:
    stored = {row["session_id"]: row["clock_offset_ms"] for row in _stored(wire, "/session-clocks", truth)}
    for session_id, (least, most) in truth.clocks.items():
        offset = stored.get(session_id)
        if offset is None or not least - tolerance_ms <= offset <= most + tolerance_ms:
            faults.append(f"{session_id}: {offset} is not between {least} and {most} ms")
    return len(truth.clocks)


def _stored(wire: Wire, resource: str, truth: TruthRead) -> Iterator[Row]:
    for seed in truth.seeds:
        yield from wire.lines(f"{resource}?user_id__startswith={quote(prefix_of(seed))}")
