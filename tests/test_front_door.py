"""The service as a process of its own: whom it answers when nothing is configured, and how long it waits for them."""

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.service_process import ServiceProcess, free_port
from src.core.config import Settings
from tests.key_server import PROJECT, unsigned


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    (tmp_path / "door.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'door.db'}"


def plain_uvicorn(url: str, log: Path, **environment: str) -> ServiceProcess:
    """`uvicorn src.main:app`, as somebody types it who knows nothing of `main.py`."""
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "src.main:app", "--port", str(port))
    service = ServiceProcess({"DATABASE_URL": url} | environment, command, log)
    service.port = port
    service.start()
    service.wait_until_up()
    return service


NOT_LOCAL = [
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"},
    {"Forwarded": "for=192.0.2.1"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "192.0.2.1"},
    {"Host": "study.example"},
    {"Host": "127.0.0.1.nip.io"},
]


def test_plain_uvicorn_answers_its_own_machine_alone(sqlite_url: str, tmp_path: Path) -> None:
    with plain_uvicorn(sqlite_url, tmp_path / "log") as service, local(service) as client:
        assert client.post("/users", json={"user_id": "ada"}).status_code == 201
        for headers in NOT_LOCAL:
            for method, path in (("GET", "/users"), ("DELETE", "/users/ada"), ("POST", "/batch")):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 503, headers
                assert "ALLOW_UNAUTHENTICATED=1" in answer.json()["detail"]
                assert b'"ada"' not in answer.content
            # A load balancer may still ask whether it is up.
            assert client.get("/health", headers=headers).status_code == 200
        assert client.get("/users/ada").status_code == 200
    denied = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if '"denied"' in line]
    assert len(denied) == 3 * len(NOT_LOCAL)


def local(service: ServiceProcess) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=30)


def test_plain_uvicorn_takes_tokens_of_the_emulator_from_its_own_machine_alone(sqlite_url: str, tmp_path: Path) -> None:
    emulator = {"FIREBASE_PROJECT_ID": PROJECT, "FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"}
    token = {"Authorization": f"Bearer {unsigned('ada')}"}
    with plain_uvicorn(sqlite_url, tmp_path / "log", **emulator) as service, local(service) as client:
        assert client.get("/users", headers=token).status_code == 200
        assert client.get("/users").status_code == 401
        for headers in NOT_LOCAL:
            assert client.get("/users", headers=token | headers).status_code == 401, headers


@pytest.fixture(scope="module")
def hasty(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """`python main.py` that gives a request one second: 0.4 for its head, 0.6 for its body."""
    path = tmp_path_factory.mktemp("hasty") / "hasty.db"
    path.write_bytes(sqlite_template.read_bytes())
    environment = {"DATABASE_URL": f"sqlite:///{path}", "RECEIVE_TIMEOUT_S": "1"}
    with ServiceProcess(environment, log=path.with_suffix(".log")) as service:
        service.start()
        service.wait_until_up()
        yield service


def send_slowly(port: int, begin: bytes, drip: bytes) -> bytes:
    """Send the begin of a request, and then a byte from time to time, until the service ends the connection."""
    received, deadline = b"", time.monotonic() + 20
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(begin)
        connection.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                if not (piece := connection.recv(65536)):
                    return received
                received += piece
            except TimeoutError:
                connection.sendall(drip)
            except ConnectionResetError:
                return received
    raise AssertionError(f"the connection is still open; it answered {received[:200]!r}")


@pytest.mark.parametrize("line", ["POST /events", "PATCH /users/ada", "QUERY /users", "POST /batch"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_body_that_trickles_in_is_answered_408_and_the_connection_closed(
    hasty: ServiceProcess, line: str, framing: str
) -> None:
    head = f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    drip = b"1\r\n \r\n" if "chunked" in framing else b" "
    answer = send_slowly(hasty.port, head.encode(), drip)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer.lower()


def test_head_that_trickles_in_is_closed(hasty: ServiceProcess) -> None:
    assert send_slowly(hasty.port, b"GET /users HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"a") in (b"", b"<")


def test_connection_that_says_nothing_is_closed(hasty: ServiceProcess) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port)) as connection:
        connection.settimeout(20)
        assert connection.recv(1) == b""


def test_defaults_are_closed() -> None:
    settings = Settings(_env_file=None)
    assert settings.is_loopback
    assert not settings.allow_unauthenticated
    assert not settings.is_authenticated
    assert not settings.takes_emulator_tokens
    assert not settings.allowed_origins
    assert not settings.trusted_networks


def test_docs_can_authorize_in_both_ways(idle_client: httpx.Client) -> None:
    document = idle_client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("scheme"), scheme.get("name")) for scheme in schemes.values()} == {
        ("http", "bearer", None),
        ("apiKey", None, "X-API-Key"),
    }
    open_to_all = {"/health", "/health/live", "/health/ready"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            offered = operation.get("security", document.get("security", []))
            named = {name for alternative in offered for name in alternative}
            assert named == (set() if path in open_to_all else set(schemes)), (method, path)
