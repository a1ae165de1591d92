"""Models of the table `recordings`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.tables import ForeignKey
from src.core.types import Key, ReadModel, Text, Timestamp, WriteModel


class Recording(ReadModel):
    """A recording that a device made of a person."""

    recording_id: Key = Field(max_length=255, description="Chosen by the app.", examples=["rec-1"])
    recording_link: Text = Field(
        max_length=2048, description="Where the recorded data lies.", examples=["gs://study/ada/rec-1.wav"]
    )
    recording_type: Text = Field(max_length=255, description="What was recorded.", examples=["gait"])
    user_id: Text = Field(max_length=255, description="Who was recorded.", examples=["ada"])
    created_session_id: Text | None = Field(
        max_length=255, description="The session in which it was made; it may arrive later.", examples=["session-1"]
    )
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")


class RecordingCreate(WriteModel):
    """What a client sends to create a row of `recordings`."""

    recording_id: Key = Field(max_length=255, description="Chosen by the app.", examples=["rec-1"])
    recording_link: Text = Field(
        max_length=2048, description="Where the recorded data lies.", examples=["gs://study/ada/rec-1.wav"]
    )
    recording_type: Text = Field(max_length=255, description="What was recorded.", examples=["gait"])
    user_id: Text = Field(max_length=255, description="Who was recorded.", examples=["ada"])
    created_session_id: Text | None = Field(
        default=None,
        max_length=255,
        description="The session in which it was made; it may arrive later.",
        examples=["session-1"],
    )


class RecordingUpdate(WriteModel):
    """What a client sends to replace a row of `recordings`: what it leaves out becomes null or its default."""

    recording_id: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    recording_link: Text = Field(
        max_length=2048, description="Where the recorded data lies.", examples=["gs://study/ada/rec-1.wav"]
    )
    recording_type: Text = Field(max_length=255, description="What was recorded.", examples=["gait"])
    user_id: Text = Field(max_length=255, description="Who was recorded.", examples=["ada"])
    created_session_id: Text | None = Field(
        default=None,
        max_length=255,
        description="The session in which it was made; it may arrive later.",
        examples=["session-1"],
    )


TABLE = TableModels(
    table="recordings",
    key="recording_id",
    read=Recording,
    create=RecordingCreate,
    update=RecordingUpdate,
    foreign_keys=(ForeignKey("user_id", "users", "user_id"),),
    server_columns=("created_at", "updated_at"),
)
