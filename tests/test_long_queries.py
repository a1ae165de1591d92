"""Long queries: the parameters in a body, by POST and by QUERY, mean what they mean in a URL."""

from typing import Any

import httpx
import pytest

from tests.study import number, numbers

SAME = [
    ({"event_type": "tap"}, "event_type=tap"),
    ({"event_type": ["tap", "open"], "size": 3}, "event_type=tap&event_type=open&size=3"),
    ({"event_type_in": ["tap", "open"]}, "event_type_in=tap,open"),
    ({"user_id_in": ["a,b"]}, 'user_id_in=["a,b"]'),
    ({"event_data.dur": 3}, "event_data.dur=3"),
    ({"event_data.ok": True}, "event_data.ok=true"),
    ({"event_data.ok": None}, "event_data.ok=null"),
    ({"event_data.dur_in": [3, "3"]}, 'event_data.dur_in=[3,"3"]'),
    ({"or": "(event_type.eq.tap,event_type.eq.open)"}, "or=(event_type.eq.tap,event_type.eq.open)"),
    ({"fields": ["event_id", "ts"], "sort": ["-event_type", "ts"]}, "fields=event_id,ts&sort=-event_type,ts"),
    ({"ts_gte": "2026-10-01", "page": 2, "size": 2}, "ts_gte=2026-10-01&page=2&size=2"),
    ({}, ""),
]


@pytest.mark.parametrize(("body", "query"), SAME, ids=[query for _, query in SAME])
def test_body_means_what_the_url_means(asked: httpx.Client, body: dict[str, Any], query: str) -> None:
    expected = asked.get(f"/events?{query}").json()
    for answer in (asked.post("/events/-/query", json=body), asked.request("QUERY", "/events", json=body)):
        assert answer.status_code == 200, answer.text
        assert answer.json() == expected


def test_form_is_read_like_a_url(asked: httpx.Client) -> None:
    form = {"event_type": ["tap", "open"], "user_id_in": "ada,zoë", "size": "100"}
    expected = asked.get("/events", params=form).json()
    assert len(expected) == 4
    assert asked.post("/events/-/query", data=form).json() == expected
    assert asked.request("QUERY", "/events", data=form).json() == expected


def test_ten_thousand_keys_fit(asked: httpx.Client) -> None:
    keys = [f"00000000-0000-7000-8000-{n:012d}" for n in range(3, 10_003)]
    answer = asked.post("/events/-/query", json={"event_id_in": keys, "sort": "event_id", "size": 100})
    assert numbers(answer) == [3, 4, 5, 6, 7, 8, 9, 10]


def test_links_are_followed_with_the_same_body(asked: httpx.Client) -> None:
    body = {"event_type_in": ["tap", "open", "crash"], "size": 2}
    url, seen = "/events/-/query", []
    while url:
        answer = asked.post(url, json=body)
        assert answer.status_code == 200, answer.text
        seen += [number(row) for row in answer.json()]
        url = answer.links.get("next", {}).get("url", "")
    assert seen == numbers(asked.get("/events?event_type_in=tap,open,crash&size=100"))
    other = asked.post(answer.links["prev"]["url"], json={"event_type_in": ["tap"], "size": 2})
    assert other.status_code == 400
    assert "made for other filters" in other.json()["detail"]


def test_long_queries_are_exported_and_counted(asked: httpx.Client) -> None:
    answer = asked.post("/events/-/query", json={"event_type": "tap", "format": "ndjson", "count": "exact"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["x-total-count"] == "2"
    assert len(answer.content.splitlines()) == 2


def test_aggregates_take_long_queries(asked: httpx.Client) -> None:
    body = {"group": ["event_type"], "select": ["count", "max(ts)"], "event_type": "tap"}
    expected = asked.get("/events/-/aggregate?group=event_type&select=count,max(ts)&event_type=tap").json()
    assert asked.request("QUERY", "/events/-/aggregate", json=body).json() == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "must be a JSON object"),
        (b"{", "not JSON"),
        (b'{"size":1,"size":2}', "stands twice"),
        (b'{"event_type":{"a":1}}', "takes what it takes in a URL"),
        (b'{"event_type":[["a"]]}', "takes what it takes in a URL"),
        (b'{"event_typ":"tap"}', "did you mean event_type?"),
        (b'{"event_type":[]}', "takes at least one value"),
        (b'{"event_type":null}', "_isnull"),
        (b'{"event_type_in":["a",null]}', "_isnull"),
        (b'{"size":1000}', "largest page, 100"),
        (b'{"size":"ten"}', "takes an integer"),
        (b'{"cursor":"x"}', "not a cursor of this list"),
        (b'{"event_type":[' + b'"a",' * 300 + b'"a"]}', "are too many"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: httpx.Client, body: bytes, said: str) -> None:
    headers = {"Content-Type": "application/json"}
    for method, path in (("POST", "/events/-/query"), ("QUERY", "/events")):
        refused = asked.request(method, path, content=body, headers=headers)
        assert refused.status_code == 400, refused.text
        assert said in refused.json()["detail"]


def test_other_bodies_are_refused(asked: httpx.Client) -> None:
    assert asked.post("/events/-/query", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert asked.post("/events/-/query", content=b"{}").status_code == 415


def test_options_say_what_a_list_takes(asked: httpx.Client) -> None:
    allowed = asked.options("/events").headers
    assert set(allowed["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "QUERY"}
    assert allowed["accept-query"] == '"application/json", "application/x-www-form-urlencoded"'
    assert set(asked.options("/events/-/query").headers["allow"].split(", ")) == {"OPTIONS", "POST"}
    assert asked.get("/events/-/query").status_code == 405
    assert asked.get("/events/-/nothing").status_code == 404
