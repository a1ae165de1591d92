"""Where SDKs of Segment and RudderStack deliver (docs/segment.md)."""

from typing import Any

from fastapi import APIRouter

from src.api.direct import DirectRoute, Handler, documented
from src.api.documentation import SegmentAnswer, SegmentBatch, SegmentMessage, problems, success
from src.api.entrance.access import FOR_SEGMENT
from src.api.parameters.documented import body_parameter
from src.api.segment.handlers import SegmentHandlers
from src.api.segment.messages import TYPES, Columns

segment_router = APIRouter(prefix="/v1", tags=["segment"], route_class=DirectRoute)

_handlers = SegmentHandlers(
    "event_log",
    Columns(
        message_id="event_id",
        user_id="user_id",
        name="event_type",
        source="event_source",
        timestamp="ts",
        sent_at="sent_at",
        document="event_data",
    ),
)


def _add(path: str, operation: str, handler: Handler, body: Any, summary: str) -> None:
    segment_router.add_api_route(
        path,
        documented(handler, operation, body_parameter(body), handler.__doc__ or "", FOR_SEGMENT),
        methods=["POST"],
        operation_id=operation,
        summary=summary,
        response_model=SegmentAnswer,
        response_model_exclude_none=True,
        responses=success(200, "What can be stored is stored.") | problems(413, 415),
    )


_add("/batch", "store_messages", _handlers.store_batch, SegmentBatch, "Store messages of Segment's SDKs")
for _type in TYPES:
    _add(f"/{_type}", f"store_{_type}", _handlers.store_one(_type), SegmentMessage, f"Store a message of {_type}")
