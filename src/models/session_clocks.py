"""Models of the table `session_clocks`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Integer, Key, ReadModel, Text, Timestamp, WriteModel


class SessionClock(ReadModel):
    """How wrong the clock of a device was during a session."""

    session_id: Key = Field(max_length=255, description="The session.", examples=["session-1"])
    user_id: Text | None = Field(max_length=255, description="Whose session it is.", examples=["ada"])
    clock_offset_ms: Integer = Field(
        description="The smallest time between sending and receiving, in ms, by the two clocks.", examples=[350]
    )
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")


class SessionClockCreate(WriteModel):
    """What a client sends to create a row of `session_clocks`."""

    session_id: Key = Field(max_length=255, description="The session.", examples=["session-1"])
    user_id: Text | None = Field(default=None, max_length=255, description="Whose session it is.", examples=["ada"])
    clock_offset_ms: Integer = Field(
        description="The smallest time between sending and receiving, in ms, by the two clocks.", examples=[350]
    )


class SessionClockUpdate(WriteModel):
    """What a client sends to replace a row of `session_clocks`: what it leaves out becomes null or its default."""

    session_id: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    user_id: Text | None = Field(default=None, max_length=255, description="Whose session it is.", examples=["ada"])
    clock_offset_ms: Integer = Field(
        description="The smallest time between sending and receiving, in ms, by the two clocks.", examples=[350]
    )


TABLE = TableModels(
    table="session_clocks",
    key="session_id",
    read=SessionClock,
    create=SessionClockCreate,
    update=SessionClockUpdate,
    server_columns=("created_at", "updated_at"),
)
