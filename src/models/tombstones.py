"""Models of the table `tombstones`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Key, ReadModel, Timestamp, WriteModel


class Tombstone(ReadModel):
    """Somebody who was erased, and whose rows are refused from then on."""

    tombstone: Key = Field(max_length=64, description="A keyed hash of who was erased, in hexadecimal digits.")
    created_at: Timestamp = Field(description="When the server stored the row.")


class TombstoneCreate(WriteModel):
    """What a client sends to create a row of `tombstones`."""

    tombstone: Key = Field(max_length=64, description="A keyed hash of who was erased, in hexadecimal digits.")


class TombstoneUpdate(WriteModel):
    """What a client sends to replace a row of `tombstones`: what it leaves out becomes null or its default."""

    tombstone: Key | None = Field(default=None, max_length=64, description="If sent, the key in the address.")


TABLE = TableModels(
    table="tombstones",
    key="tombstone",
    read=Tombstone,
    create=TombstoneCreate,
    update=TombstoneUpdate,
    server_columns=("created_at",),
)
