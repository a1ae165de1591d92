"""What browsers are told of every answer; and the documentation's pages, which still work under it."""

import base64
import hashlib
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from src.api.entrance.security_headers import page_policy
from src.main import create_app
from tests.server import serving, settings_for

ORIGIN = "https://study.example"
PAGES = ("/docs", "/redoc", "/docs/oauth2-redirect")
ASSETS = {"script": "javascript", "stylesheet": "text/css", "shortcut icon": "image/"}


def assert_secured(answer: httpx.Response) -> None:
    expected = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
        "cross-origin-resource-policy": "same-origin",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    }
    assert {name: answer.headers.get_list(name) for name in expected} == {name: [expected[name]] for name in expected}
    assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("GET", "/users", 200),
        ("OPTIONS", "/users", 204),
        ("GET", "/users?size=0", 400),
        ("GET", "/users/nobody", 404),
        ("PUT", "/users", 405),
        ("POST", "/users", 415),
        ("GET", "/events?format=ndjson", 200),
        ("HEAD", "/events?format=ndjson", 200),
        # Below, FastAPI answers.
        ("GET", "/nothing", 404),
        ("POST", "/docs", 405),
        ("GET", "/openapi.json", 200),
        ("GET", "/static-offline-docs/swagger-ui.css", 200),
        ("GET", "/static-offline-docs/nothing.js", 404),
    ],
)
def test_every_answer_has_the_headers(idle_client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = idle_client.request(method, path)
    assert answer.status_code == status
    assert_secured(answer)


def test_written_deleted_and_unchanged_rows_have_the_headers(client: httpx.Client) -> None:
    created = client.post("/users", json={"user_id": "ada"})
    unchanged = client.get("/users/ada", headers={"If-None-Match": created.headers["etag"]})
    deleted = client.delete("/users/ada")
    assert (created.status_code, unchanged.status_code, deleted.status_code) == (201, 304, 204)
    for answer in (created, unchanged, deleted):
        assert_secured(answer)


def test_file_that_has_not_changed_has_the_headers(idle_client: httpx.Client) -> None:
    path = "/static-offline-docs/swagger-ui.css"
    tag = idle_client.get(path).headers["etag"]
    answer = idle_client.get(path, headers={"If-None-Match": tag})
    assert answer.status_code == 304
    assert_secured(answer)


@pytest.fixture(scope="module")
def opened() -> Iterator[httpx.Client]:
    """A client of a service that lets a foreign origin in, and has a defect; its database is away."""
    app = create_app(settings_for("sqlite:////nowhere/at/all.db", cors_origins=ORIGIN))

    @app.get("/defect")
    async def defect() -> None:
        raise ZeroDivisionError

    with serving(app) as made:
        yield made


@pytest.mark.parametrize(("path", "status"), [("/defect", 500), ("/users", 503)])
def test_what_fails_has_the_headers(opened: httpx.Client, path: str, status: int) -> None:
    answer = opened.get(path)
    assert answer.status_code == status
    assert_secured(answer)


@pytest.mark.parametrize(("origin", "status"), [(ORIGIN, 200), ("https://evil.example", 400)])
def test_preflight_has_the_headers(opened: httpx.Client, origin: str, status: int) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x-y"}
    answer = opened.options("/users/ada", headers=headers)
    assert answer.status_code == status
    assert_secured(answer)


def test_allowed_origin_may_read_the_answer(opened: httpx.Client) -> None:
    answer = opened.get("/health", headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    exposed = answer.headers["access-control-expose-headers"]
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed.split(", "))
    assert_secured(answer)


@pytest.mark.parametrize("path", ["/health", "/users/nobody", "/events?format=ndjson", "/openapi.json", *PAGES])
def test_https_is_to_be_kept_once_it_was_used(idle_client: httpx.Client, path: str) -> None:
    # The tests' server believes this header from its own machine.
    answer = idle_client.get(path, headers={"X-Forwarded-Proto": "https"})
    assert answer.headers.get_list("strict-transport-security") == ["max-age=31536000"]
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert "strict-transport-security" not in idle_client.get(path).headers


class Asset(NamedTuple):
    kind: str
    path: str


class Page(HTMLParser):
    """What a browser would run and load of a page."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.assets: list[Asset] = []
        self.event_handlers: list[str] = []
        self._is_in_script = False
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.event_handlers += [name for name in found if name.startswith("on")]
        if tag == "link":
            self.assets.append(Asset(str(found["rel"]), str(found["href"])))
        elif "src" in found:
            self.assets.append(Asset(tag, str(found["src"])))
        elif tag == "script":
            self.scripts.append("")
            self._is_in_script = True

    def handle_endtag(self, tag: str) -> None:
        self._is_in_script = False

    def handle_data(self, data: str) -> None:
        if self._is_in_script:
            self.scripts[-1] += data


def policy_of(answer: httpx.Response) -> dict[str, list[str]]:
    (policy,) = answer.headers.get_list("content-security-policy")
    return {name: sources for name, *sources in (part.split() for part in policy.split(";"))}


def hash_of(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_page_may_run_what_stands_in_it_and_nothing_else(idle_client: httpx.Client, path: str, coding: str) -> None:
    answer = idle_client.get(path, headers={"Accept-Encoding": coding})
    page, policy = Page(answer), policy_of(answer)
    assert page.event_handlers == []
    assert sorted(policy["script-src"]) == sorted(["'self'", *map(hash_of, page.scripts)])
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
def test_page_loads_from_this_service_alone_and_as_the_types_that_browsers_take(
    idle_client: httpx.Client, path: str
) -> None:
    for asset in Page(idle_client.get(path)).assets:
        url = urljoin(f"{idle_client.base_url}{path}", asset.path)
        assert urlsplit(url).netloc == idle_client.base_url.netloc.decode()
        answer = idle_client.get(url)
        assert answer.status_code == 200
        # With `nosniff`, a browser refuses a script or a style of another type.
        assert ASSETS[asset.kind] in answer.headers["content-type"]


def test_pages_are_as_the_tests_believe(idle_client: httpx.Client) -> None:
    pages = {path: Page(idle_client.get(path)) for path in PAGES}
    assert [len(pages[path].scripts) for path in PAGES] == [1, 0, 1]
    assert [len(pages[path].assets) for path in PAGES] == [3, 2, 0]
    assert "worker-src blob:" in idle_client.get("/redoc").headers["content-security-policy"]


@pytest.mark.parametrize(
    ("page", "scripts"),
    [
        ("<script>a</script>", ["a"]),
        ("<SCRIPT type='module'>\n a < b \n</SCRIPT >", ["\n a < b \n"]),
        ("<script src='/x.js'></script><script>b</script>", ["b"]),
        ("<script>a</script><p>text</p><script>b</script>", ["a", "b"]),
        ("<scripture>a</scripture>", []),
        ("", []),
    ],
)
def test_scripts_are_named_by_their_hashes(page: str, scripts: list[str]) -> None:
    sources = page_policy(page.encode()).decode().split(";")[1].split()
    assert sources == ["script-src", "'self'", *map(hash_of, scripts)]
