"""What happens to a participant and on their phone, and what the phone writes down of it.

All of it follows from the seed: the same seed makes the same rows, whatever the network does to them.
"""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from scripts.simulation.study import Study

Row = dict[str, Any]

START = datetime(2026, 1, 5, tzinfo=UTC)
OFFSETS_MIN = (-480, -210, 0, 0, 60, 60, 120, 345, 570)
EVENT_TYPES = ("open", "tap", "tap", "tap", "step", "scroll", "crash", "close")
SCREENS = ("home", "Settings", "help", "Über", "\u2028", "日本", 'a "quoted" one', "")
MOST_SKEW_MS = 6 * 3_600_000
MOST_DRIFT_MS_PER_HOUR = 400
INSTANTS = ("ts", "started_at", "ended_at")


class Write(NamedTuple):
    """A row that the phone creates, or replaces if it is there already."""

    path: str
    key: str
    row: Row

    @property
    def address(self) -> str:
        """Where the row is read and replaced."""
        return f"{self.path}/{self.key}"


class Stretch(NamedTuple):
    """Hours without a network, at the end of which there is one."""

    writes: list[Write]
    events: list[Row]
    lost: list[int]
    """Numbers of events that the phone lost before it could send them."""
    skew_ms: int
    """How far the phone's clock is ahead at the end."""


class Life:
    """One participant with one phone."""

    def __init__(self, study: Study, number: int) -> None:
        self.user_id = f"{study.prefix}{number:04}"
        self.device_id = f"phone-{self.user_id}"
        self._chance = Random(f"life-{self.user_id}")  # noqa: S311 - not for secrets
        self._faults = study.faults
        self._events_per_day = study.events_per_day
        self._seq = 0
        self._offset_min = self._chance.choice(OFFSETS_MIN)
        self._skew_ms, self._drift = 0.0, 0.0
        if self._faults.strikes("skew", self._chance):
            self._skew_ms = self._chance.uniform(-1, 1) ** 3 * MOST_SKEW_MS
            self._drift = self._chance.uniform(-1, 1) * MOST_DRIFT_MS_PER_HOUR

    def stretches(self, days: int | None) -> Iterator[Stretch]:
        """The phone's time in order; without end when `days` is None."""
        user = self._user()
        yield Stretch([Write("/users", self.user_id, user)], [], [], self._skew_at(START))
        sessions = itertools.count(1)
        for day in itertools.count() if days is None else range(days):
            at = START + timedelta(days=day, minutes=self._chance.randrange(360, 600))
            if self._chance.random() < 0.1:
                self._offset_min = self._chance.choice(OFFSETS_MIN)
            for _ in range(self._chance.randint(1, 3)):
                yield self._stretch(at, [next(sessions) for _ in range(self._chance.randint(1, 3))])
                at += timedelta(hours=self._chance.uniform(1, 4))
            if self._chance.random() < 0.3:
                yield Stretch([Write("/users", self.user_id, self._user())], [], [], self._skew_at(at))

    def _stretch(self, at: datetime, sessions: list[int]) -> Stretch:
        made = Stretch([], [], [], self._skew_at(at))
        for number in sessions:
            session_id = f"{self.user_id}-s{number}"
            began = at
            made.writes.append(Write("/sessions", session_id, self._session(session_id, began, None)))
            for _ in range(self._chance.randint(1, max(1, self._events_per_day // 2))):
                at += timedelta(seconds=self._chance.expovariate(1 / 20))
                self._happen(at, session_id, made)
            if self._chance.random() < 0.5:
                made.writes.append(self._recording(session_id))
            made.writes.append(Write("/sessions", session_id, self._session(session_id, began, at)))
            at += timedelta(minutes=self._chance.uniform(1, 40))
        return made

    def _happen(self, at: datetime, session_id: str, made: Stretch) -> None:
        if self._faults.strikes("gap", self._chance):
            for _ in range(self._chance.randint(1, 4)):
                self._seq += 1
                made.lost.append(self._seq)
        self._seq += 1
        event: Row = {
            "event_id": str(self._uuid()),
            "user_id": self.user_id,
            "session_id": session_id,
            "event_type": self._chance.choice(EVENT_TYPES),
            "event_source": "app",
            "log_level": self._chance.choice(("info", "info", "debug", "error")),
            "device_id": self.device_id,
            "seq": self._seq,
        } | self._time(at)
        if self._chance.random() < 0.9:
            event["event_data"] = {
                "screen": self._chance.choice(SCREENS),
                "dur": self._chance.random() * 10 ** self._chance.randint(-6, 12),
                "n": self._chance.randrange(2**53),
                "path": [{"x": self._chance.randrange(1000), "on": self._chance.random() < 0.5}],
            }
        made.events.append(event)

    def _time(self, at: datetime) -> Row:
        """`ts` by the phone's clock, with or without its local time."""
        shown = at + timedelta(milliseconds=self._skew_at(at))
        way = self._chance.random()
        if way < 0.3:
            return {"ts": f"{shown.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"}
        if way < 0.5:
            return {"ts": shown.isoformat(timespec="microseconds"), "utc_offset_min": self._offset_min}
        return {"ts": shown.astimezone(timezone(timedelta(minutes=self._offset_min))).isoformat()}

    def _skew_at(self, at: datetime) -> int:
        return round(self._skew_ms + self._drift * ((at - START) / timedelta(hours=1)))

    def _user(self) -> Row:
        return {
            "user_id": self.user_id,
            "firebase_data": {"email": f"{self.user_id}@example.org", "display_name": "Ada"},
            "body_data": {"height": self._chance.randrange(1400, 2100) / 10, "weight": self._chance.randrange(40, 150)},
        }

    def _session(self, session_id: str, began: datetime, ended: datetime | None) -> Row:
        return {
            "session_id": session_id,
            "user_id": self.user_id,
            "device_data": {"model": "phone", "battery": self._chance.random()},
            "started_at": began.isoformat(),
            "ended_at": ended and ended.isoformat(),
        }

    def _recording(self, session_id: str) -> Write:
        recording_id = str(self._uuid())
        row = {
            "recording_id": recording_id,
            "recording_link": f"gs://study/{recording_id}.wav",
            "recording_type": self._chance.choice(("gait", "voice")),
            "user_id": self.user_id,
            "created_session_id": session_id,
        }
        return Write("/recordings", recording_id, row)

    def _uuid(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)


def stored_form(event: Row) -> Row:
    """The event as the service has to hold it: the local time that `ts` tells is a column of its own."""
    if "utc_offset_min" in event:
        return event
    # No offset says nothing of local time.
    said = datetime.fromisoformat(event["ts"]).utcoffset() or timedelta()
    return event | {"utc_offset_min": said // timedelta(minutes=1) or None}


def is_same(stored: Row, sent: Row) -> bool:
    """Whether every column that was sent came back equal; times are equal as instants."""
    return all(_value(column, stored[column]) == _value(column, value) for column, value in sent.items())


def _value(column: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if column in INSTANTS and value is not None else value
