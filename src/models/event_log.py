"""Models of the table `event_log`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Integer, JsonObject, ReadModel, Text, Timestamp, Uuid, WriteModel
from src.core.values import new_uuid


class Event(ReadModel):
    """Something that happened on a device or a server."""

    event_id: Uuid = Field(examples=["01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"])
    user_id: Text | None = Field(max_length=255, description="Who caused it.", examples=["ada"])
    session_id: Text | None = Field(max_length=255, description="The session it happened in.", examples=["session-1"])
    event_type: Text = Field(max_length=255, description="What happened.", examples=["tap"])
    event_data: JsonObject | None = Field(
        description="Whatever belongs to an event of this type.", examples=[{"screen": "home", "dur": 0.25}]
    )
    event_source: Text | None = Field(
        max_length=255, description="The part of the system that speaks.", examples=["app"]
    )
    log_level: Text | None = Field(max_length=255, description="How serious it is.", examples=["info"])
    ts: Timestamp = Field(
        description="When it happened, by the device's clock.", examples=["2026-01-31T09:30:00.125+00:00"]
    )
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")
    utc_offset_min: Integer | None = Field(
        description="How far local time was ahead of UTC, in minutes; by the offset of `ts` if left out.", examples=[60]
    )
    sent_at: Timestamp | None = Field(
        description="When the device first sent it, by the device's clock.", examples=["2026-01-31T09:31:00+00:00"]
    )
    device_id: Text | None = Field(max_length=255, description="The device that counts it.", examples=["pixel-1"])
    seq: Integer | None = Field(
        description="The event's number on its device, from 1 and without gaps.", examples=[1041]
    )


class EventCreate(WriteModel):
    """What a client sends to create a row of `event_log`."""

    event_id: Uuid = Field(
        default_factory=new_uuid,
        description="Made by the server when left out.",
        examples=["01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"],
    )
    user_id: Text | None = Field(default=None, max_length=255, description="Who caused it.", examples=["ada"])
    session_id: Text | None = Field(
        default=None, max_length=255, description="The session it happened in.", examples=["session-1"]
    )
    event_type: Text = Field(max_length=255, description="What happened.", examples=["tap"])
    event_data: JsonObject | None = Field(
        default=None,
        description="Whatever belongs to an event of this type.",
        examples=[{"screen": "home", "dur": 0.25}],
    )
    event_source: Text | None = Field(
        default=None, max_length=255, description="The part of the system that speaks.", examples=["app"]
    )
    log_level: Text | None = Field(default=None, max_length=255, description="How serious it is.", examples=["info"])
    ts: Timestamp = Field(
        description="When it happened, by the device's clock.", examples=["2026-01-31T09:30:00.125+00:00"]
    )
    utc_offset_min: Integer | None = Field(
        default=None,
        description="How far local time was ahead of UTC, in minutes; by the offset of `ts` if left out.",
        examples=[60],
    )
    sent_at: Timestamp | None = Field(
        default=None,
        description="When the device first sent it, by the device's clock.",
        examples=["2026-01-31T09:31:00+00:00"],
    )
    device_id: Text | None = Field(
        default=None, max_length=255, description="The device that counts it.", examples=["pixel-1"]
    )
    seq: Integer | None = Field(
        default=None, description="The event's number on its device, from 1 and without gaps.", examples=[1041]
    )


class EventUpdate(WriteModel):
    """What a client sends to replace a row of `event_log`: what it leaves out becomes null or its default."""

    event_id: Uuid | None = Field(default=None, description="If sent, the key in the address.")
    user_id: Text | None = Field(default=None, max_length=255, description="Who caused it.", examples=["ada"])
    session_id: Text | None = Field(
        default=None, max_length=255, description="The session it happened in.", examples=["session-1"]
    )
    event_type: Text = Field(max_length=255, description="What happened.", examples=["tap"])
    event_data: JsonObject | None = Field(
        default=None,
        description="Whatever belongs to an event of this type.",
        examples=[{"screen": "home", "dur": 0.25}],
    )
    event_source: Text | None = Field(
        default=None, max_length=255, description="The part of the system that speaks.", examples=["app"]
    )
    log_level: Text | None = Field(default=None, max_length=255, description="How serious it is.", examples=["info"])
    ts: Timestamp = Field(
        description="When it happened, by the device's clock.", examples=["2026-01-31T09:30:00.125+00:00"]
    )
    utc_offset_min: Integer | None = Field(
        default=None,
        description="How far local time was ahead of UTC, in minutes; by the offset of `ts` if left out.",
        examples=[60],
    )
    sent_at: Timestamp | None = Field(
        default=None,
        description="When the device first sent it, by the device's clock.",
        examples=["2026-01-31T09:31:00+00:00"],
    )
    device_id: Text | None = Field(
        default=None, max_length=255, description="The device that counts it.", examples=["pixel-1"]
    )
    seq: Integer | None = Field(
        default=None, description="The event's number on its device, from 1 and without gaps.", examples=[1041]
    )


TABLE = TableModels(
    table="event_log",
    key="event_id",
    read=Event,
    create=EventCreate,
    update=EventUpdate,
    server_columns=("created_at", "updated_at"),
    sort="-ts",
)
