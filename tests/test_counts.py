"""How many rows there are, where it is asked for: exactly, or as the database's planner expects."""

import httpx
import pytest

from src.main import create_app
from tests.callers import AUTHENTICATED, serving_callers
from tests.databases import is_sqlite, run_sql
from tests.study import EVENTS


@pytest.mark.parametrize(("url", "number"), [("/events?", len(EVENTS)), ("/events?event_type=tap&", 2)])
@pytest.mark.parametrize("place", ["size=1", "page=2&size=1", "size=100"])
def test_rows_are_counted_on_every_page(asked: httpx.Client, url: str, number: int, place: str) -> None:
    by_parameter = asked.get(f"{url}{place}&count=exact")
    by_header = asked.get(f"{url}{place}", headers={"Prefer": "respond-async, count=exact;x=1"})
    for answer in (by_parameter, by_header):
        assert answer.headers["x-total-count"] == str(number)
        assert answer.headers["preference-applied"] == "count=exact"
    assert asked.get(f"{url}{place}").headers.get("x-total-count") is None


def test_estimate_says_what_it_is(asked: httpx.Client) -> None:
    answer = asked.get("/events?count=estimated&event_data.dur_gte=0")
    assert int(answer.headers["x-total-count"]) >= 0
    # SQLite plans with no number of rows, so they are counted there.
    assert answer.headers["preference-applied"] in ("count=exact", "count=estimated")


def test_estimate_of_a_known_table_is_near(client: httpx.Client, migrated_url: str) -> None:
    for number in range(30):
        client.post("/algos", json={"algo_id": f"a{number}", "recording_type": "x", "location": "x", "version": "1"})
    run_sql(migrated_url, "ANALYZE")
    answer = client.get("/algos", headers={"Prefer": "count=estimated"})
    assert int(answer.headers["x-total-count"]) == 30
    applied = "count=exact" if is_sqlite(migrated_url) else "count=estimated"
    assert answer.headers["preference-applied"] == applied


def test_own_rows_are_counted_and_never_estimated(migrated_url: str) -> None:
    """The planner reckons with the rows of everybody: it would tell how common a value is among them."""
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        for person in ("ada", "ben"):
            callers.admin.post("/users", json={"user_id": person})
        sessions = [{"session_id": str(number), "user_id": "ben"} for number in range(400)]
        callers.admin.post("/sessions", json=[*sessions, {"session_id": "a", "user_id": "ada"}])
        run_sql(migrated_url, "ANALYZE")
        ada = callers.person("ada")
        answers = [ada.get("/sessions?count=estimated"), ada.get("/sessions", headers={"Prefer": "count=estimated"})]
        answers.append(ada.get("/sessions?count=estimated&session_id_ne=a"))
        assert [answer.headers["x-total-count"] for answer in answers] == ["1", "1", "0"]
        assert {answer.headers["preference-applied"] for answer in answers} == {"count=exact"}


def test_head_counts_too(asked: httpx.Client) -> None:
    assert asked.head("/events?count=exact").headers["x-total-count"] == str(len(EVENTS))


def test_other_preferences_are_ignored_and_other_counts_refused(asked: httpx.Client) -> None:
    assert "x-total-count" not in asked.get("/events", headers={"Prefer": "count=roughly, wait=1"}).headers
    refused = asked.get("/events?count=roughly")
    assert refused.status_code == 400
    assert "exact or estimated" in refused.json()["detail"]
