"""The application: the only place that wires things together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from src.api.dependencies import MODEL_MAP
from src.api.direct import index_of
from src.api.documentation import INTRODUCTION, describe
from src.api.entrance.security_headers import SecuredCORS
from src.api.envelope import Envelope
from src.api.errors import answer_http_exception, answer_invalid_request
from src.api.idempotency import KEPT_H
from src.api.metrics.metrics import Metrics
from src.api.readiness import Readiness
from src.api.routes import batch, crud_routes, devices, health, operation, segment
from src.api.telemetry import NamedSpans, telemetry_of
from src.api.watching.watch import Watches
from src.auth.tombstones import Tombstones
from src.core.config import Settings, load_settings
from src.core.logging import configure_logging
from src.core.version import VERSION
from src.db.connection import connect
from src.db.housekeeping import Housekeeping, Retention
from src.models import api_keys, changes, feeds, idempotency_keys, secrets, tombstones

# Tables of the service's own, to which no route leads.
PRIVATE_TABLES = (
    api_keys.TABLE,
    changes.TABLE,
    feeds.TABLE,
    idempotency_keys.TABLE,
    secrets.TABLE,
    tombstones.TABLE,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database, also while it is away, and close it when everything in flight is done."""
    settings: Settings = app.state.settings
    app.state.readiness = Readiness(settings.url, [models.info for models in (*MODEL_MAP.values(), *PRIVATE_TABLES)])
    app.state.database = connect(settings)
    key = settings.tombstone_key.get_secret_value()
    app.state.tombstones = Tombstones(tombstones.TABLE.info, secrets.TABLE.info, key)
    await app.state.database.open()
    await app.state.metrics.open(settings.metrics_dir, app.state.database)
    app.state.watches = Watches(app.state.database, settings, index_of(app).policies.watched)
    kept = (Retention(idempotency_keys.TABLE.info, "created_at", KEPT_H),)
    housekeeping = Housekeeping(app.state.database, kept, settings.housekeeping_s)
    housekeeping.start()
    yield
    await housekeeping.close()
    await app.state.watches.close()
    await app.state.door.close()
    await app.state.metrics.close()
    await app.state.database.close()


def create_app(settings: Settings) -> FastAPI:
    """Make the application for these settings. It starts nothing before its lifespan does."""
    lines = configure_logging(settings)
    metrics = Metrics()
    envelope = Middleware(
        Envelope, max_body_bytes=settings.max_body_bytes, counts=metrics.counts, requests=lines.requests
    )
    middleware = [envelope]
    if settings.allowed_origins:
        cors = Middleware(
            SecuredCORS,
            allow_origins=settings.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[
                *("Link", "Location", "X-Request-ID", "Retry-After"),
                *("X-Total-Count", "Preference-Applied", "Content-Disposition", "ETag"),
                "Idempotency-Replayed",
                *("RateLimit", "RateLimit-Policy"),
            ],
        )
        middleware.insert(0, cors)
    telemetry = telemetry_of(settings)
    if telemetry["tracing"]:
        middleware.insert(0, Middleware(NamedSpans))
    app = FastAPIOffline(
        title="Backend API",
        version=VERSION,
        description=INTRODUCTION,
        lifespan=lifespan,
        middleware=middleware,
        redirect_slashes=False,
        telemetry=telemetry,
        max_body_size=None,  # the envelope and `read_body` limit bodies, and answer with a problem document
    )
    app.state.settings = settings
    app.state.audit = lines.audit
    app.state.draining = False
    app.state.metrics = metrics
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(RequestValidationError, answer_invalid_request)
    app.include_router(crud_routes.events_router)
    app.include_router(crud_routes.users_router)
    app.include_router(crud_routes.sessions_router)
    app.include_router(crud_routes.recordings_router)
    app.include_router(crud_routes.algos_router)
    app.include_router(crud_routes.receipts_router)
    app.include_router(crud_routes.session_clocks_router)
    app.include_router(segment.segment_router)
    app.include_router(devices.devices_router)
    app.include_router(batch.batch_router)
    app.include_router(health.health_router)
    app.include_router(operation.operation_router)
    return app


app = create_app(load_settings())
