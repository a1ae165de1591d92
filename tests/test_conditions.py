"""ETag, If-Match, If-None-Match: of writers who have read the same row, one wins."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from scripts.service_process import ServiceProcess

NONE = {"If-None-Match": "*"}


@pytest.fixture
def ada(client: httpx.Client) -> str:
    """The tag of a row."""
    tag: str = client.post("/users", json={"user_id": "ada"}).headers["etag"]
    return tag


def test_tag_is_strong_and_changes_with_the_row(client: httpx.Client, ada: str) -> None:
    assert ada.startswith('"')
    assert client.get("/users/ada").headers["etag"] == ada == client.head("/users/ada").headers["etag"]
    put = client.put("/users/ada", json={"body_data": {"height": 1}})
    patched = client.patch("/users/ada", json={"body_data": {"height": 2}})
    assert len({ada, put.headers["etag"], patched.headers["etag"]}) == 3
    assert client.get("/users/ada").headers["etag"] == patched.headers["etag"]
    assert client.get("/users/ada?fields=user_id").headers["etag"] != patched.headers["etag"]


def test_reader_who_has_the_row_gets_no_body(client: httpx.Client, ada: str) -> None:
    for known in (ada, f'"other", {ada}', f"W/{ada}", "*"):
        for method in ("GET", "HEAD"):
            answer = client.request(method, "/users/ada", headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert ada in answer.headers["etag"]
            assert answer.headers["cache-control"] == "private, no-cache"
            assert "content-type" not in answer.headers
    assert client.get("/users/ada", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/users/nobody", headers={"If-None-Match": "*"}).status_code == 404
    assert client.get("/users/ada", headers={"If-Match": '"other"'}).status_code == 412


def test_compressed_row_has_a_tag_of_its_own_that_means_the_same_row(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada", "body_data": {"note": "x" * 5000}})
    tags = {
        coding: client.get("/users/ada", headers={"Accept-Encoding": coding}).headers["etag"]
        for coding in ("identity", "gzip", "zstd")
    }
    assert len(set(tags.values())) == 3
    for coding, tag in tags.items():
        headers = {"Accept-Encoding": coding, "If-None-Match": tag}
        answer = client.get("/users/ada", headers=headers)
        assert (answer.status_code, answer.headers["etag"]) == (304, tag)
    assert client.patch("/users/ada", json={"body_data": None}, headers={"If-Match": tags["gzip"]}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_write_with_an_old_tag_is_refused_and_changes_nothing(client: httpx.Client, ada: str, method: str) -> None:
    body = None if method == "DELETE" else {"body_data": {"height": 1}}
    client.patch("/users/ada", json={"body_data": {"height": 9}})
    before = client.get("/users/ada")
    for match in (ada, f"W/{before.headers['etag']}", '"x", "y"'):
        answer = client.request(method, "/users/ada", json=body, headers={"If-Match": match})
        assert answer.status_code == 412
        assert client.get("/users/ada").content == before.content
    answer = client.request(method, "/users/ada", json=body, headers={"If-Match": f'"x", {before.headers["etag"]}'})
    assert answer.status_code in (200, 204)
    assert client.request(method, "/users/nobody", json=body, headers={"If-Match": "*"}).status_code == 404


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ["garbage", '"open', 'x"y"', '"a" "b"', "W/", "*, *", '"a", *', ",", '"\ttab"'])
def test_garbage_is_refused(client: httpx.Client, ada: str, name: str, value: str) -> None:
    before = client.get("/users/ada").content
    for method, body in (("PUT", {"body_data": {}}), ("PATCH", {"body_data": {}}), ("DELETE", None), ("GET", None)):
        answer = client.request(method, "/users/ada", json=body, headers={name: value})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["in"] == "header"
    assert client.get("/users/ada").content == before


def test_put_that_creates_and_only_creates(client: httpx.Client) -> None:
    made = client.put("/users/ada", json={"body_data": {"height": 1}}, headers=NONE)
    assert (made.status_code, made.headers["location"]) == (201, "/users/ada")
    assert made.headers["etag"] == client.get("/users/ada").headers["etag"]
    assert client.put("/users/ada", json={}, headers=NONE).status_code == 412
    assert client.get("/users/ada").content == made.content


def test_put_that_creates_or_replaces(client: httpx.Client) -> None:
    either = {"Prefer": "resolution=merge-duplicates"}
    made = client.put("/users/ada", json={"body_data": {"height": 1}}, headers=either)
    assert (made.status_code, made.headers["preference-applied"]) == (201, "resolution=merge-duplicates")
    replaced = client.put("/users/ada", json={}, headers=either)
    assert (replaced.status_code, replaced.json()["body_data"]) == (200, None)
    assert replaced.json()["created_at"] == made.json()["created_at"]
    assert client.put("/users/eve", json={}, headers=either | {"If-Match": "*"}).status_code == 412
    assert client.put("/users/eve", json={}).status_code == 404


@pytest.mark.parametrize("key", ["-", "%00", "%0A", "x" * 256])
def test_put_creates_no_row_with_a_key_that_a_post_refuses(client: httpx.Client, key: str) -> None:
    assert client.put(f"/users/{key}", json={}, headers=NONE).status_code in (400, 404)
    assert client.get("/users").json() == []


def test_put_creates_events_under_the_phones_own_id(client: httpx.Client) -> None:
    path = "/events/550e8400-e29b-41d4-a716-446655440000"
    event = {"event_type": "tap", "ts": "2026-01-31T09:30:00Z"}
    assert client.put(path, json=event | {"event_id": path[8:].upper()}, headers=NONE).status_code == 201
    assert client.put("/events/none", json=event, headers=NONE).status_code == 404
    other = event | {"event_id": "550e8400-e29b-41d4-a716-446655440001"}
    assert client.put("/events/550e8400-e29b-41d4-a716-446655440002", json=other, headers=NONE).status_code == 400
    assert len(client.get("/events").json()) == 1


def test_conditions_have_no_meaning_for_many_rows(client: httpx.Client, ada: str) -> None:
    for method, path, body in (
        ("POST", "/users", {"user_id": "eve"}),
        ("PATCH", "/users?user_id=ada", {"body_data": {}}),
        ("DELETE", "/users?user_id=ada", None),
        ("POST", "/batch", {"requests": []}),
    ):
        assert client.request(method, path, json=body, headers={"If-Match": ada}).status_code == 400
    assert client.get("/users/ada").headers["etag"] == ada


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_of_fifty_writers_with_the_same_tag_one_wins(migrated_url: str, tmp_path: Path, method: str) -> None:
    """Over three worker processes."""
    environment = {"DATABASE_URL": migrated_url, "WEB_CONCURRENCY": "3", "POOL_WAIT_S": "30"}
    with ServiceProcess(environment, log=tmp_path / "service.log") as process:
        process.start()
        process.wait_until_up()
        base = f"http://127.0.0.1:{process.port}"
        with ThreadPoolExecutor(50) as threads:
            for round_ in range(3):
                key = f"user-{round_}"
                tag = httpx.post(f"{base}/users", json={"user_id": key}).headers["etag"]

                def write(number: int, key: str = key, tag: str = tag) -> int:
                    body = None if method == "DELETE" else {"body_data": {"writer": number}}
                    headers = {"If-Match": tag}
                    # A connection of its own for each, so that the kernel spreads them over the workers.
                    return httpx.request(
                        method, f"{base}/users/{key}", json=body, headers=headers, timeout=60
                    ).status_code

                found = Counter(threads.map(write, range(50)))
                lost = 404 if method == "DELETE" else 412
                won = 204 if method == "DELETE" else 200
                assert found == {won: 1, lost: 49}
