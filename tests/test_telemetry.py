"""OpenTelemetry: what arrives at a collector, from a real service over real OTLP."""

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from scripts.service_process import ROOT, ServiceProcess
from tests.test_rolling_restart import wait_until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
# Stands before every module of the environment, and hides some of them.
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("opentelemetry.sdk", "opentelemetry.exporter"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
"""


class Collector:
    """Takes what exporters send, and keeps it."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        kept = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append((self.path, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource_metrics(self) -> list[Any]:
        requests = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        return [resource for request in requests for resource in request.resource_metrics]

    def processes(self) -> set[tuple[str, str]]:
        """The name of the service and of the process that sent metrics."""
        attributes = [named(each.resource.attributes) for each in self.resource_metrics()]
        return {(each["service.name"], each["service.instance.id"]) for each in attributes}

    def routes_of_metrics(self) -> set[str]:
        return {
            named(point.attributes).get("http.route", "")
            for resource in self.resource_metrics()
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "http.server.request.duration"
            for point in metric.histogram.data_points
        }


def is_answered(service: ServiceProcess) -> bool:
    """Ask over a new connection, which any worker may take."""
    return httpx.get(f"http://127.0.0.1:{service.port}/health/live").status_code == 200


def named(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def test_spans_and_metrics_have_the_route_and_never_the_address(migrated_url: str, collector: Collector) -> None:
    environment = collector.environment | {
        "DATABASE_URL": migrated_url,
        "OPENTELEMETRY": "1",
        "WEB_CONCURRENCY": "2",
        "CORS_ORIGINS": "https://study.example",
    }
    with ServiceProcess(environment) as service:
        service.start()
        service.wait_until_up()
        with httpx.Client(base_url=f"http://127.0.0.1:{service.port}") as client:
            row = {"user_id": "canary-person"}
            traced = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
            assert client.post("/users", json=row, headers=traced).status_code == 201
            assert client.get("/users/canary-person?fields=user_id").status_code == 200
            assert client.get("/users?user_id=canary-person").status_code == 200
            assert client.get("/canary-nowhere").status_code == 404
            assert client.get("/docs").status_code == 200
            preflight = {"Origin": "https://study.example", "Access-Control-Request-Method": "PUT"}
            assert client.options("/users/canary-person", headers=preflight).status_code == 200
        wait_until(lambda: {"/users", "/users/{user_id}", "/docs"} <= collector.routes_of_metrics())
        wait_until(lambda: is_answered(service) and len(collector.processes()) == 2)
        service.signal(signal.SIGTERM)
        assert service.exit_code(20) == 0
    spans = {span.name: named(span.attributes) for span in collector.spans()}
    assert {"POST /users", "GET /users/{user_id}", "GET /users", "GET", "GET /docs"} <= set(spans)
    assert spans["GET /users/{user_id}"]["http.route"] == "/users/{user_id}"
    assert spans["GET /users/{user_id}"]["http.response.status_code"] == 200
    assert spans["GET"]["http.response.status_code"] == 404
    assert next(span for span in collector.spans() if span.name == "POST /users").trace_id.hex() == TRACE_ID
    assert not [path for path, body in collector.bodies if b"canary" in body]
    assert {name for name, _ in collector.processes()} == {"backendapi"}


def test_service_without_the_packages_starts_and_says_so_once(
    tmp_path: Path, sqlite_template: Path, collector: Collector
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    log = tmp_path / "log"
    environment = collector.environment | {
        "DATABASE_URL": f"sqlite:///{sqlite_template}",
        "OPENTELEMETRY": "1",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    with ServiceProcess(environment, log=log) as service:
        service.start()
        service.wait_until_up()
        service.signal(signal.SIGTERM)
        assert service.exit_code(20) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    warnings = [line["message"] for line in lines if line["level"] not in ("info",)]
    assert warnings == [
        "OPENTELEMETRY=1 has no effect without more packages: pip install opentelemetry-sdk "
        "opentelemetry-exporter-otlp-proto-http"
    ]
    assert not collector.bodies


def test_service_that_does_not_know_where_to_send_says_so(tmp_path: Path, sqlite_template: Path) -> None:
    log = tmp_path / "log"
    environment = {"DATABASE_URL": f"sqlite:///{sqlite_template}", "OPENTELEMETRY": "1"}
    with ServiceProcess(environment, log=log) as service:
        service.start()
        service.wait_until_up()
    assert log.read_text().count("OTEL_EXPORTER_OTLP_ENDPOINT") == 1
