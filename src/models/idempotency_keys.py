"""Models of the table `idempotency_keys`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Integer, JsonObject, Key, ReadModel, Text, Timestamp, WriteModel


class IdempotencyKey(ReadModel):
    """A request that is not to be carried out twice, and its answer."""

    key_hash: Key = Field(max_length=64, description="SHA-256 of who asked and of their key, in hexadecimal digits.")
    fingerprint: Text = Field(max_length=64, description="SHA-256 of what was asked, in hexadecimal digits.")
    status: Integer | None = Field(description="The status of the answer.")
    headers: JsonObject | None = Field(description="The headers of the answer.")
    answer: Text | None = Field(description="The body of the answer.")
    created_at: Timestamp = Field(description="When the server stored the row.")


class IdempotencyKeyCreate(WriteModel):
    """What a client sends to create a row of `idempotency_keys`."""

    key_hash: Key = Field(max_length=64, description="SHA-256 of who asked and of their key, in hexadecimal digits.")
    fingerprint: Text = Field(max_length=64, description="SHA-256 of what was asked, in hexadecimal digits.")
    status: Integer | None = Field(default=None, description="The status of the answer.")
    headers: JsonObject | None = Field(default=None, description="The headers of the answer.")
    answer: Text | None = Field(default=None, description="The body of the answer.")


class IdempotencyKeyUpdate(WriteModel):
    """What a client sends to replace a row of `idempotency_keys`: what it leaves out becomes null or its default."""

    key_hash: Key | None = Field(default=None, max_length=64, description="If sent, the key in the address.")
    fingerprint: Text = Field(max_length=64, description="SHA-256 of what was asked, in hexadecimal digits.")
    status: Integer | None = Field(default=None, description="The status of the answer.")
    headers: JsonObject | None = Field(default=None, description="The headers of the answer.")
    answer: Text | None = Field(default=None, description="The body of the answer.")


TABLE = TableModels(
    table="idempotency_keys",
    key="key_hash",
    read=IdempotencyKey,
    create=IdempotencyKeyCreate,
    update=IdempotencyKeyUpdate,
    server_columns=("created_at",),
)
