"""OpenTelemetry by FastAPI's own support, for the routes that FastAPI does not see as well.

FastAPI opens a span around the whole application. Which route it belongs to it learns from its own routing, where
direct routes never arrive; and it notes the address of the request, which can hold personal data.
"""

import logging
import os
from importlib import import_module
from uuid import uuid4

from fastapi.telemetry import TelemetryConfig

# FastAPI has no public way to say so; `pyproject.toml` pins its minor version, and a test looks at the spans.
from fastapi.telemetry._api import _route_selected
from starlette.types import ASGIApp, Receive, Scope, Send

from src.core.config import Settings
from src.core.version import NAME

OFF: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
# Its log records have the texts of errors, which are ours to log.
ON: TelemetryConfig = {"tracing": True, "metrics": True, "logs": False, "auto_configure": True}
PACKAGES = {
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
HIDDEN = "REDACTED"

log = logging.getLogger("telemetry")


def telemetry_of(settings: Settings) -> TelemetryConfig:
    """What FastAPI is to do. Where the packages are missing, a warning says which, and the service does without."""
    # Even asking OpenTelemetry whether it is configured costs 7 % of reading a row.
    if not settings.opentelemetry:
        return OFF
    missing = [package for module, package in PACKAGES.items() if not _is_there(module)]
    if missing:
        log.warning("OPENTELEMETRY=1 has no effect without more packages: pip install %s", " ".join(missing))
        return OFF
    if not any(os.environ.get(name) for name in ENDPOINTS):
        log.warning("OPENTELEMETRY=1 sends nothing until OTEL_EXPORTER_OTLP_ENDPOINT says where to")
    _name_process()
    return ON


def _is_there(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def _name_process() -> None:
    """Give each worker a name of its own, or a collector would take the counters of all for one that jumps.

    The SDK reads them from the environment alone.
    """
    os.environ.setdefault("OTEL_SERVICE_NAME", NAME)
    attributes = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if "service.instance.id" not in attributes:
        own = f"service.instance.id={uuid4()}"
        os.environ["OTEL_RESOURCE_ATTRIBUTES"] = f"{attributes},{own}" if attributes else own


class NamedSpans:
    """Pure ASGI middleware, the outermost: names the route of a request's span and takes the address out of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        telemetry = scope.get("fastapi.telemetry")
        if telemetry is not None:
            resource, _ = scope["app"].state.route_index.find(scope)
            path = resource.template if resource else HIDDEN
            if resource:
                _route_selected(scope=scope, path=path)
            if telemetry.span is not None:
                telemetry.span.set_attribute("url.path", path)
                if scope["query_string"]:
                    telemetry.span.set_attribute("url.query", HIDDEN)
        await self._app(scope, receive, send)
