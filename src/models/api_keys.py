"""Models of the table `api_keys`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Key, ReadModel, Text, Timestamp, WriteModel


class ApiKey(ReadModel):
    """A key of a service that uses the API."""

    key_id: Key = Field(max_length=255, description="The part of the key that is shown.")
    name: Text = Field(max_length=255, description="Who uses it, in the operator's words.")
    key_hash: Text = Field(max_length=64, description="SHA-256 of the key, in hexadecimal digits.")
    scopes: Text = Field(max_length=2048, description="What it may do, with spaces between: `events:write`.")
    expires_at: Timestamp | None = Field(description="When it ends.")
    revoked_at: Timestamp | None = Field(description="When it was revoked.")
    last_used_at: Timestamp | None = Field(description="When it was last used, to the hour.")
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")


class ApiKeyCreate(WriteModel):
    """What a client sends to create a row of `api_keys`."""

    key_id: Key = Field(max_length=255, description="The part of the key that is shown.")
    name: Text = Field(max_length=255, description="Who uses it, in the operator's words.")
    key_hash: Text = Field(max_length=64, description="SHA-256 of the key, in hexadecimal digits.")
    scopes: Text = Field(max_length=2048, description="What it may do, with spaces between: `events:write`.")
    expires_at: Timestamp | None = Field(default=None, description="When it ends.")
    revoked_at: Timestamp | None = Field(default=None, description="When it was revoked.")
    last_used_at: Timestamp | None = Field(default=None, description="When it was last used, to the hour.")


class ApiKeyUpdate(WriteModel):
    """What a client sends to replace a row of `api_keys`: what it leaves out becomes null or its default."""

    key_id: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    name: Text = Field(max_length=255, description="Who uses it, in the operator's words.")
    key_hash: Text = Field(max_length=64, description="SHA-256 of the key, in hexadecimal digits.")
    scopes: Text = Field(max_length=2048, description="What it may do, with spaces between: `events:write`.")
    expires_at: Timestamp | None = Field(default=None, description="When it ends.")
    revoked_at: Timestamp | None = Field(default=None, description="When it was revoked.")
    last_used_at: Timestamp | None = Field(default=None, description="When it was last used, to the hour.")


TABLE = TableModels(
    table="api_keys",
    key="key_id",
    read=ApiKey,
    create=ApiKeyCreate,
    update=ApiKeyUpdate,
    server_columns=("created_at", "updated_at"),
)
