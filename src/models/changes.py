"""Models of the table `changes`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Integer, JsonObject, ReadModel, Text, Timestamp, Uuid, WriteModel
from src.core.values import new_uuid


class Change(ReadModel):
    """New rows of a table, which were committed together."""

    change_id: Uuid
    table_name: Text = Field(max_length=255, description="The table that has new rows.")
    position: Integer | None = Field(
        description="The number of the first of them among all new rows; none yet if null."
    )
    count: Integer = Field(description="How many they are.")
    row_keys: JsonObject = Field(description='Their keys, in order, as `{"keys": [...]}`.')
    created_at: Timestamp = Field(description="When the server stored the row.")


class ChangeCreate(WriteModel):
    """What a client sends to create a row of `changes`."""

    change_id: Uuid = Field(default_factory=new_uuid, description="Made by the server when left out.")
    table_name: Text = Field(max_length=255, description="The table that has new rows.")
    position: Integer | None = Field(
        default=None, description="The number of the first of them among all new rows; none yet if null."
    )
    count: Integer = Field(description="How many they are.")
    row_keys: JsonObject = Field(description='Their keys, in order, as `{"keys": [...]}`.')


class ChangeUpdate(WriteModel):
    """What a client sends to replace a row of `changes`: what it leaves out becomes null or its default."""

    change_id: Uuid | None = Field(default=None, description="If sent, the key in the address.")
    table_name: Text = Field(max_length=255, description="The table that has new rows.")
    position: Integer | None = Field(
        default=None, description="The number of the first of them among all new rows; none yet if null."
    )
    count: Integer = Field(description="How many they are.")
    row_keys: JsonObject = Field(description='Their keys, in order, as `{"keys": [...]}`.')


TABLE = TableModels(
    table="changes",
    key="change_id",
    read=Change,
    create=ChangeCreate,
    update=ChangeUpdate,
    server_columns=("created_at",),
)
