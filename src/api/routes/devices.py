"""GET /devices/{device_id}/receipt: what has arrived from a device."""

from typing import Annotated

from fastapi import APIRouter, Path

from src.api.deliveries.handlers import ReceiptHandlers
from src.api.direct import DirectRoute, Documented, documented
from src.api.documentation import DeviceReceipt, problems, success
from src.api.entrance.access import SIGNED_IN

_read_receipt = ReceiptHandlers("event_log").read_receipt
_device = Annotated[str, Path(min_length=1, description="As its events call it.", examples=["pixel-1"])]

devices_router = APIRouter(prefix="/devices", tags=["devices"], route_class=DirectRoute)
devices_router.add_api_route(
    "/{device_id}/receipt",
    documented(
        _read_receipt, "read_receipt", {"device_id": Documented(_device)}, _read_receipt.__doc__ or "", SIGNED_IN
    ),
    methods=["GET"],
    operation_id="read_device_receipt",
    summary="Read what has arrived from a device",
    response_model=DeviceReceipt,
    responses=success(200, "What has arrived.") | problems(404),
)
