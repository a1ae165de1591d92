"""Who is the peer: whose word is believed about a client's address, and what comes from this machine."""

import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from scripts.service_process import ServiceProcess
from src.api.entrance.addresses import (
    NOBODY,
    TrustedProxies,
    client_address,
    counted_address,
    request_scheme,
    why_not_local,
)
from tests.server import serving, settings_for

PROXIES = TrustedProxies(ip_network(text) for text in ("10.0.0.0/8", "fd00::/8", "127.0.0.1"))


def scope_of(peer: str | None, *headers: tuple[str, str], scheme: str = "http") -> Scope:
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "scheme": scheme, "client": (peer, 4711) if peer is not None else None, "headers": pairs}


@pytest.mark.parametrize(
    ("listed", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("2001:0DB8:0:0::9", "2001:db8::9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, fd00::1", "203.0.113.9"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        # What is no address ends the list: the request counts for the proxy that passed it on.
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9, nonsense, 10.1.2.3", "10.1.2.3"),
        ("203.0.113.9,", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("[2001:db8::9", "10.0.0.1"),
        ("[2001:db8::9]x", "10.0.0.1"),
        ("[203.0.113.9", "10.0.0.1"),
        ("203.0.113.009", "10.0.0.1"),
        ("203.0.113.9/24", "10.0.0.1"),
        ("1" * 5000, "10.0.0.1"),
        ("\xff", "10.0.0.1"),
    ],
)
def test_list_of_a_trusted_proxy_is_read_from_the_right(listed: str, address: str) -> None:
    assert client_address(scope_of("10.0.0.1", ("X-Forwarded-For", listed)), PROXIES) == address


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
        ('proto=https; for="203.0.113.9:4711"', "203.0.113.9"),
        ('for="[2001:db8::9]:4711"', "2001:db8::9"),
        ('for="[2001:db8::9]:_obfuscated"', "2001:db8::9"),
        ("for=198.51.100.1, for=203.0.113.9, for=10.1.2.3", "203.0.113.9"),
        ("for=203.0.113.9, for=unknown", "10.0.0.1"),
        ("for=203.0.113.9, for=_hidden", "10.0.0.1"),
        ("for=203.0.113.9, proto=https", "10.0.0.1"),
        ("for=203.0.113.9;for=198.51.100.1", "10.0.0.1"),
        # A client cannot swallow what the proxy adds by opening a quotation.
        ('for="198.51.100.1, for=203.0.113.9', "203.0.113.9"),
    ],
)
def test_forwarded_header_of_a_trusted_proxy_is_read_from_the_right(written: str, address: str) -> None:
    assert client_address(scope_of("10.0.0.1", ("Forwarded", written)), PROXIES) == address


def test_long_forwarded_header_costs_no_more_than_its_length() -> None:
    began = time.process_time()
    assert client_address(scope_of("10.0.0.1", ("Forwarded", "a;" * 32_000)), PROXIES) == "10.0.0.1"
    # It was 30 seconds when each pair was looked for among all of them.
    assert time.process_time() - began < 3


def test_several_headers_are_one_list() -> None:
    scope = scope_of("10.0.0.1", ("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.9, 10.1.2.3"))
    assert client_address(scope, PROXIES) == "203.0.113.9"


@pytest.mark.parametrize(
    ("written", "listed", "address"),
    [
        ("for=203.0.113.9", "203.0.113.9", "203.0.113.9"),
        ('for="203.0.113.9:80"', "198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("for=198.51.100.1", "203.0.113.9", "10.0.0.1"),
        ("for=203.0.113.9", "198.51.100.1", "10.0.0.1"),
        ("nonsense", "203.0.113.9", "10.0.0.1"),
    ],
)
def test_of_two_headers_that_say_different_things_neither_is_believed(written: str, listed: str, address: str) -> None:
    scope = scope_of("10.0.0.1", ("Forwarded", written), ("X-Forwarded-For", listed))
    assert client_address(scope, PROXIES) == address


@pytest.mark.parametrize("trusted", [NOBODY, PROXIES])
@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_nobody_else_is_believed(trusted: TrustedProxies, name: str) -> None:
    value = "for=203.0.113.9" if name == "Forwarded" else "203.0.113.9"
    assert client_address(scope_of("192.0.2.1", (name, value)), trusted) == "192.0.2.1"


@pytest.mark.parametrize("peer", [None, "", "testclient", "unix", "x" * 5000, "10.0.0.1 "])
def test_peer_without_an_address_is_unknown_and_not_believed(peer: str | None) -> None:
    assert client_address(scope_of(peer, ("X-Forwarded-For", "203.0.113.9")), PROXIES) == "unknown"


@pytest.mark.parametrize(("peer", "address"), [("::ffff:10.0.0.1", "10.0.0.1"), ("fd00:0:0::1", "fd00::1")])
def test_peer_is_known_in_every_spelling(peer: str, address: str) -> None:
    assert client_address(scope_of(peer), PROXIES) == address
    assert client_address(scope_of(peer, ("X-Forwarded-For", "203.0.113.9")), PROXIES) == "203.0.113.9"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_ipv6_addresses_count_by_their_network(address: str, counted: str) -> None:
    assert counted_address(address) == counted


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ((), "http"),
        ((("X-Forwarded-Proto", "https"),), "https"),
        ((("X-Forwarded-Proto", "HTTPS, http"),), "https"),
        ((("X-Forwarded-Proto", "http"),), "http"),
        ((("X-Forwarded-Proto", "javascript"),), "http"),
        ((("Forwarded", "for=203.0.113.9;proto=https, for=10.1.1.1;proto=http"),), "https"),
        ((("Forwarded", "for=203.0.113.9"),), "http"),
    ],
)
def test_scheme_is_what_a_trusted_proxy_says(headers: tuple[tuple[str, str], ...], scheme: str) -> None:
    assert request_scheme(scope_of("10.0.0.1", *headers), PROXIES) == scheme
    assert request_scheme(scope_of("192.0.2.1", *headers), PROXIES) == "http"
    assert request_scheme(scope_of("10.0.0.1", *headers), NOBODY) == "http"
    assert request_scheme(scope_of("192.0.2.1", *headers, scheme="https"), NOBODY) == "https"


@pytest.mark.parametrize(
    ("value", "networks"),
    [("", 0), ("10.0.0.5", 1), (" 10.0.0.0/8 , fd00::/8,", 2)],
)
def test_setting_lists_addresses_and_networks(value: str, networks: int) -> None:
    settings = settings_for("sqlite:///unused.db", forwarded_allow_ips=value)
    assert len(settings.trusted_networks) == networks
    assert bool(TrustedProxies(settings.trusted_networks)) is bool(networks)


LOCAL_HOSTS = [
    *("localhost", "localhost:8000", "LOCALHOST", "localhost.", "study.localhost:8000"),
    *("127.0.0.1", "127.0.0.1:8000", "127.8.8.8", "[::1]", "[::1]:8000", "[::ffff:127.0.0.1]"),
    # No name of the internet lacks a dot, and no browser leaves Host out.
    *("", "testserver", "backend:8000"),
]
OTHER_HOSTS = [
    *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"),
    *("192.0.2.1", "0.0.0.0", "[::]", "[2001:db8::1]:80", "127.1", "0x7f.0.0.1"),
    *(":8000", "localhost:80@evil.example", "localhost@evil.example", "localhost evil.example", "[::1", "::1"),
    *("localhost/x", "localhost:80:80", "localhost\x00", "x" * 5000 + ".localhost", "\xff", ".."),
]


@pytest.mark.parametrize("host", LOCAL_HOSTS)
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_and_a_host_of_this_machine_are_local(peer: str, host: str) -> None:
    assert why_not_local(scope_of(peer, ("Accept", "*/*"), ("Host", host), ("X-Request-ID", "7"))) == ""


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_another_host_is_not_local(host: str) -> None:
    assert "Host" in why_not_local(scope_of("127.0.0.1", ("Host", host)))


def test_two_hosts_are_not_local() -> None:
    assert why_not_local(scope_of("127.0.0.1")) == ""
    assert "Host" in why_not_local(scope_of("127.0.0.1", ("Host", "localhost"), ("Host", "localhost")))
    assert "Host" in why_not_local(scope_of("127.0.0.1", ("Host", "evil.example"), ("Host", "localhost")))


@pytest.mark.parametrize(
    "name",
    [
        *("Forwarded", "Via", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP"),
        *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Anything"),
    ],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "testclient"])
def test_what_came_through_a_proxy_is_not_local(peer: str, name: str) -> None:
    host = "testserver" if peer == "testclient" else "localhost"
    assert "proxy" in why_not_local(scope_of(peer, ("Host", host), (name, "127.0.0.1")))
    assert "proxy" in why_not_local(scope_of(peer, ("Host", host), (name, "")))


@pytest.mark.parametrize("peer", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "10.0.0.1", "unix", ""])
def test_another_address_is_not_local(peer: str) -> None:
    assert "address" in why_not_local(scope_of(peer, ("Host", "localhost")))


def test_unix_socket_is_not_local() -> None:
    assert "address" in why_not_local(scope_of(None, ("Host", "localhost")))


def test_host_of_the_test_client_is_looked_at_too() -> None:
    assert "Host" in why_not_local(scope_of("testclient", ("Host", "evil.example")))


class Told:
    """An application that answers what it was told of its peer."""

    trusted = NOBODY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                await send({"type": f"{(await receive())['type']}.complete"})
        facts = {"address": client_address(scope, self.trusted), "why_not_local": why_not_local(scope)}
        await JSONResponse(facts)(scope, receive, send)


told_app = Told()


@pytest.fixture(scope="module")
def told() -> Iterator[httpx.Client]:
    with serving(told_app) as client:
        yield client


def test_request_over_loopback_to_a_real_server_is_local(told: httpx.Client) -> None:
    assert told.get("/").json() == {"address": "127.0.0.1", "why_not_local": ""}


@pytest.mark.parametrize("claimed", ["203.0.113.9", "127.0.0.1", "testclient"])
def test_what_uvicorn_believes_by_itself_is_never_local(told: httpx.Client, claimed: str) -> None:
    answer = told.get("/", headers={"X-Forwarded-For": claimed, "Host": "testserver"}).json()
    assert "proxy" in answer["why_not_local"]
    assert answer["address"] == (claimed if claimed[0].isdigit() else "unknown")


@pytest.mark.filterwarnings("ignore:Using `httpx`")
def test_test_client_is_local() -> None:
    from starlette.testclient import TestClient

    assert TestClient(told_app).get("/").json() == {"address": "unknown", "why_not_local": ""}


SERVE = """
import sys
from src.core.config import load_settings
from src.serve.supervisor import serve
sys.exit(serve(load_settings(), "tests.test_client_address:told_app"))
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_production_server_hands_over_the_address_of_the_connection(tmp_path: Path, host: str) -> None:
    command = (sys.executable, "-c", SERVE)
    with ServiceProcess({"HOST": host, "WEB_CONCURRENCY": "1"}, command, tmp_path / "log") as service:
        service.start()
        service.wait_until_up()
        url = f"http://127.0.0.1:{service.port}"
        assert httpx.get(url).json() == {"address": "127.0.0.1", "why_not_local": ""}
        claimed = httpx.get(url, headers={"X-Forwarded-For": "203.0.113.9"}).json()
        assert claimed["address"] == "127.0.0.1"
        assert "proxy" in claimed["why_not_local"]
