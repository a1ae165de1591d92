"""Models of the table `feeds`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Integer, Key, ReadModel, Timestamp, WriteModel


class Feed(ReadModel):
    """How far the changes of a table are numbered."""

    table_name: Key = Field(max_length=255, description="The table whose changes are numbered.")
    next_position: Integer = Field(description="The number that the next new row gets.")
    created_at: Timestamp = Field(description="When the server stored the row.")


class FeedCreate(WriteModel):
    """What a client sends to create a row of `feeds`."""

    table_name: Key = Field(max_length=255, description="The table whose changes are numbered.")
    next_position: Integer = Field(description="The number that the next new row gets.")


class FeedUpdate(WriteModel):
    """What a client sends to replace a row of `feeds`: what it leaves out becomes null or its default."""

    table_name: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    next_position: Integer = Field(description="The number that the next new row gets.")


TABLE = TableModels(
    table="feeds",
    key="table_name",
    read=Feed,
    create=FeedCreate,
    update=FeedUpdate,
    server_columns=("created_at",),
)
