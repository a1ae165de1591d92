"""Members of rows: `fields`, and related rows by `expand`; in one statement, the same on both databases."""

from typing import Any

import httpx
import pytest

from tests.study import RECORDINGS

EVENT = "/events/00000000-0000-7000-8000-000000000004"


def test_fields_are_the_members_in_the_order_in_which_they_are_named(asked: httpx.Client) -> None:
    text = asked.get(f"{EVENT}?fields=ts,event_id,event_data.step.count,user_id").text
    assert text == (
        '{"ts":"2026-03-29T01:30:00+00:00","event_id":"00000000-0000-7000-8000-000000000004",'
        '"event_data.step.count":7,"user_id":"Bob"}'
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("event_data.step", {"event_data.step": {"count": 7}}),
        ("event_data.ok", {"event_data.ok": True}),
        ("event_data.nothing", {"event_data.nothing": None}),
        ("event_data", {"event_data": {"step": {"count": 7}, "ok": True}}),
        ("user_id,user_id", {"user_id": "Bob"}),
        ('event_data."step".count', {'event_data."step".count': 7}),
        ("event_source", {"event_source": None}),
    ],
)
def test_row_has_the_fields_that_were_asked_for(asked: httpx.Client, fields: str, expected: dict[str, Any]) -> None:
    assert asked.get(EVENT, params={"fields": fields}).json() == expected
    listed = asked.get("/events", params={"fields": fields, "event_type": "swipe"})
    assert listed.json() == [expected]


def test_pages_of_chosen_fields_are_walked_by_columns_that_are_not_shown(asked: httpx.Client) -> None:
    seen, url = [], "/events?fields=event_data.dur,user_id&size=3&sort=-ts"
    while url:
        answer = asked.get(url)
        assert all(set(row) == {"event_data.dur", "user_id"} for row in answer.json())
        seen += answer.json()
        url = answer.links.get("next", {}).get("url", "")
    everything = asked.get("/events?sort=-ts&size=100").json()
    assert [row["user_id"] for row in seen] == [row["user_id"] for row in everything]
    back = asked.get(asked.get("/events?fields=user_id&size=3&sort=-ts").links["next"]["url"])
    assert asked.get(back.links["prev"]["url"]).json() == [{"user_id": row["user_id"]} for row in everything[:3]]


def test_row_that_is_referred_to_stands_inside(asked: httpx.Client) -> None:
    row = asked.get("/recordings/r12?expand=user").json()
    assert row["user"] == asked.get("/users/eve").json()
    assert row["user_id"] == "eve"


def test_rows_that_refer_stand_inside_in_their_order_up_to_the_limit(asked: httpx.Client) -> None:
    users = {row["user_id"]: row for row in asked.get("/users?expand=recordings(limit:3),sessions").json()}
    assert [row["recording_id"] for row in users["ada"]["recordings"]] == ["r01", "r02", "r03"]
    assert [row["session_id"] for row in users["ada"]["sessions"]] == ["s1", "s2"]
    assert users["Bob"]["recordings"] == users["Bob"]["sessions"] == []
    assert users["eve"]["sessions"] == [asked.get("/sessions/s3").json()]
    assert len(asked.get("/users/ada?expand=recordings").json()["recordings"]) == 10
    assert len(asked.get("/users/ada?expand=recordings(limit:100)").json()["recordings"]) == len(RECORDINGS) - 1


def test_related_rows_have_options_and_relations_of_their_own(asked: httpx.Client) -> None:
    ada = asked.get(
        "/users/ada", params={"expand": "recordings(limit:2,sort:-recording_type,-recording_id,fields:recording_id)"}
    ).json()
    assert ada["recordings"] == [{"recording_id": "r10"}, {"recording_id": "r08"}]
    row = asked.get("/sessions/s3?fields=session_id&expand=user(fields:user_id).recordings(fields:recording_id)").json()
    assert row == {"session_id": "s3", "user": {"user_id": "eve", "recordings": [{"recording_id": "r12"}]}}
    both = asked.get("/sessions/s3?expand=user(fields:user_id).recordings(limit:1),user.sessions(limit:1)").json()
    assert set(both["user"]) == {"user_id", "recordings", "sessions"}


def test_documents_inside_related_rows_are_documents(asked: httpx.Client) -> None:
    row = asked.get("/sessions/s1?expand=user(fields:body_data,body_data.height)").json()
    assert row["user"] == {"body_data": {"height": 168.5, "weight": 61}, "body_data.height": 168.5}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/events?fields=usr_id", "did you mean user_id?"),
        ("/events?fields=", "nothing is no column"),
        ("/events?fields=user_id.x", "user_id is no JSON document"),
        ("/events?fields=" + ",".join(f"ts{n}" for n in range(700)), "100 names are the most"),
        ("/events?fields=a&fields=b", "is given twice"),
        ("/events?expand=user", "event_log is related to no other table"),
        ("/users?expand=recording", "did you mean recordings?"),
        ("/users?expand=recordings(limit:0)", "limit takes an integer from 1 to 100"),
        ("/users?expand=recordings(limit:101)", "limit takes an integer from 1 to 100"),
        ("/users?expand=recordings(limt:1)", "did you mean limit?"),
        ("/users?expand=recordings(limit:1,limit:2)", "limit is given twice"),
        ("/users?expand=recordings(5)", "an option is written as name:value"),
        ("/users?expand=recordings(limit:5", "a parenthesis is not closed"),
        ("/users?expand=recordings)", "closed but not opened"),
        ("/users?expand=recordings(sort:nothing)", "nothing is no column"),
        ("/users?expand=recordings(fields:user_ids)", "did you mean user_id?"),
        ("/recordings?expand=user(limit:2)", "user is one row"),
        ("/users?expand=recordings.user.sessions", "at most 2 levels"),
        ("/users?expand=" + ".".join(["sessions", "user"] * 500), "at most 2 levels"),
        ("/users?expand=" + "(" * 3000 + ")" * 3000, "takes names such as user"),
        ("/users?expand=", "takes names such as user"),
        ("/users/ada?expand=recordings&size=1", "no parameter here"),
        ("/users/ada?sort=user_id", "no parameter here"),
    ],
)
def test_what_cannot_be_shown_is_refused(asked: httpx.Client, url: str, said: str) -> None:
    refused = asked.get(url)
    assert refused.status_code == 400, refused.text
    assert said in refused.json()["detail"]


def test_ten_thousand_fields_are_refused_at_once(asked: httpx.Client) -> None:
    refused = asked.post("/events/-/query", json={"fields": ["user_id"] * 10_000})
    assert refused.status_code == 400
    assert refused.elapsed.total_seconds() < 0.5
