"""Aggregates: numbers over rows by groups, pieces of time across a change of clocks; the same on both databases."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

Rows = list[dict[str, Any]]


def aggregate(client: httpx.Client, query: str) -> Rows:
    answer = client.get(f"/events/-/aggregate?size=100&{query}")
    assert answer.status_code == 200, answer.text
    found: Rows = answer.json()
    return found


CASES: list[tuple[str, Rows]] = [
    ("", [{"count": 10}]),
    (
        "select=count,count(user_id),count(event_data.ok)",
        [{"count": 10, "count(user_id)": 8, "count(event_data.ok)": 2}],
    ),
    (
        "group=event_type",
        [
            {"event_type": "100%", "count": 1},
            {"event_type": "Tap", "count": 1},
            {"event_type": "crash", "count": 2},
            {"event_type": "open", "count": 3},
            {"event_type": "swipe", "count": 1},
            {"event_type": "tap", "count": 2},
        ],
    ),
    (
        "group=log_level&sort=-count",
        [{"log_level": None, "count": 7}, {"log_level": "error", "count": 2}, {"log_level": "info", "count": 1}],
    ),
    (
        "group=log_level",
        [{"log_level": "error", "count": 2}, {"log_level": "info", "count": 1}, {"log_level": None, "count": 7}],
    ),
    (
        "group=log_level&sort=log_level.nullsfirst&select=count(ts)",
        [
            {"log_level": None, "count(ts)": 7},
            {"log_level": "error", "count(ts)": 2},
            {"log_level": "info", "count(ts)": 1},
        ],
    ),
    ("group=log_level&sort=-log_level&event_type=crash", [{"log_level": "error", "count": 2}]),
    ("event_type=nothing", [{"count": 0}]),
    ("event_type=nothing&group=event_type", []),
    (
        "select=min(ts),max(ts),min(event_type),max(user_id)",
        [
            {
                "min(ts)": "2026-03-28T21:00:00+00:00",
                "max(ts)": "2027-01-01T00:00:00+00:00",
                "min(event_type)": "100%",
                "max(user_id)": "zoë",
            }
        ],
    ),
    # Numbers inside documents: the text "3" is none.
    (
        "select=count(event_data.dur),sum(event_data.dur),avg(event_data.dur)&event_data.dur_lt=100",
        [{"count(event_data.dur)": 2, "sum(event_data.dur)": 3.25, "avg(event_data.dur)": 1.625}],
    ),
    ("select=min(event_data.dur),max(event_data.dur)", [{"min(event_data.dur)": 0.25, "max(event_data.dur)": 1e300}]),
    (
        "select=sum(event_data.nothing),avg(event_data.nothing)",
        [{"sum(event_data.nothing)": None, "avg(event_data.nothing)": None}],
    ),
    ("group=event_data.step.count&event_data.step.count_isnull=false", [{"event_data.step.count": 7, "count": 2}]),
    (
        "group=event_data.dur&event_data.screen_isnull=false",
        [
            {"event_data.dur": 0.25, "count": 1},
            {"event_data.dur": 3, "count": 1},
            {"event_data.dur": "3", "count": 1},
            {"event_data.dur": None, "count": 1},
        ],
    ),
    (
        "group=event_data.ok&event_data.ok_isnull=false",
        [{"event_data.ok": False, "count": 1}, {"event_data.ok": True, "count": 1}],
    ),
    (
        "group=event_data.codes&event_type=crash",
        [{"event_data.codes": [5, 6], "count": 1}, {"event_data.codes": {"0": 5, "1": 9}, "count": 1}],
    ),
    # The clocks of Zurich go forward at 2026-03-29T01:00Z, back at 2026-10-25T01:00Z.
    (
        "group=ts.day&tz=Europe/Zurich&ts_lt=2026-04-01",
        [
            {"ts.day": "2026-03-27T23:00:00+00:00", "count": 1},
            {"ts.day": "2026-03-28T23:00:00+00:00", "count": 3},
            {"ts.day": "2026-03-29T22:00:00+00:00", "count": 1},
        ],
    ),
    (
        "group=ts.hour&tz=Europe/Zurich&event_type=crash",
        [{"ts.hour": "2026-10-25T00:00:00+00:00", "count": 1}, {"ts.hour": "2026-10-25T01:00:00+00:00", "count": 1}],
    ),
    (
        "group=ts.day&tz=Europe/Zurich&ts_gte=2026-10-01&ts_lt=2026-11-01",
        [{"ts.day": "2026-10-24T22:00:00+00:00", "count": 3}],
    ),
    ("group=ts.week&ts_lt=2026-04-01", [{"ts.week": "2026-03-23T00:00:00+00:00", "count": 5}]),
    (
        "group=ts.month&tz=Europe/Zurich",
        [
            {"ts.month": "2026-02-28T23:00:00+00:00", "count": 5},
            {"ts.month": "2026-09-30T22:00:00+00:00", "count": 3},
            {"ts.month": "2026-12-31T23:00:00+00:00", "count": 2},
        ],
    ),
    (
        "group=ts.month&ts_gte=2026-12-01",
        [{"ts.month": "2026-12-01T00:00:00+00:00", "count": 1}, {"ts.month": "2027-01-01T00:00:00+00:00", "count": 1}],
    ),
    ("group=ts.minute&event_source=app", [{"ts.minute": "2026-10-25T22:59:00+00:00", "count": 1}]),
    (
        "group=event_type,ts.month&event_type=open&sort=-ts.month",
        [
            {"event_type": "open", "ts.month": "2027-01-01T00:00:00+00:00", "count": 1},
            {"event_type": "open", "ts.month": "2026-10-01T00:00:00+00:00", "count": 1},
            {"event_type": "open", "ts.month": "2026-03-01T00:00:00+00:00", "count": 1},
        ],
    ),
    (
        "or=(event_type.eq.tap,event_type.eq.open)&group=event_type&sort=-event_type",
        [{"event_type": "tap", "count": 2}, {"event_type": "open", "count": 3}],
    ),
]


@pytest.mark.parametrize(("query", "expected"), CASES, ids=[query for query, _ in CASES])
def test_aggregate_counts_what_is_there(asked: httpx.Client, query: str, expected: Rows) -> None:
    found = aggregate(asked, query)
    if "event_data.codes" in query or "event_data.ok" in query:
        assert sorted(map(str, found)) == sorted(map(str, expected))
    else:
        assert found == expected
    assert [list(row) for row in found] == [list(row) for row in expected]


def test_groups_come_in_pages(asked: httpx.Client) -> None:
    url, seen = "/events/-/aggregate?group=event_type&size=4", []
    while url:
        answer = asked.get(url)
        seen += answer.json()
        url = answer.links.get("next", {}).get("url", "")
    assert seen == aggregate(asked, "group=event_type")
    assert "prev" in answer.links


def test_people_are_counted_on_every_table(asked: httpx.Client) -> None:
    found = asked.get("/recordings/-/aggregate?group=user_id,recording_type").json()
    assert found == [
        {"user_id": "ada", "recording_type": "gait", "count": 6},
        {"user_id": "ada", "recording_type": "voice", "count": 5},
        {"user_id": "eve", "recording_type": "voice", "count": 1},
    ]
    assert asked.get("/users/-/aggregate?select=avg(body_data.height)").json() == [{"avg(body_data.height)": 174.25}]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select=avg(event_type)", "avg does not take event_type, which holds text"),
        ("select=sum(ts)", "sum does not take ts"),
        ("select=min(event_id)", "min does not take event_id"),
        ("select=avg(event_data)", "name a number inside of it after a dot"),
        ("select=avg", "avg needs a column"),
        ("select=median(ts)", "median is no function"),
        ("select=avg(event_dta.x)", "did you mean event_data?"),
        ("select=count(", "a parenthesis is not closed"),
        ("select=", "takes count, and functions"),
        ("group=ts.dya", "did you mean day?"),
        ("group=usr_id", "did you mean user_id?"),
        ("group=event_data", "name a value inside of it after a dot"),
        ("group=event_type.day", "event_type is no JSON document"),
        ("group=" + ",".join(f"event_data.x{n}" for n in range(9)), "8 names are the most"),
        ("group=" + ",".join(["ts"] * 1500), "names are the most"),
        ("group=event_type&sort=user_id", "user_id is no group or measure of this request"),
        ("tz=Europe/Zürich", "takes the name of a time zone"),
        ("tz=Mars/Base", "takes the name of a time zone"),
        ("tz=../../etc/passwd", "takes the name of a time zone"),
        ("tz=posix/UTC", "takes the name of a time zone"),
        ("tz=Europe", "takes the name of a time zone"),
        ("fields=user_id", "fields is no parameter"),
        ("cursor=x", "cursor is no parameter"),
        ("page=0", "page=0"),
    ],
)
def test_what_cannot_be_counted_is_refused(asked: httpx.Client, query: str, said: str) -> None:
    refused = asked.get(f"/events/-/aggregate?{query}")
    assert refused.status_code == 400, refused.text
    assert said in refused.json()["detail"]


ZONES = [
    "Europe/Zurich",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Pacific/Apia",
    "America/St_Johns",
    "Asia/Kathmandu",
]


def bucket(instant: datetime, unit: str, zone: str) -> datetime:
    """Where a piece of time began, found by looking at the clock minute by minute, or hour by hour, backwards."""
    local = instant.astimezone(ZoneInfo(zone))
    if unit == "hour":
        return instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    day = datetime(local.year, local.month, local.day, tzinfo=ZoneInfo(zone))
    if unit == "week":
        day -= timedelta(days=day.weekday())
    if unit == "month":
        day = day.replace(day=1)
    # A midnight that the clocks show twice is the later one, as PostgreSQL has it.
    later = day.replace(fold=1)
    return later if (later.utcoffset() or timedelta()) < (day.utcoffset() or timedelta()) else day


def test_pieces_of_time_are_those_of_the_zone(client: httpx.Client) -> None:
    """Random instants around changes of clocks: each stands in one bucket, which both databases place alike."""
    chance = random.Random(3)
    instants = [
        datetime(chance.randrange(1975, 2030), chance.choice([2, 3, 4, 10, 11]), chance.randrange(1, 29), tzinfo=UTC)
        + timedelta(seconds=chance.randrange(86_400))
        for _ in range(60)
    ]
    for instant in instants:
        assert client.post("/events", json={"event_type": "x", "ts": instant.isoformat()}).status_code == 201
    for zone in ZONES:
        for unit in ("hour", "day", "week", "month"):
            url = f"/events/-/aggregate?group=ts.{unit}&tz={zone}&size=100"
            found = {datetime.fromisoformat(row[f"ts.{unit}"]): row["count"] for row in client.get(url).json()}
            expected: dict[datetime, int] = {}
            for instant in instants:
                begin = bucket(instant, unit, zone).astimezone(UTC)
                expected[begin] = expected.get(begin, 0) + 1
            assert found == expected, (zone, unit)


def numbers_in_events(client: httpx.Client, *numbers: float) -> None:
    for number in numbers:
        event = {"event_type": "x", "ts": "2026-01-01T00:00:00Z", "event_data": {"n": number}}
        assert client.post("/events", json=event).status_code == 201


@pytest.mark.parametrize("function", ["sum", "avg"])
@pytest.mark.parametrize("format_", ["json", "ndjson", "csv", "parquet"])
def test_sum_past_doubles_is_refused(client: httpx.Client, function: str, format_: str) -> None:
    numbers_in_events(client, 1.7e308, 1.7e308)
    refused = client.get(f"/events/-/aggregate?select={function}(event_data.n)&format={format_}")
    assert refused.status_code == 400, refused.text
    assert "larger than" in refused.json()["detail"]


@pytest.mark.parametrize(("numbers", "average"), [((1e200, 1), 5e199), ((1e160, -1e160), 0), ((1, 2, 2), 5 / 3)])
def test_average_exists_where_its_sum_does(client: httpx.Client, numbers: tuple[float, ...], average: float) -> None:
    numbers_in_events(client, *numbers)
    assert client.get("/events/-/aggregate?select=avg(event_data.n)").json() == [{"avg(event_data.n)": average}]
