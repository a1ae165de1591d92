"""Models of the table `secrets`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Key, ReadModel, Text, Timestamp, WriteModel


class Secret(ReadModel):
    """A secret that the service made for itself, where no setting gives one."""

    name: Key = Field(max_length=255, description="What it is for.")
    value: Text = Field(max_length=255, description="Random, in hexadecimal digits.")
    created_at: Timestamp = Field(description="When the server stored the row.")


class SecretCreate(WriteModel):
    """What a client sends to create a row of `secrets`."""

    name: Key = Field(max_length=255, description="What it is for.")
    value: Text = Field(max_length=255, description="Random, in hexadecimal digits.")


class SecretUpdate(WriteModel):
    """What a client sends to replace a row of `secrets`: what it leaves out becomes null or its default."""

    name: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    value: Text = Field(max_length=255, description="Random, in hexadecimal digits.")


TABLE = TableModels(
    table="secrets",
    key="name",
    read=Secret,
    create=SecretCreate,
    update=SecretUpdate,
    server_columns=("created_at",),
)
