"""The same history of requests, step by step against SQLite and PostgreSQL: the same answers."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.main import create_app
from tests.postgres import PostgresServer
from tests.server import serving, settings_for

UUIDS = [f"01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d{number:02x}" for number in range(6)]
TIMES = ["2026-01-31T09:30:00Z", "2026-01-31T10:30:00+01:00", "2026-01-31T09:30:00.1Z", "1970-01-01T00:00:00Z", "soon"]
# Where orders disagree: case, digits, punctuation, letters with marks, another plane of Unicode.
TEXTS = ["a", "B", "b", "A", "10", "9", "_", "é", "z", "Z", "", "🐘", "￿", "a b", "a-b", "x" * 256]
KEYS = ["ada", "Ada", "äda", "a-b", "a b", "_", "🐘"]

text, key, time = st.sampled_from(TEXTS), st.sampled_from(KEYS), st.sampled_from(TIMES)
maybe_text = st.none() | text
number = st.none() | st.integers(-3, 3) | st.floats(-2, 2) | st.just(1e300)


class Step(NamedTuple):
    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: Any = None


def row(table: str, name: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    bodies = st.fixed_dictionaries({name: key if name != "event_id" else st.sampled_from(UUIDS)}, optional=members)
    create = st.builds(lambda body: Step("POST", f"/{table}", body=body), bodies)
    replace = st.builds(lambda body, at: Step("PUT", f"/{table}/{at}", body=body | {name: at}), bodies, address(name))
    remove = st.builds(lambda at: Step("DELETE", f"/{table}/{at}"), address(name))
    read = st.builds(lambda at: Step("GET", f"/{table}/{at}"), address(name))
    return create | create | replace | remove | read


def address(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from(UUIDS) if name == "event_id" else key


def listing(table: str, columns: list[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[Step]:
    terms = st.lists(st.builds("{}{}".format, st.sampled_from(["", "-"]), st.sampled_from(columns)), max_size=3)
    filters = st.lists(st.tuples(st.sampled_from([*columns, *(f"{c}_gte" for c in columns)]), values), max_size=2)
    size = st.sampled_from(["1", "2", "100"])
    page = st.sampled_from(["", "1", "2"])
    return st.builds(
        lambda sort, wanted, many, number: Step(
            "GET",
            f"/{table}",
            (
                *wanted,
                ("size", many),
                *((("sort", ",".join(sort)),) if sort else ()),
                *((("page", number),) if number else ()),
            ),
        ),
        terms,
        filters,
        size,
        page,
    )


document = st.dictionaries(text, number | text, max_size=3)
STEPS = st.one_of(
    row("users", "user_id", firebase_data=st.none() | document, body_data=st.fixed_dictionaries({"height": number})),
    row("sessions", "session_id", user_id=key, started_at=st.none() | time, ended_at=time),
    row("algos", "algo_id", recording_type=text, location=text, version=text),
    row(
        "events",
        "event_id",
        event_type=text,
        ts=time,
        user_id=maybe_text,
        session_id=maybe_text,
        event_source=maybe_text,
        event_data=st.none() | document,
    ),
    listing("events", ["user_id", "session_id", "event_type", "event_source", "log_level"], text),
    listing("events", ["ts"], time),
    listing("sessions", ["started_at", "ended_at"], time),
    listing("users", ["user_id"], text),
    listing("algos", ["algo_id", "version", "location"], text),
)


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: Path,
    postgres_server: PostgresServer,
    postgresql_template: str,
) -> Iterator[list[httpx.Client]]:
    path = tmp_path_factory.mktemp("agree") / "agree.db"
    shutil.copy(sqlite_template, path)
    url = postgres_server.create_database(template=postgresql_template)
    with (
        serving(create_app(settings_for(f"sqlite:///{path}"))) as sqlite,
        serving(create_app(settings_for(url))) as postgresql,
    ):
        yield [sqlite, postgresql]


def answer(client: httpx.Client, step: Step) -> tuple[int, str, str, str]:
    response = client.request(step.method, step.path, params=step.params, json=step.body)
    made_by_server = r'"(created_at|updated_at|request_id)":"[^"]*"'
    body = re.sub(made_by_server, "", response.text)
    headers = response.headers
    return response.status_code, body, headers.get("link", ""), headers.get("location", "")


def empty(client: httpx.Client) -> None:
    for table, name in (("events", "event_id"), ("sessions", "session_id"), ("algos", "algo_id"), ("users", "user_id")):
        for found in client.get(f"/{table}", params={"size": 100}).json():
            client.delete(f"/{table}/{found[name]}")


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(history=st.lists(STEPS, min_size=5, max_size=25))
def test_both_databases_answer_every_step_alike(both: list[httpx.Client], history: list[Step]) -> None:
    for client in both:
        empty(client)
    for step in history:
        on_sqlite, on_postgresql = (answer(client, step) for client in both)
        assert on_sqlite == on_postgresql, step
        assert on_sqlite[0] < 500


def test_histories_do_store_and_find_rows(both: list[httpx.Client]) -> None:
    for client in both:
        empty(client)
    steps = [Step("POST", "/users", body={"user_id": name}) for name in KEYS]
    steps += [Step("GET", "/users", (("sort", "-user_id"), ("size", "2")))]
    answers = [[answer(client, step) for client in both] for step in steps]
    assert [found[0][0] for found in answers] == [201] * len(KEYS) + [200]
    assert all(found[0] == found[1] for found in answers)
    assert "🐘" in answers[-1][0][1]
    for client in both:
        empty(client)
