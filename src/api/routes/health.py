"""Whether the process is up, and whether it can serve."""

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from src.api.direct import DirectRoute, documented
from src.api.documentation import problems, success
from src.api.entrance.access import PUBLIC
from src.api.http import Answer, Request
from src.core.errors import ShuttingDown, Unavailable


class Health(BaseModel):
    """The service answers."""

    status: str = Field(examples=["ok"])


OK = Answer(200, msgspec.json.encode(Health(status="ok").model_dump()))


async def live(_: Request) -> Answer:
    """Tell whether the process is up. Touches no database."""
    return OK


async def ready(request: Request) -> Answer:
    """Tell whether it can serve: the database is there, migrations are at head, the models match the tables."""
    state = request.scope["app"].state
    if state.draining:
        raise ShuttingDown("the service is shutting down")
    obstacles = await state.readiness.find_obstacles()
    if obstacles:
        raise Unavailable("; ".join(obstacles[:10]))
    return OK


health_router = APIRouter(tags=["health"], route_class=DirectRoute)
for _path, _handler in (
    ("/health", live),
    ("/health/live", live),
    ("/health/ready", ready),
):
    health_router.add_api_route(
        _path,
        documented(_handler, _path.strip("/").replace("/", "_"), {}, _handler.__doc__ or "", PUBLIC),
        methods=["GET"],
        response_model=Health,
        responses=success(200, "It is.") | problems(503),
    )
