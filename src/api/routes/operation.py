"""What operators ask of the service itself: its figures, its version."""

import asyncio
import platform

import msgspec
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from src.api.direct import DirectRoute, documented
from src.api.documentation import problems, success
from src.api.entrance.access import FOR_METRICS, SIGNED_IN
from src.api.http import Answer, Request
from src.api.metrics.metrics import Metrics
from src.core.version import NAME, VERSION
from src.db.connection import Product

TEXT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Version(BaseModel):
    """What runs here."""

    name: str = Field(examples=[NAME])
    version: str = Field(examples=[VERSION])
    commit: str | None = Field(description="The commit that it was built from, where its build has said so.")
    python: str = Field(examples=["3.13.7"])
    database: str = Field(examples=["postgresql"])
    database_version: str | None = Field(
        description="Of SQLite in this process, or of the server that was last connected.", examples=["18.1"]
    )
    driver: str = Field(examples=["asyncpg 0.32.0"])


async def metrics(request: Request) -> Answer:
    """Tell the figures of all workers, for Prometheus: requests, the database's pool, processes.

    For services with the scope `metrics`, and for admins: figures tell strangers how much a study is used.
    """
    request.refuse_parameters()
    # A worker that is never asked need not import prometheus-client, which takes 80 ms.
    from src.api.metrics.exposition import expose  # noqa: PLC0415

    its: Metrics = request.scope["app"].state.metrics
    figures = await its.collect()
    product = request.database.product()
    about = {"version": VERSION, "python": platform.python_version(), "database": product.kind}
    return Answer(200, await asyncio.to_thread(expose, figures, about), media_type=TEXT_TYPE)


async def version(request: Request) -> Answer:
    """Tell which version of the service, of Python and of the database runs here.

    For everybody who has signed in: to strangers, a version would tell which known weaknesses to try.
    """
    request.refuse_parameters()
    product: Product = request.database.product()
    running = Version(
        name=NAME,
        version=VERSION,
        commit=request.settings.git_commit or None,
        python=platform.python_version(),
        database=product.kind,
        database_version=product.version,
        driver=product.driver,
    )
    return Answer(200, msgspec.json.encode(running.model_dump()))


operation_router = APIRouter(tags=["operation"], route_class=DirectRoute)
operation_router.add_api_route(
    "/metrics",
    documented(metrics, "metrics", {}, metrics.__doc__ or "", FOR_METRICS),
    methods=["GET"],
    response_class=PlainTextResponse,
    responses=success(200, "The figures, in the text format of Prometheus.") | problems(),
)
operation_router.add_api_route(
    "/version",
    documented(version, "version", {}, version.__doc__ or "", SIGNED_IN),
    methods=["GET"],
    response_model=Version,
    responses=success(200, "What runs here.") | problems(),
)
