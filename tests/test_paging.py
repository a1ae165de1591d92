"""Pages: every row once, in order, in both directions, while other rows come and go."""

import json
import random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COLUMNS = ["user_id", "session_id", "event_type", "event_source", "ts", "event_id"]
Event = dict[str, Any]


def uuid(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def make_events(count: int, seed: int = 1) -> list[Event]:
    """Events with many ties and nulls."""
    chance = random.Random(seed)
    return [
        {
            "event_id": uuid(chance.randrange(2**40)),
            "user_id": chance.choice([None, "a", "B", "é"]),
            "session_id": chance.choice([None, None, "s"]),
            "event_type": chance.choice(["tap", "open"]),
            "event_source": chance.choice([None, "app", "web", "x"]),
            "ts": f"2026-01-0{chance.randrange(1, 4)}T00:00:00Z",
        }
        for _ in range(count)
    ]


def create(client: httpx.Client, events: list[Event]) -> list[str]:
    for event in events:
        assert client.post("/events", json=event).status_code == 201
    return [event["event_id"] for event in events]


def walk(client: httpx.Client, url: str, relation: str = "next") -> list[list[Event]]:
    """Follow links from a page; the pages."""
    pages = []
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.text
        pages.append(response.json())
        url = response.links.get(relation, {}).get("url", "")
        assert len(pages) < 500
    return pages


def ids(pages: list[list[Event]]) -> list[str]:
    return [row["event_id"] for page in pages for row in page]


def rank(row: Event, sort: list[str]) -> list[Any]:
    """The place of a row in an order: nulls are largest unless it says otherwise, text goes by code point."""
    place: list[Any] = []
    for term in sort:
        name, _, nulls = term.removeprefix("-").partition(".")
        is_descending = term.startswith("-")
        value = row[name]
        has_nulls_first = nulls == "nullsfirst" if nulls else is_descending
        place.append((value is None) != has_nulls_first)
        place.append(Reversed(value or "") if is_descending else value or "")
    return place


class Reversed:
    """Sorts the other way round."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "Reversed") -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reversed) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


def total(sort: list[str]) -> list[str]:
    """The order as the API completes it: the key last, in the direction of the column before it."""
    names = [term.removeprefix("-").partition(".")[0] for term in sort]
    if "event_id" in names:
        return sort[: names.index("event_id") + 1]
    return [*sort, ("-" if sort and sort[-1].startswith("-") else "") + "event_id"]


SORTS = st.lists(
    st.tuples(st.sampled_from(["", "-"]), st.sampled_from(COLUMNS), st.sampled_from(["", ".nullsfirst", ".nullslast"])),
    min_size=1,
    max_size=4,
    unique_by=lambda term: term[1],
).map(lambda terms: ["".join(term) for term in terms])
FILTERS = st.sampled_from(["", "event_type=tap", "user_id=a&user_id=B", "ts_gte=2026-01-02", "event_source=app"])


def test_walks_in_any_order_see_every_row_once_in_order_and_lead_back(client: httpx.Client) -> None:
    create(client, make_events(60))
    rows = {row["event_id"]: row for page in walk(client, "/events?size=100") for row in page}
    assert len(rows) == 60

    @settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(SORTS, FILTERS, st.integers(1, 25))
    def check(sort: list[str], filters: str, size: int) -> None:
        url = f"/events?sort={','.join(sort)}&{filters}&size={size}".replace("&&", "&")
        pages = walk(client, url)
        seen = ids(pages)
        expected = client.get(f"/events?{filters}&size=100").json()
        in_order = sorted((row["event_id"] for row in expected), key=lambda key: rank(rows[key], total(sort)))
        assert seen == in_order
        assert all(len(page) == size for page in pages[:-1])
        last = client.get(url)
        while "next" in last.links:
            last = client.get(last.links["next"]["url"])
        back = (
            [last.json(), *walk(client, last.links["prev"]["url"], "prev")] if "prev" in last.links else [last.json()]
        )
        assert ids(back[::-1]) == seen

    check()


def test_rows_that_stay_are_seen_once_while_others_come_and_go(client: httpx.Client) -> None:
    chance = random.Random(7)
    for sort in ("-ts", "ts", "event_source,-ts", "-user_id,session_id", "session_id,-event_source,ts"):
        staying = create(client, make_events(40, seed=chance.randrange(10**6)))
        leaving = create(client, make_events(20, seed=chance.randrange(10**6)))
        seen: list[str] = []
        url = f"/events?sort={sort}&size=3"
        while url:
            response = client.get(url)
            seen += [row["event_id"] for row in response.json()]
            if leaving:
                client.delete(f"/events/{leaving.pop(chance.randrange(len(leaving)))}")
            create(client, make_events(1, seed=chance.randrange(10**6)))
            url = response.links.get("next", {}).get("url", "")
            assert len(seen) < 2000
        assert len(seen) == len(set(seen))
        assert set(staying) <= set(seen)
        for page in walk(client, "/events?size=100"):
            for row in page:
                client.delete(f"/events/{row['event_id']}")


def test_page_numbers_lead_through_all_rows(client: httpx.Client) -> None:
    create(client, make_events(25))
    first = client.get("/events?page=1&size=10")
    assert "prev" not in first.links
    assert first.links["next"]["url"] == "/events?size=10&page=2"
    assert [len(page) for page in walk(client, "/events?page=1&size=10")] == [10, 10, 5]
    third = client.get("/events?page=3&size=10")
    assert third.links["prev"]["url"] == "/events?size=10&page=2"
    assert "next" not in third.links
    assert client.get("/events?page=4&size=10").json() == []
    assert client.get("/events?page=92233720368547758&size=100").json() == []


def test_list_is_ten_rows_newest_first_without_parameters(client: httpx.Client) -> None:
    for day in range(1, 13):
        client.post("/events", json={"event_type": "tap", "ts": f"2026-01-{day:02}T00:00:00Z"})
    days = [row["ts"][8:10] for row in client.get("/events").json()]
    assert days == [f"{day:02}" for day in range(12, 2, -1)]


def test_other_tables_are_in_the_order_of_their_keys(client: httpx.Client) -> None:
    for key in ("b", "a", "B", "é", "10", "9"):
        client.post("/users", json={"user_id": key})
    assert [row["user_id"] for row in client.get("/users").json()] == ["10", "9", "B", "a", "b", "é"]


def test_links_keep_filters_order_and_size(client: httpx.Client) -> None:
    create(client, make_events(30))
    response = client.get("/events?event_type=tap&sort=-ts&size=2&user_id=a&user_id=%C3%A9")
    for relation in ("first", "next"):
        url = response.links[relation]["url"]
        assert url.startswith("/events?event_type=tap&sort=-ts&size=2&user_id=a&user_id=%C3%A9")
    assert client.get(response.links["first"]["url"]).json() == response.json()


@pytest.mark.parametrize(
    "other", ["event_type=open", "sort=ts", "sort=-ts&event_type=tap&user_id=a", "", "event_type=tap&event_source=app"]
)
def test_cursor_of_another_list_is_refused(client: httpx.Client, other: str) -> None:
    create(client, make_events(30))
    cursor = client.get("/events?event_type=tap&sort=-ts&size=2").links["next"]["url"].rpartition("cursor=")[2]
    assert client.get(f"/events?cursor={cursor}&sort=-ts&event_type=tap&size=5").status_code == 200
    refused = client.get(f"/events?{other}&cursor={cursor}")
    assert refused.status_code == 400
    assert "cursor" in refused.json()["detail"]
    assert client.get(f"/algos?cursor={cursor}").status_code == 400


def test_size_may_change_along_the_way(client: httpx.Client) -> None:
    create(client, make_events(30))
    first = client.get("/events?size=7")
    cursor = first.links["next"]["url"].rpartition("cursor=")[2]
    rest = client.get(f"/events?size=100&cursor={cursor}").json()
    assert len({row["event_id"] for row in first.json() + rest}) == 30


def test_link_holds_no_character_that_a_header_must_not(client: httpx.Client) -> None:
    for key in range(3):
        client.post(
            "/algos", json={"algo_id": f"{key}", "recording_type": '">\r\nX: 1', "location": "x", "version": "é"}
        )
    response = client.get("/algos", params={"recording_type": '">\r\nX: 1', "version": "é", "size": "1"})
    assert len(response.json()) == 1
    assert "x" not in response.headers
    assert len(ids_of(walk(client, response.links["first"]["url"]))) == 3


def ids_of(pages: list[list[Event]]) -> list[str]:
    return [json.dumps(row) for page in pages for row in page]
