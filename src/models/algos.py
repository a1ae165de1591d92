"""Models of the table `algos`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Key, ReadModel, Text, Timestamp, WriteModel


class Algo(ReadModel):
    """An algorithm that reads recordings of one type."""

    algo_id: Key = Field(max_length=255, description="Chosen by the researcher.", examples=["steps-3"])
    recording_type: Text = Field(max_length=255, description="The recordings that it reads.", examples=["gait"])
    location: Text = Field(max_length=2048, description="Where its code lies.", examples=["https://git.example/steps"])
    version: Text = Field(max_length=255, examples=["3.1.0"])
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")


class AlgoCreate(WriteModel):
    """What a client sends to create a row of `algos`."""

    algo_id: Key = Field(max_length=255, description="Chosen by the researcher.", examples=["steps-3"])
    recording_type: Text = Field(max_length=255, description="The recordings that it reads.", examples=["gait"])
    location: Text = Field(max_length=2048, description="Where its code lies.", examples=["https://git.example/steps"])
    version: Text = Field(max_length=255, examples=["3.1.0"])


class AlgoUpdate(WriteModel):
    """What a client sends to replace a row of `algos`: what it leaves out becomes null or its default."""

    algo_id: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    recording_type: Text = Field(max_length=255, description="The recordings that it reads.", examples=["gait"])
    location: Text = Field(max_length=2048, description="Where its code lies.", examples=["https://git.example/steps"])
    version: Text = Field(max_length=255, examples=["3.1.0"])


TABLE = TableModels(
    table="algos",
    key="algo_id",
    read=Algo,
    create=AlgoCreate,
    update=AlgoUpdate,
    server_columns=("created_at", "updated_at"),
)
