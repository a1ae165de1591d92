"""The OpenAPI document, and documentation that works without internet."""

import re
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from src.main import app

DOCUMENT = app.openapi()
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]
ROWS = [entry for entry in OPERATIONS if not entry[1].startswith("/health")]
ALWAYS = {"400", "401", "403", "429", "500", "503"}
STATUSES = {
    ("get", False): {"200", "400", "500", "503"},
    ("post", False): {"200", "201", "400", "409", "410", "413", "415", "500", "503"},
    ("query", False): {"200", "400", "413", "415", "500", "503"},
    ("deliver", False): {"200", "400", "413", "415", "500", "503"},
    ("batch", False): {"200", "400", "404", "409", "410", "412", "413", "415", "500", "503"},
    ("messages", False): {"200", "400", "413", "415", "500", "503"},
    ("patch", False): {"200", "204", "400", "409", "410", "413", "415", "500", "503"},
    ("delete", False): {"200", "204", "400", "409", "500", "503"},
    ("archive", True): {"200", "404"},
    ("get", True): {"200", "304", "400", "404", "412", "500", "503"},
    ("put", True): {"200", "201", "204", "400", "404", "409", "410", "412", "413", "415", "500", "503"},
    ("patch", True): {"200", "204", "400", "404", "409", "410", "412", "413", "415", "500", "503"},
    ("delete", True): {"200", "204", "400", "404", "409", "412", "500", "503"},
}


def names(entries: list[tuple[str, str, Any]]) -> list[str]:
    return [f"{method} {path}" for method, path, _ in entries]


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=names(OPERATIONS))
def test_operation_is_described(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert "422" not in operation["responses"]
    for status, answer in operation["responses"].items():
        assert answer["description"]
        assert "X-Request-ID" in answer["headers"]
        if int(status) >= 400:
            assert list(answer["content"]) == ["application/problem+json"]
    assert "Retry-After" in operation["responses"]["503"]["headers"]


@pytest.mark.parametrize(("method", "path", "operation"), ROWS, ids=names(ROWS))
def test_operation_on_rows_names_its_statuses(method: str, path: str, operation: dict[str, Any]) -> None:
    # A long query is a POST that asks.
    kind = {"query": "query", "batch": "batch", "archive": "archive", "receipt": "archive"}.get(
        path.rpartition("/")[2], method
    )
    kind = "deliver" if path.endswith("/-/batch") else kind
    kind = "messages" if path.startswith("/v1/") else kind
    assert set(operation["responses"]) == STATUSES[kind, "{" in path] | ALWAYS


@pytest.mark.parametrize("path", ["/events", "/events/-/query", "/events/-/aggregate"])
def test_every_format_is_an_answer_of_a_list(path: str) -> None:
    operation = DOCUMENT["paths"][path]["post" if path.endswith("query") else "get"]
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        "application/x-ndjson",
        "text/csv",
        "application/vnd.apache.parquet",
        "application/vnd.apache.arrow.stream",
    }
    assert next(iter(operation["responses"]["200"]["content"])) == "application/json"


def test_functions_of_generated_clients_have_names_of_people() -> None:
    ids = {operation["operationId"] for _, path, operation in OPERATIONS if path.startswith("/events")}
    assert ids == {
        *("list_events", "query_events", "aggregate_events"),
        *("create_event", "read_event", "replace_event", "change_event", "delete_event"),
        *("change_events", "delete_events", "deliver_events", "watch_events"),
    }


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("fields", ["ts,event_data.step.count", 'event_data."a.b"', "event_data"], ["tss", "ts,", "user_id.x", ""]),
        ("sort", ["-ts,user_id.nullsfirst"], ["ts,,user_id", "event_data", "-"]),
        ("group", ["event_type,ts.day", "event_data.screen"], ["ts.dya", "event_data"]),
        ("select", ["count,avg(event_data.dur),max(ts)"], ["avg(event_type)", "count()"]),
    ],
)
def test_patterns_say_what_is_taken(idle_client: httpx.Client, parameter: str, good: list[str], bad: list[str]) -> None:
    path = "/events/-/aggregate" if parameter in ("group", "select") else "/events"
    parameters = {each["name"]: each for each in DOCUMENT["paths"][path]["get"]["parameters"]}
    pattern = parameters[parameter]["schema"]["pattern"]
    for text, is_good in [*((text, True) for text in good), *((text, False) for text in bad)]:
        assert bool(re.search(pattern, text)) == is_good, text
        assert idle_client.get(path, params={parameter: text}).status_code == (200 if is_good else 400), text


def test_nothing_speaks_of_422() -> None:
    assert "422" not in str(DOCUMENT)
    assert "HTTPValidationError" not in str(DOCUMENT)


def test_every_operation_has_an_id_of_its_own() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert {route.path for route in iter_route_contexts(app.routes) if "{" in (route.path or "")} <= set(
        DOCUMENT["paths"]
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/events", {"user_id", "session_id", "event_type", "event_source", "ts_gte", "ts_lte"}),
        ("/sessions", {"user_id"}),
        ("/recordings", {"user_id", "recording_type"}),
        ("/algos", {"recording_type", "version"}),
        ("/users", {"page", "size", "sort", "cursor"}),
    ],
)
def test_filters_of_the_contract_are_parameters(path: str, expected: set[str]) -> None:
    parameters = {parameter["name"]: parameter for parameter in DOCUMENT["paths"][path]["get"]["parameters"]}
    assert expected | {"page", "size", "sort", "cursor"} <= parameters.keys()
    assert all(parameter["description"] for parameter in parameters.values())
    size = parameters["size"]["schema"]
    assert (size["default"], size["minimum"], size["maximum"]) == (10, 1, 100)


def test_models_have_examples_and_documents_their_members() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["UserCreate"]["properties"]["user_id"]["examples"] == ["ada"]
    assert set(schemas["FirebaseData"]["properties"]) == {"email", "display_name"}
    assert schemas["FirebaseData"]["additionalProperties"] is True
    assert schemas["EventCreate"]["additionalProperties"] is False
    assert set(schemas["EventCreate"]["required"]) == {"event_type", "ts"}
    assert "created_at" not in schemas["EventCreate"]["properties"]
    assert schemas["Event"]["properties"]["ts"]["format"] == "date-time"


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_documentation_needs_no_internet(idle_client: httpx.Client, page: str) -> None:
    html = idle_client.get(page)
    assert html.status_code == 200
    assets = re.findall(r"""(?:src|href)=["']([^"']+)["']""", html.text)
    assert assets
    for asset in assets:
        assert asset.startswith("/"), asset
        answer = idle_client.get(asset)
        assert answer.status_code == 200
        assert len(answer.content) > 100
    assert "/openapi.json" in html.text


def test_document_is_served(idle_client: httpx.Client) -> None:
    served = idle_client.get("/openapi.json").json()
    assert served == DOCUMENT
    assert served["openapi"].startswith("3.1")
