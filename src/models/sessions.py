"""Models of the table `sessions`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.tables import ForeignKey
from src.core.types import Document, Key, ReadModel, Text, Timestamp, WriteModel


class DeviceData(Document):
    """The device that the session runs on. Further members are kept as they come."""

    model: Text | None = Field(default=None, examples=["Pixel 9"])
    os: Text | None = Field(default=None, examples=["Android 16"])
    app_version: Text | None = Field(default=None, examples=["2.4.1"])


class Session(ReadModel):
    """A time during which the app was open on a device."""

    session_id: Key = Field(max_length=255, description="Chosen by the app.", examples=["session-1"])
    user_id: Text = Field(max_length=255, description="Whose session it is.", examples=["ada"])
    device_data: DeviceData | None = Field(description="The device that the session runs on.")
    started_at: Timestamp | None = Field(description="By the device's clock.", examples=["2026-01-31T09:30:00+00:00"])
    ended_at: Timestamp | None = Field(description="By the device's clock.", examples=["2026-01-31T10:05:00+00:00"])
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")


class SessionCreate(WriteModel):
    """What a client sends to create a row of `sessions`."""

    session_id: Key = Field(max_length=255, description="Chosen by the app.", examples=["session-1"])
    user_id: Text = Field(max_length=255, description="Whose session it is.", examples=["ada"])
    device_data: DeviceData | None = Field(default=None, description="The device that the session runs on.")
    started_at: Timestamp | None = Field(
        default=None, description="By the device's clock.", examples=["2026-01-31T09:30:00+00:00"]
    )
    ended_at: Timestamp | None = Field(
        default=None, description="By the device's clock.", examples=["2026-01-31T10:05:00+00:00"]
    )


class SessionUpdate(WriteModel):
    """What a client sends to replace a row of `sessions`: what it leaves out becomes null or its default."""

    session_id: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    user_id: Text = Field(max_length=255, description="Whose session it is.", examples=["ada"])
    device_data: DeviceData | None = Field(default=None, description="The device that the session runs on.")
    started_at: Timestamp | None = Field(
        default=None, description="By the device's clock.", examples=["2026-01-31T09:30:00+00:00"]
    )
    ended_at: Timestamp | None = Field(
        default=None, description="By the device's clock.", examples=["2026-01-31T10:05:00+00:00"]
    )


TABLE = TableModels(
    table="sessions",
    key="session_id",
    read=Session,
    create=SessionCreate,
    update=SessionUpdate,
    foreign_keys=(ForeignKey("user_id", "users", "user_id"),),
    server_columns=("created_at", "updated_at"),
)
