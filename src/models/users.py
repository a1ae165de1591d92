"""Models of the table `users`. Written by `python -m scripts.generate_models`; change the schema instead."""

from pydantic import Field

from src.core.models import TableModels
from src.core.types import Boolean, Document, Double, Key, ReadModel, Text, Timestamp, WriteModel


class FirebaseData(Document):
    """What Firebase knows about the person. Further members are kept as they come."""

    email: Text | None = Field(default=None, examples=["ada@example.org"])
    display_name: Text | None = Field(default=None, examples=["Ada Lovelace"])


class BodyData(Document):
    """The person's measures. Further members are kept as they come."""

    height: Double | None = Field(default=None, description="in cm", examples=[168.5])
    weight: Double | None = Field(default=None, description="in kg", examples=[61])


class User(ReadModel):
    """A person who takes part in the study, linked to a Firebase account."""

    user_id: Key = Field(max_length=255, description="The Firebase uid.", examples=["ada"])
    firebase_data: FirebaseData | None = Field(description="What Firebase knows about the person.")
    body_data: BodyData | None = Field(description="The person's measures.")
    created_at: Timestamp = Field(description="When the server stored the row.")
    updated_at: Timestamp = Field(description="When the server last changed the row.")
    role: Text | None = Field(
        max_length=255,
        description="`researcher` or `admin`: what the person may do beyond their own rows.",
        examples=["researcher"],
    )
    disabled: Boolean = Field(description="Whether the person's tokens are refused.")
    tokens_valid_after: Timestamp | None = Field(
        description="Tokens of sign-ins before this instant are refused.", examples=["2026-01-31T09:30:00+00:00"]
    )


class UserCreate(WriteModel):
    """What a client sends to create a row of `users`."""

    user_id: Key = Field(max_length=255, description="The Firebase uid.", examples=["ada"])
    firebase_data: FirebaseData | None = Field(default=None, description="What Firebase knows about the person.")
    body_data: BodyData | None = Field(default=None, description="The person's measures.")
    role: Text | None = Field(
        default=None,
        max_length=255,
        description="`researcher` or `admin`: what the person may do beyond their own rows.",
        examples=["researcher"],
    )
    disabled: Boolean = Field(default=False, description="Whether the person's tokens are refused.")
    tokens_valid_after: Timestamp | None = Field(
        default=None,
        description="Tokens of sign-ins before this instant are refused.",
        examples=["2026-01-31T09:30:00+00:00"],
    )


class UserUpdate(WriteModel):
    """What a client sends to replace a row of `users`: what it leaves out becomes null or its default."""

    user_id: Key | None = Field(default=None, max_length=255, description="If sent, the key in the address.")
    firebase_data: FirebaseData | None = Field(default=None, description="What Firebase knows about the person.")
    body_data: BodyData | None = Field(default=None, description="The person's measures.")
    role: Text | None = Field(
        default=None,
        max_length=255,
        description="`researcher` or `admin`: what the person may do beyond their own rows.",
        examples=["researcher"],
    )
    disabled: Boolean = Field(default=False, description="Whether the person's tokens are refused.")
    tokens_valid_after: Timestamp | None = Field(
        default=None,
        description="Tokens of sign-ins before this instant are refused.",
        examples=["2026-01-31T09:30:00+00:00"],
    )


TABLE = TableModels(
    table="users",
    key="user_id",
    read=User,
    create=UserCreate,
    update=UserUpdate,
    server_columns=("created_at", "updated_at"),
)
