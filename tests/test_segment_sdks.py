"""The SDKs of Segment and RudderStack deliver here unmodified: once, also when answers get lost or limits are met."""

import base64
import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import rudderstack.analytics
import segment.analytics

from src.main import create_app
from tests.callers import AUTHENTICATED, serving_callers
from tests.cutting_proxy import CuttingProxy
from tests.databases import run_sql
from tests.server import serving, settings_for

SDKS = {"segment": segment.analytics.Client, "rudderstack": rudderstack.analytics.Client}
TYPES = ("alias", "group", "identify", "page", "screen", "track")


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return SDKS[request.param]


class Failures:
    """What an SDK gave up on."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def __call__(self, error: Exception, _: Any) -> None:
        self.errors.append(error)


@contextmanager
def client_of(sdk: Callable[..., Any], url: str, key: str = "any", **more: Any) -> Iterator[tuple[Any, Failures]]:
    failures = Failures()
    client = sdk(key, host=url, on_error=failures, **{"upload_interval": 0.1} | more)
    try:
        yield client, failures
    finally:
        client.shutdown()


def send_all(client: Any) -> dict[str, dict[str, Any]]:
    """Send one message of each type; what the SDK put into its queue, by type."""
    sent = [
        client.track("ada", "tap", {"screen": "home", "n": 1.5}),
        client.identify("ada", {"age": 36}),
        client.page("ada", "docs", "start", {"url": "https://x"}),
        client.screen("ada", "docs", "start", {"n": None}),
        client.group("ada", "g1", {"size": 3}),
        client.alias("anonymous-1", "ada"),
    ]
    assert all(is_queued for is_queued, _ in sent)
    return {message["type"]: message for _, message in sent}


def events(url: str) -> int:
    return int(run_sql(url, "SELECT count(*) FROM event_log")[0][0])


@pytest.mark.parametrize("gzip", [False, True])
def test_every_call_is_stored_once(sdk: Callable[..., Any], migrated_url: str, gzip: bool) -> None:
    with serving(create_app(settings_for(migrated_url))) as service:
        with client_of(sdk, str(service.base_url), gzip=gzip) as (client, failures):
            sent = send_all(client)
        assert failures.errors == []
        rows = {row["event_data"]["type"]: row for row in service.get("/events").json()}
        assert sorted(rows) == list(TYPES)
        for type_, message in sent.items():
            row = rows[type_]
            assert (row["event_id"], row["user_id"]) == (message["messageId"], "ada")
            assert (row["event_type"], row["event_source"]) == (
                "tap" if type_ == "track" else type_,
                "analytics-python",
            )
            assert row["sent_at"] is not None
            kept = {name for name in message if name not in ("messageId", "userId", "timestamp")} - (
                {"event"} if type_ == "track" else set()
            )
            assert {name: row["event_data"][name] for name in kept} == {name: message[name] for name in kept}


def test_an_answer_that_got_lost_stores_nothing_twice(sdk: Callable[..., Any], migrated_url: str) -> None:
    with (
        serving(create_app(settings_for(migrated_url))) as service,
        CuttingProxy(str(service.base_url).rstrip("/")).serving() as proxy,
    ):
        proxy.answers_to_lose = 2
        with client_of(sdk, proxy.url) as (client, failures):
            send_all(client)
        assert failures.errors == []
        assert proxy.statuses[:3] == [200] * 3
        assert events(migrated_url) == 6


def test_a_limit_is_waited_for(sdk: Callable[..., Any], migrated_url: str) -> None:
    app = create_app(settings_for(migrated_url, rate_limit_per_address=2, rate_limit_window_s=2))
    with (
        serving(app) as service,
        CuttingProxy(str(service.base_url).rstrip("/")).serving() as proxy,
    ):
        with client_of(sdk, proxy.url, upload_size=1) as (client, failures):
            send_all(client)
        assert failures.errors == []
        assert 429 in proxy.statuses
        assert proxy.statuses.count(200) == 6
        assert events(migrated_url) == 6


def test_a_wrong_key_is_given_up_at_once_and_told(sdk: Callable[..., Any], migrated_url: str) -> None:
    with (
        serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers,
        CuttingProxy(callers.base_url.rstrip("/")).serving() as proxy,
    ):
        with client_of(sdk, proxy.url, key="wrong") as (client, failures):
            client.track("ada", "tap")
        assert proxy.statuses == [401]
        assert len(failures.errors) == 1
        assert "unauthorized" in str(failures.errors[0])


@pytest.mark.parametrize("scope", ["events:append", "events:write"])
def test_the_write_key_is_an_api_key(sdk: Callable[..., Any], migrated_url: str, scope: str) -> None:
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        key = callers.service(scope).headers["X-API-Key"]
        with client_of(sdk, callers.base_url, key=key) as (client, failures):
            send_all(client)
        assert failures.errors == []
        assert events(migrated_url) == 6
        assert key not in str(run_sql(migrated_url, "SELECT * FROM event_log"))


def test_a_batch_that_is_too_large_is_given_up_at_once(sdk: Callable[..., Any], migrated_url: str) -> None:
    app = create_app(settings_for(migrated_url, max_bulk_bytes=20_000, max_body_bytes=20_000))
    with (
        serving(app) as service,
        CuttingProxy(str(service.base_url).rstrip("/")).serving() as proxy,
    ):
        with client_of(sdk, proxy.url) as (client, failures):
            client.track("ada", "tap", {"text": "x" * 25_000})
        assert (proxy.statuses, len(failures.errors)) == ([413], 1)
        with client_of(sdk, proxy.url) as (client, failures):
            client.track("ada", "tap")
        assert (failures.errors, events(migrated_url)) == ([], 1)


def test_a_bad_message_costs_no_other_one(sdk: Callable[..., Any], migrated_url: str) -> None:
    with (
        serving(create_app(settings_for(migrated_url))) as service,
        CuttingProxy(str(service.base_url).rstrip("/")).serving() as proxy,
    ):
        with client_of(sdk, proxy.url) as (client, failures):
            client.track("ada", "before")
            client.track("ada", "tap", {"text": "a\x00b"})
            client.track("u" * 300, "after")
        assert (failures.errors, set(proxy.statuses)) == ([], {200})
        results = [each for body in proxy.bodies for each in json.loads(body).get("results", {}).values()]
        assert [each["result"] for each in results] == ["drop"]
        rows = {row["event_type"]: row for row in service.get("/events").json()}
        assert {type_: row["user_id"] for type_, row in rows.items()} == {"before": "ada", "after": None}
        assert rows["after"]["event_data"]["userId"] == "u" * 300


def test_while_the_service_is_away_messages_wait(sdk: Callable[..., Any], migrated_url: str) -> None:
    with serving(create_app(settings_for(migrated_url))) as service:
        proxy = CuttingProxy(str(service.base_url).rstrip("/"))
        # The port is taken, and nobody answers at it before the block below.
        with client_of(sdk, proxy.url, timeout=0.3) as (client, failures):
            client.track("ada", "tap")
            time.sleep(1)
            with proxy.serving():
                client.flush()
        assert (failures.errors, events(migrated_url)) == ([], 1)


def test_what_is_gzipped_may_be_called_a_form(client: httpx.Client) -> None:
    """As the SDK of RudderStack for Node does. Without gzip it could come from any web page."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    packed = gzip.compress(json.dumps(body()).encode())
    assert client.post("/v1/batch", content=packed, headers=form | {"Content-Encoding": "gzip"}).status_code == 200
    assert client.post("/v1/batch", content=json.dumps(body()), headers=form).status_code == 415
    assert client.post("/v1/batch", content=packed, headers=form).status_code == 415
    assert [row["event_type"] for row in client.get("/events").json()] == ["tap"]


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def body() -> dict[str, Any]:
    return {"batch": [{"type": "track", "event": "tap", "messageId": str(uuid4()), "userId": "ada"}]}


def test_who_may_send_messages(migrated_url: str) -> None:
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        nobody = callers.client()

        def post(headers: Any, path: str = "/v1/batch") -> int:
            return nobody.post(path, json=body(), headers=headers).status_code

        append, read = (callers.service(scope).headers["X-API-Key"] for scope in ("events:append", "events:read"))
        assert post(basic(f"{append}:")) == 200
        assert post(basic(append)) == 200
        assert post(basic(f"{append}:whatever")) == 200
        assert post({"X-API-Key": append}) == 200
        assert post({"Authorization": f"Bearer {append}"}) == 200
        assert post(basic(f"{read}:")) == 403
        assert post({}) == 401
        refused: list[Any] = [basic(":"), basic("x:"), basic(f" {append}:"), basic(f":{append}")]
        refused += [{"Authorization": "Basic"}, {"Authorization": "Basic %%%"}, {"Authorization": "Digest x"}]
        refused += [basic(f"{append}:") | {"X-API-Key": append}]
        refused += [{"Authorization": f"Basic {base64.b64encode(bytes(range(128, 256))).decode()}"}]
        answers = [nobody.post("/v1/batch", json=body(), headers=headers) for headers in refused]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.json()["detail"] for answer in answers}) == 1
        assert events(migrated_url) == 5


def test_write_keys_count_for_messages_alone(migrated_url: str) -> None:
    """Browsers send a user name by themselves, also for another site's page."""
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        headers = basic(f"{callers.service('admin').headers['X-API-Key']}:")
        for method, path in (("GET", "/events"), ("POST", "/events"), ("POST", "/batch"), ("GET", "/users/ada")):
            assert callers.client().request(method, path, headers=headers, json={}).status_code == 401


def test_wrong_write_keys_are_limited(migrated_url: str) -> None:
    changes = AUTHENTICATED | {"auth_failures_per_address": 3}
    with serving_callers(create_app, migrated_url, **changes) as callers:
        statuses = [
            callers.client().post("/v1/batch", json=body(), headers=basic(f"wrong-{number}:")).status_code
            for number in range(5)
        ]
        assert statuses == [401, 401, 401, 429, 429]


def test_people_send_their_own_messages_alone(migrated_url: str) -> None:
    with serving_callers(create_app, migrated_url, **AUTHENTICATED) as callers:
        ada = callers.person("ada")
        own, anonymous, other = body(), body(), body()
        del anonymous["batch"][0]["userId"]
        other["batch"][0]["userId"] = "eve"
        batch = {"batch": [each["batch"][0] for each in (own, anonymous, other)]}
        answer = ada.post("/v1/batch", json=batch)
        assert (answer.status_code, len(answer.json()["results"])) == (200, 1)
        assert {row["user_id"] for row in ada.get("/events").json()} == {"ada"}
        assert events(migrated_url) == 2


def test_messages_about_somebody_who_was_erased_are_dropped(migrated_url: str) -> None:
    with serving(create_app(settings_for(migrated_url))) as client:
        client.post("/users", json={"user_id": "ada"})
        assert client.delete("/users/ada?cascade=true").status_code == 200
        both = {"batch": [body()["batch"][0], body()["batch"][0] | {"userId": "eve"}]}
        answer = client.post("/v1/batch", json=both)
        assert (answer.status_code, answer.json()["success"]) == (200, True)
        assert [each["result"] for each in answer.json()["results"].values()] == ["drop"]
        assert [row["user_id"] for row in client.get("/events").json()] == ["eve"]


def test_without_authentication_any_key_will_do_and_none(client: httpx.Client) -> None:
    for headers in (basic("any:"), basic(":"), {}, {"Authorization": "Basic %%%"}):
        assert client.post("/v1/batch", json=body(), headers=headers).status_code == 200
    assert len(client.get("/events").json()) == 4


def test_while_the_database_is_away_sdks_are_told_to_come_again(database_url: str) -> None:
    with serving(create_app(settings_for(database_url))) as client:
        answer = client.post("/v1/batch", json=body())
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer.headers["retry-after"]
