"""POST /batch: several requests in one transaction."""

from fastapi import APIRouter

from src.api.access import SIGNED_IN
from src.api.batch import BATCH_PATH, run_batch
from src.api.direct import DirectRoute, documented
from src.api.documentation import Batch, PartAnswer, problems, success
from src.api.parameters.documented import body_parameter

batch_router = APIRouter(tags=["batch"], route_class=DirectRoute)
batch_router.add_api_route(
    BATCH_PATH,
    documented(run_batch, "run_batch", body_parameter(Batch), run_batch.__doc__ or "", SIGNED_IN),
    methods=["POST"],
    operation_id="run_batch",
    summary="Carry out several requests in one transaction",
    response_model=list[PartAnswer],
    responses=success(200, "What each request answers, in their order.") | problems(404, 409, 410, 412, 413, 415),
)
