"""Nothing of another person, and no column that one may not read, shows in any answer, whatever is asked."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.api.entrance.access import Rule
from src.main import app, create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers

MARK = "bens-secret"
HIDDEN = "hidden-mark"
KEYS = {"users": "user_id", "sessions": "session_id", "recordings": "recording_id", "events": "event_id"}
BENS_EVENT = "01994d5e-6f1c-7c3a-9d5b-00000000beef"
COLUMNS = {
    "users": [
        "user_id",
        "firebase_data.email",
        "body_data.note",
        "role",
        "disabled",
        "tokens_valid_after",
        "created_at",
    ],
    "sessions": ["session_id", "user_id", "device_data.note", "started_at"],
    "recordings": ["recording_id", "user_id", "recording_link", "recording_type", "created_session_id"],
    "events": ["event_id", "user_id", "session_id", "event_type", "event_data.note", "event_source", "ts"],
}
EXPANSIONS = {
    "users": ["sessions", "recordings", "sessions.user", "recordings.user", "recordings(limit:50,sort:-recording_id)"],
    "sessions": ["user", "user.sessions", "user.recordings"],
    "recordings": ["user", "user.sessions"],
    "events": [],
}


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as made:
        for person, mark in (("ada", "adas"), ("ben", MARK)):
            store(made.admin, person, mark)
        yield made


def store(admin: httpx.Client, person: str, mark: str) -> None:
    account = {"email": f"{HIDDEN}-{mark}", "display_name": mark}
    user = {"user_id": person, "firebase_data": account, "body_data": {"note": mark}}
    session = {"session_id": f"{mark}-s", "user_id": person, "device_data": {"note": mark}}
    recording = {
        "recording_id": f"{mark}-r",
        "user_id": person,
        "recording_link": mark,
        "recording_type": mark,
        "created_session_id": f"{mark}-s",
    }
    event = {
        "user_id": person,
        "session_id": f"{mark}-s",
        "event_type": mark,
        "event_data": {"note": mark},
        "event_source": mark,
        "ts": "2026-01-01T00:00:00Z",
    }
    if person == "ben":
        event["event_id"] = BENS_EVENT
    for path, row in (("users", user), ("sessions", session), ("recordings", recording), ("events", event)):
        assert admin.post(f"/{path}", json=row).status_code == 201


def requests_about(table: str) -> st.SearchStrategy[tuple[str, str, dict[str, Any], Any]]:
    column, key = st.sampled_from(COLUMNS[table]), KEYS[table]
    values = st.sampled_from(
        [MARK, f"{MARK}-s", f"{MARK}-r", "ben", "ada", "adas", "*", "true", "2026-01-01", BENS_EVENT]
    )
    suffix = st.sampled_from(["", "_gte", "_lt", "_ne", "_in", "_nin", "_like", "_contains", "_startswith", "_isnull"])
    keys = st.sampled_from([BENS_EVENT] if table == "events" else ["ben", f"{MARK}-s", f"{MARK}-r", "nobody"])
    filters = st.dictionaries(st.builds(lambda a, b: a + b, column, suffix), values, max_size=2)
    tree = st.builds(
        lambda a, v, b, w: {"or": f'("{a}".neq.{v},"{b}".eq.{w})'.replace("neq", "ne")}, column, values, column, values
    )
    shapes = st.fixed_dictionaries(
        {},
        optional={
            "fields": st.lists(column, min_size=1, max_size=3).map(",".join),
            "expand": st.sampled_from(EXPANSIONS[table] or ["user"]),
            "sort": column,
            "count": st.sampled_from(["exact", "estimated"]),
            "format": st.sampled_from(["json", "ndjson", "csv", "parquet", "arrow"]),
            "size": st.just("100"),
        },
    )
    groups = st.fixed_dictionaries(
        {"group": column},
        optional={
            "select": st.builds(lambda f, c: f"count,{f}({c})", st.sampled_from(["min", "max", "count"]), column),
            "format": st.sampled_from(["json", "csv"]),
        },
    )
    body = st.dictionaries(column.map(lambda name: name.partition(".")[0]), st.one_of(values, st.none()), max_size=3)
    merged = st.builds(lambda a, b, c: a | b | c, filters, st.one_of(st.just({}), tree), shapes)
    grouped = st.builds(lambda a, b: a | b, filters, groups)
    return st.one_of(
        st.tuples(st.just("GET"), st.just(f"/{table}"), merged, st.none()),
        st.tuples(st.just("POST"), st.just(f"/{table}/-/query"), st.just({}), merged),
        st.tuples(st.just("GET"), st.just(f"/{table}/-/aggregate"), grouped, st.none()),
        st.tuples(st.just("GET"), keys.map(lambda k: f"/{table}/{k}"), shapes.map(only_rows), st.none()),
        st.tuples(st.sampled_from(["PUT", "PATCH"]), keys.map(lambda k: f"/{table}/{k}"), st.just({}), body),
        st.tuples(st.just("POST"), st.just(f"/{table}"), st.just({}), st.builds(lambda b, k: b | {key: k}, body, keys)),
        st.tuples(st.just("PATCH"), st.just(f"/{table}"), filters, body),
        st.tuples(st.just("DELETE"), st.just(f"/{table}"), st.just({key: MARK}), st.none()),
        st.tuples(st.just("DELETE"), keys.map(lambda k: f"/{table}/{k}"), st.just({}), st.none()),
        st.tuples(st.just("DELETE"), keys.map(lambda k: f"/{table}/{k}"), st.just({"cascade": "true"}), st.none()),
        st.tuples(st.just("GET"), keys.map(lambda k: f"/{table}/{k}/archive"), st.just({}), st.none()),
    )


def only_rows(shapes: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in shapes.items() if name in ("fields", "expand")}


ASKED = st.sampled_from(sorted(KEYS)).flatmap(requests_about)
PREFERENCES = st.sampled_from(
    ["", "resolution=ignore-duplicates", "resolution=merge-duplicates", "return=representation"]
)
MANY = settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def without_what_was_asked(answer: httpx.Response, asked: str) -> str:
    """An answer's text, without the words that the request brought along and that an error may repeat."""
    if answer.status_code >= 400:
        return ""
    shown = " ".join(value for name, value in answer.headers.items() if name.lower() != "link")
    return shown.replace(asked, "") + answer.content.decode("utf-8", "replace")


def test_no_answer_shows_anothers_rows(callers: Callers) -> None:
    ada = callers.person("ada")

    @MANY
    @given(ASKED, PREFERENCES)
    def check(asked: tuple[str, str, dict[str, Any], Any], prefer: str) -> None:
        method, path, params, body = asked
        answer = ada.request(method, path, params=params, json=body, headers={"Prefer": prefer} if prefer else {})
        assert answer.status_code < 500, (asked, answer.text)
        # Every row of Ben's has his mark beside whatever can be asked for by it.
        if method in ("GET",) or "query" in path:
            groups = "aggregate" in path and answer.status_code == 200
            text = without_what_was_asked(answer, path)
            assert MARK not in text, (asked, text)
            if not groups:
                assert '"ben"' not in text, (asked, text)
        elif answer.status_code < 300 and answer.content:
            assert f'"{MARK}"' not in answer.text or MARK in str(body), (asked, answer.text)

    check()
    for table in KEYS:
        assert callers.admin.get(f"/{table}?user_id=ben&count=exact").headers["x-total-count"] == "1", table


def test_bens_rows_are_as_they_were(callers: Callers) -> None:
    rows = {table: callers.admin.get(f"/{table}?user_id=ben").json() for table in KEYS}
    assert rows["users"][0]["body_data"] == {"note": MARK}
    assert rows["sessions"][0]["device_data"] == {"note": MARK}
    assert rows["recordings"][0]["recording_link"] == MARK
    assert rows["events"][0]["event_data"] == {"note": MARK}


ASKS_OF_HIDDEN = [
    *("/users?firebase_data.email=x", "/users?firebase_data_isnull=true", "/users?fields=firebase_data"),
    *(
        "/users?sort=firebase_data.email",
        "/users/-/aggregate?group=firebase_data.email",
        "/users/ada?fields=firebase_data",
    ),
    *("/users/-/aggregate?select=count(firebase_data.email)", "/sessions?expand=user(fields:firebase_data)"),
    *("/users?or=(firebase_data.isnull.true)", "/users?fields=firebase_data.email"),
    *("/users?firebase_data__contains=x", '/users?or=("firebase_data.email".like.a*)'),
    "/users?firebase_data.email_startswith=h",
]


@pytest.mark.parametrize("path", ASKS_OF_HIDDEN)
def test_hidden_column_is_unknown(callers: Callers, path: str) -> None:
    researcher = callers.person("rita", role="researcher")
    answer = researcher.get(path)
    assert answer.status_code == 400, answer.text
    # It is called as any column is that no table ever had.
    other = researcher.get(path.replace("firebase_data", "firebase_dato"))
    assert other.status_code == 400
    assert answer.json()["detail"].replace("firebase_data", "firebase_dato") == other.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/users",
            "/users/ada",
            "/users?format=ndjson",
            "/users?format=csv",
            "/users?format=parquet",
            "/users/ada/archive",
        ),
        *(
            "/sessions?expand=user",
            "/sessions?expand=user.sessions",
            "/recordings?expand=user&format=ndjson",
            "/events",
        ),
    ],
)
def test_hidden_column_stands_in_no_answer(callers: Callers, path: str) -> None:
    researcher = callers.person("rita", role="researcher")
    answer = researcher.get(path)
    assert answer.status_code == 200
    assert HIDDEN.encode() not in answer.content
    assert b"firebase_data" not in answer.content
    assert MARK.encode() in callers.admin.get("/users").content


def test_row_of_another_and_no_row_give_the_same_bytes(callers: Callers) -> None:
    ada = callers.person("ada")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        for table, key in (("users", "ben"), ("sessions", f"{MARK}-s"), ("recordings", f"{MARK}-r")):
            body = {} if method == "PATCH" else row_to_put(table)
            more = {"json": body} if method in ("PUT", "PATCH") else {}
            there, nowhere = (ada.request(method, f"/{table}/{name}", **more) for name in (key, "n" * len(key)))
            assert there.status_code == nowhere.status_code == 404
            texts = [answer.text.replace(answer.json()["request_id"], "") for answer in (there, nowhere)]
            assert texts[0].replace(key, "n" * len(key)) == texts[1]
            headers = [set(answer.headers) - {"date"} for answer in (there, nowhere)]
            assert headers[0] == headers[1]


def row_to_put(table: str) -> dict[str, Any]:
    return {
        "users": {},
        "sessions": {"user_id": "ada"},
        "recordings": {"user_id": "ada", "recording_link": "x", "recording_type": "x"},
    }[table]


def test_rows_for_somebody_else_are_refused(callers: Callers) -> None:
    ada = callers.person("ada")
    event = {"event_type": "tap", "ts": "2026-01-01T00:00:00Z"}
    assert ada.post("/events", json=event | {"user_id": "ben"}).status_code == 403
    assert ada.post("/events", json=[event, event | {"user_id": "ben"}]).status_code == 403
    # Whoever does not say whose it is means their own.
    assert ada.post("/events", json=event).json()["user_id"] == "ada"
    assert ada.post("/events", json=[event]).json()[0]["user_id"] == "ada"
    assert ada.put("/sessions/adas-s", json={"user_id": "ben"}).status_code == 403
    assert ada.patch("/sessions/adas-s", json={"user_id": "ben"}).status_code == 403
    assert ada.patch("/sessions?session_id=adas-s", json={"user_id": "ben"}).status_code == 403
    taken = ada.post("/sessions", json={"session_id": f"{MARK}-s", "user_id": "ada"})
    assert taken.status_code == 409
    for prefer in ("resolution=merge-duplicates", "resolution=ignore-duplicates"):
        one = {"session_id": f"{MARK}-s", "user_id": "ada"}
        answer = ada.post("/sessions", json=one, headers={"Prefer": prefer})
        assert answer.status_code == 409, prefer
        assert MARK not in answer.text.replace(f"{MARK}-s", "")
    many = ada.post("/sessions", json=[one], headers={"Prefer": "resolution=merge-duplicates"})
    assert many.status_code == 409
    put = ada.put(f"/sessions/{MARK}-s", json={"user_id": "ada"}, headers={"Prefer": "resolution=merge-duplicates"})
    assert put.status_code == 409
    only = ada.put(f"/sessions/{MARK}-s", json={"user_id": "ada"}, headers={"If-None-Match": "*"})
    assert only.status_code == 412
    assert callers.admin.get(f"/sessions/{MARK}-s").json()["user_id"] == "ben"


def test_number_of_affected_rows_tells_nothing_of_others(callers: Callers) -> None:
    """A limit of one would be passed if the rows of others were counted with one's own."""
    ada = callers.person("ada")
    prefer = {"Prefer": "max-affected=1, tx=rollback"}
    for method, more in (
        ("DELETE", {}),
        ("PATCH", {"json": {"started_at": None}}),
        ("PATCH", {"json": {"device_data": {"x": 1}}}),
    ):
        answer = ada.request(method, "/sessions?user_id_in=ada,ben", headers=prefer, **more)
        assert (answer.status_code, answer.json()) == (200, {"count": 1}), answer.text
        refused = callers.admin.request(method, "/sessions?user_id_in=ada,ben", headers=prefer, **more)
        assert refused.status_code == 400


def test_batch_goes_by_the_same_rules(callers: Callers) -> None:
    ada = callers.person("ada")

    def run(*parts: dict[str, Any]) -> httpx.Response:
        return ada.post("/batch", json={"requests": parts})

    assert callers.client().post("/batch", json={"requests": []}).status_code == 401
    read = run({"method": "GET", "url": "/users"}, {"method": "GET", "url": "/events?count=exact"})
    assert read.status_code == 200
    assert MARK not in read.text
    assert run({"method": "GET", "url": "/users/ben"}).status_code == 404
    assert run({"method": "DELETE", "url": f"/sessions/{MARK}-s"}).status_code == 404
    assert run({"method": "POST", "url": "/algos", "body": {}}).status_code == 403
    assert run({"method": "GET", "url": "/users", "headers": {"X-API-Key": "x"}}).status_code == 400


def test_services_see_related_rows_only_where_they_may_read_them(callers: Callers) -> None:
    service = callers.service("recordings:read")
    assert service.get("/recordings?expand=user").status_code == 400
    both = callers.service("recordings:read", "users:read")
    assert both.get("/recordings?user_id=ben&expand=user").json()[0]["user"]["user_id"] == "ben"
    assert callers.service("events:append").get("/events").status_code == 403


def test_phone_that_may_only_append_repeats_itself_and_reads_nothing(callers: Callers) -> None:
    phone = callers.service("events:append")
    event = {"event_id": BENS_EVENT, "event_type": "tap", "ts": "2026-01-01T00:00:00Z"}
    repeated = phone.post("/events", json=event, headers={"Prefer": "resolution=ignore-duplicates"})
    assert repeated.status_code == 204
    assert not repeated.content
    assert phone.post("/events", json=event, headers={"Prefer": "resolution=merge-duplicates"}).status_code == 403
    assert phone.post("/events", json=event).status_code == 409


PAGES = {"/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/static-offline-docs"}


def test_every_route_has_a_rule() -> None:
    for route in iter_route_contexts(app.routes):
        assert route.path in PAGES or isinstance(getattr(route.endpoint, "rule", None), Rule), route.path


def test_route_without_a_rule_is_for_admins(shared_url: str) -> None:
    def with_route(*arguments: Any) -> Any:
        made = create_app(*arguments)

        @made.get("/plain/{word}")
        async def plain(word: str) -> str:
            return word

        return made

    with serving_callers(with_route, shared_url, **AUTHENTICATED) as callers:
        assert callers.client().get("/plain/x").status_code == 401
        assert callers.person("ada").get("/plain/x").status_code == 403
        assert callers.admin.get("/plain/x").json() == "x"
        assert callers.client().get("/nowhere").status_code == 404
        for page in (*sorted(PAGES)[:4], "/health", "/static-offline-docs/swagger-ui.css"):
            assert callers.client().get(page).status_code == 200, page
