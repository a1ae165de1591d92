"""POST /batch: several requests in one transaction."""

from fastapi import APIRouter

from src.api.batch import BATCH_PATH, run_batch
from src.api.direct import DirectRoute, documented
from src.api.documentation import REPLAYED_HEADER, Batch, PartAnswer, problems, success
from src.api.entrance.access import SIGNED_IN
from src.api.idempotency import once
from src.api.parameters.documented import body_parameter, idempotency_parameter

batch_router = APIRouter(tags=["batch"], route_class=DirectRoute)
batch_router.add_api_route(
    BATCH_PATH,
    documented(
        # Who may do what is decided part by part.
        once(run_batch, lambda _: None),
        "run_batch",
        body_parameter(Batch) | idempotency_parameter(),
        run_batch.__doc__ or "",
        SIGNED_IN,
    ),
    methods=["POST"],
    operation_id="run_batch",
    summary="Carry out several requests in one transaction",
    response_model=list[PartAnswer],
    responses=success(200, "What each request answers, in their order.", REPLAYED_HEADER)
    | problems(404, 409, 410, 412, 413, 415),
)
