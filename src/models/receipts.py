"""Models of the table `receipts`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Integer, JsonObject, ReadModel, Text, Timestamp, Uuid, WriteModel
from src.core.values import new_uuid


class Receipt(ReadModel):
    """Which of a device's numbered events have arrived."""

    receipt_id: Uuid = Field(examples=["01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"])
    device_id: Text = Field(max_length=255, description="The device that counts.", examples=["pixel-1"])
    user_id: Text | None = Field(max_length=255, description="Who delivered them, if a person.", examples=["ada"])
    contiguous_through: Integer = Field(
        description="All events with numbers up to this one are stored.", examples=[1016]
    )
    received_through: Integer = Field(description="The largest number that was seen.", examples=[1041])
    missing: JsonObject = Field(
        description="The ranges of numbers up to the largest that are missing: the first and the last number of each.",
        examples=[{"ranges": [[1017, 1019]]}],
    )
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")


class ReceiptCreate(WriteModel):
    """What a client sends to create a row of `receipts`."""

    receipt_id: Uuid = Field(
        default_factory=new_uuid,
        description="Made by the server when left out.",
        examples=["01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"],
    )
    device_id: Text = Field(max_length=255, description="The device that counts.", examples=["pixel-1"])
    user_id: Text | None = Field(
        default=None, max_length=255, description="Who delivered them, if a person.", examples=["ada"]
    )
    contiguous_through: Integer = Field(
        description="All events with numbers up to this one are stored.", examples=[1016]
    )
    received_through: Integer = Field(description="The largest number that was seen.", examples=[1041])
    missing: JsonObject = Field(
        description="The ranges of numbers up to the largest that are missing: the first and the last number of each.",
        examples=[{"ranges": [[1017, 1019]]}],
    )


class ReceiptUpdate(WriteModel):
    """What a client sends to replace a row of `receipts`: what it leaves out becomes null or its default."""

    receipt_id: Uuid | None = Field(default=None, description="If sent, the key in the address.")
    device_id: Text = Field(max_length=255, description="The device that counts.", examples=["pixel-1"])
    user_id: Text | None = Field(
        default=None, max_length=255, description="Who delivered them, if a person.", examples=["ada"]
    )
    contiguous_through: Integer = Field(
        description="All events with numbers up to this one are stored.", examples=[1016]
    )
    received_through: Integer = Field(description="The largest number that was seen.", examples=[1041])
    missing: JsonObject = Field(
        description="The ranges of numbers up to the largest that are missing: the first and the last number of each.",
        examples=[{"ranges": [[1017, 1019]]}],
    )


TABLE = TableModels(
    table="receipts",
    key="receipt_id",
    read=Receipt,
    create=ReceiptCreate,
    update=ReceiptUpdate,
    server_columns=("created_at", "updated_at"),
)
