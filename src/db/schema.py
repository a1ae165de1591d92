"""The tables that this project ships: a recording study. Alembic compares the database with this page.

Only portable types, under names that SQLite and PostgreSQL reflect alike. `info` and `doc` say what a
database cannot: they become the docstrings of the generated models, the shape of JSON documents, and
the order of a list without `sort`.
"""

from typing import Any

from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite would give a column declared UUID the affinity NUMERIC, which turns '007' into 7.
UUID_TYPE = Uuid().with_variant(CHAR(36), "sqlite")
TIMESTAMP = DateTime(timezone=True)
DOCUMENT = JSON()


def text(max_length: int) -> String:
    """Text of at most `max_length` characters, compared by code point on both databases."""
    collated = postgresql.VARCHAR(max_length, collation="C")
    return String(max_length).with_variant(collated, "postgresql")


# An index row of PostgreSQL ends near 2,700 bytes; 255 characters of UTF-8 are at most 1,020.
KEY_LENGTH = 255
LINK_LENGTH = 2048


def timestamps() -> tuple[Column[Any], Column[Any]]:
    """The two columns that the server sets on every row."""
    return (
        Column("created_at", TIMESTAMP, nullable=False, doc="When the server stored the row."),
        Column("updated_at", TIMESTAMP, nullable=False, doc="When the server last changed the row."),
    )


users = Table(
    "users",
    metadata,
    Column("user_id", text(KEY_LENGTH), primary_key=True, doc="The Firebase uid.", info={"example": "ada"}),
    Column(
        "firebase_data",
        DOCUMENT,
        doc="What Firebase knows about the person.",
        info={
            "document": "FirebaseData",
            "members": {"email": ("text", "ada@example.org"), "display_name": ("text", "Ada Lovelace")},
        },
    ),
    Column(
        "body_data",
        DOCUMENT,
        doc="The person's measures.",
        info={
            "document": "BodyData",
            "members": {"height": ("double", 168.5, "in cm"), "weight": ("double", 61, "in kg")},
        },
    ),
    Column(
        "role",
        text(KEY_LENGTH),
        doc="`researcher` or `admin`: what the person may do beyond their own rows.",
        info={"example": "researcher"},
    ),
    Column(
        "disabled",
        Boolean(),
        nullable=False,
        server_default="0",
        doc="Whether the person's tokens are refused.",
    ),
    Column(
        "tokens_valid_after",
        TIMESTAMP,
        doc="Tokens of sign-ins before this instant are refused.",
        info={"example": "2026-01-31T09:30:00+00:00"},
    ),
    *timestamps(),
    info={"row": "User", "doc": "A person who takes part in the study, linked to a Firebase account."},
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", text(KEY_LENGTH), primary_key=True, doc="Chosen by the app.", info={"example": "session-1"}),
    Column(
        "user_id",
        text(KEY_LENGTH),
        ForeignKey("users.user_id"),
        nullable=False,
        doc="Whose session it is.",
        info={"example": "ada"},
    ),
    Column(
        "device_data",
        DOCUMENT,
        doc="The device that the session runs on.",
        info={
            "document": "DeviceData",
            "members": {"model": ("text", "Pixel 9"), "os": ("text", "Android 16"), "app_version": ("text", "2.4.1")},
        },
    ),
    Column("started_at", TIMESTAMP, doc="By the device's clock.", info={"example": "2026-01-31T09:30:00+00:00"}),
    Column("ended_at", TIMESTAMP, doc="By the device's clock.", info={"example": "2026-01-31T10:05:00+00:00"}),
    *timestamps(),
    Index(None, "user_id", "session_id"),
    info={"row": "Session", "doc": "A time during which the app was open on a device."},
)

# A phone delivers in any order: a recording must not be refused because its session has not arrived yet,
# so `created_session_id` refers without a constraint.
recordings = Table(
    "recordings",
    metadata,
    Column("recording_id", text(KEY_LENGTH), primary_key=True, doc="Chosen by the app.", info={"example": "rec-1"}),
    Column(
        "recording_link",
        text(LINK_LENGTH),
        nullable=False,
        doc="Where the recorded data lies.",
        info={"example": "gs://study/ada/rec-1.wav"},
    ),
    Column("recording_type", text(KEY_LENGTH), nullable=False, doc="What was recorded.", info={"example": "gait"}),
    Column(
        "user_id",
        text(KEY_LENGTH),
        ForeignKey("users.user_id"),
        nullable=False,
        doc="Who was recorded.",
        info={"example": "ada"},
    ),
    Column(
        "created_session_id",
        text(KEY_LENGTH),
        doc="The session in which it was made; it may arrive later.",
        info={"example": "session-1"},
    ),
    *timestamps(),
    Index(None, "user_id", "recording_id"),
    Index(None, "recording_type", "recording_id"),
    info={"row": "Recording", "doc": "A recording that a device made of a person."},
)

algos = Table(
    "algos",
    metadata,
    Column("algo_id", text(KEY_LENGTH), primary_key=True, doc="Chosen by the researcher.", info={"example": "steps-3"}),
    Column(
        "recording_type",
        text(KEY_LENGTH),
        nullable=False,
        doc="The recordings that it reads.",
        info={"example": "gait"},
    ),
    Column(
        "location",
        text(LINK_LENGTH),
        nullable=False,
        doc="Where its code lies.",
        info={"example": "https://git.example/steps"},
    ),
    Column("version", text(KEY_LENGTH), nullable=False, info={"example": "3.1.0"}),
    *timestamps(),
    Index(None, "recording_type", "algo_id"),
    Index(None, "version", "algo_id"),
    info={"row": "Algo", "doc": "An algorithm that reads recordings of one type."},
)

# No foreign keys, for the reason given at recordings: an event is never refused for what has not arrived.
event_log = Table(
    "event_log",
    metadata,
    Column("event_id", UUID_TYPE, primary_key=True, info={"example": "01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"}),
    Column("user_id", text(KEY_LENGTH), doc="Who caused it.", info={"example": "ada"}),
    Column("session_id", text(KEY_LENGTH), doc="The session it happened in.", info={"example": "session-1"}),
    Column("event_type", text(KEY_LENGTH), nullable=False, doc="What happened.", info={"example": "tap"}),
    Column(
        "event_data",
        DOCUMENT,
        doc="Whatever belongs to an event of this type.",
        info={"example": {"screen": "home", "dur": 0.25}},
    ),
    Column("event_source", text(KEY_LENGTH), doc="The part of the system that speaks.", info={"example": "app"}),
    Column("log_level", text(KEY_LENGTH), doc="How serious it is.", info={"example": "info"}),
    Column(
        "ts",
        TIMESTAMP,
        nullable=False,
        doc="When it happened, by the device's clock.",
        info={"example": "2026-01-31T09:30:00.125+00:00"},
    ),
    Column(
        "utc_offset_min",
        BigInteger(),
        doc="How far local time was ahead of UTC, in minutes; by the offset of `ts` if left out.",
        info={"example": 60},
    ),
    Column(
        "sent_at",
        TIMESTAMP,
        doc="When the device first sent it, by the device's clock.",
        info={"example": "2026-01-31T09:31:00+00:00"},
    ),
    Column("device_id", text(KEY_LENGTH), doc="The device that counts it.", info={"example": "pixel-1"}),
    Column(
        "seq",
        BigInteger(),
        doc="The event's number on its device, from 1 and without gaps.",
        info={"example": 1041},
    ),
    *timestamps(),
    info={"row": "Event", "doc": "Something that happened on a device or a server.", "sort": "-ts"},
)
for _column in ("user_id", "session_id", "event_type", "event_source"):
    Index(None, event_log.c[_column], event_log.c.ts.desc(), event_log.c.event_id.desc())
Index(None, event_log.c.ts.desc(), event_log.c.event_id.desc())

# What the service finds out while events arrive. Read like any other table; written by deliveries alone.
session_clocks = Table(
    "session_clocks",
    metadata,
    Column("session_id", text(KEY_LENGTH), primary_key=True, doc="The session.", info={"example": "session-1"}),
    Column("user_id", text(KEY_LENGTH), doc="Whose session it is.", info={"example": "ada"}),
    Column(
        "clock_offset_ms",
        BigInteger(),
        nullable=False,
        doc="The smallest time between sending and receiving, in ms, by the two clocks.",
        info={"example": 350},
    ),
    *timestamps(),
    Index(None, "user_id", "session_id"),
    info={"row": "SessionClock", "doc": "How wrong the clock of a device was during a session."},
)

receipts = Table(
    "receipts",
    metadata,
    Column("receipt_id", UUID_TYPE, primary_key=True, info={"example": "01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"}),
    Column("device_id", text(KEY_LENGTH), nullable=False, doc="The device that counts.", info={"example": "pixel-1"}),
    Column("user_id", text(KEY_LENGTH), doc="Who delivered them, if a person.", info={"example": "ada"}),
    Column(
        "contiguous_through",
        BigInteger(),
        nullable=False,
        doc="All events with numbers up to this one are stored.",
        info={"example": 1016},
    ),
    Column(
        "received_through",
        BigInteger(),
        nullable=False,
        doc="The largest number that was seen.",
        info={"example": 1041},
    ),
    Column(
        "missing",
        DOCUMENT,
        nullable=False,
        doc="The ranges of numbers up to the largest that are missing: the first and the last number of each.",
        info={"example": {"ranges": [[1017, 1019]]}},
    ),
    *timestamps(),
    Index(None, "device_id", "receipt_id"),
    Index(None, "user_id", "receipt_id"),
    info={"row": "Receipt", "doc": "Which of a device's numbered events have arrived."},
)

# What follows is the service's own: no route leads to it.
PRIVATE = {"is_private": True}

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", text(KEY_LENGTH), primary_key=True, doc="The part of the key that is shown."),
    Column("name", text(KEY_LENGTH), nullable=False, doc="Who uses it, in the operator's words."),
    Column("key_hash", text(64), nullable=False, unique=True, doc="SHA-256 of the key, in hexadecimal digits."),
    Column("scopes", text(LINK_LENGTH), nullable=False, doc="What it may do, with spaces between: `events:write`."),
    Column("expires_at", TIMESTAMP, doc="When it ends."),
    Column("revoked_at", TIMESTAMP, doc="When it was revoked."),
    Column("last_used_at", TIMESTAMP, doc="When it was last used, to the hour."),
    *timestamps(),
    info={"row": "ApiKey", "doc": "A key of a service that uses the API."} | PRIVATE,
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("tombstone", text(64), primary_key=True, doc="A keyed hash of who was erased, in hexadecimal digits."),
    Column("created_at", TIMESTAMP, nullable=False, doc="When the server stored the row."),
    info={"row": "Tombstone", "doc": "Somebody who was erased, and whose rows are refused from then on."} | PRIVATE,
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", text(KEY_LENGTH), primary_key=True, doc="What it is for."),
    Column("value", text(KEY_LENGTH), nullable=False, doc="Random, in hexadecimal digits."),
    Column("created_at", TIMESTAMP, nullable=False, doc="When the server stored the row."),
    info={"row": "Secret", "doc": "A secret that the service made for itself, where no setting gives one."} | PRIVATE,
)

# Listeners are told of new rows in the order in which they were committed. That order is not known while they are
# written, so a change is stored without a position, and gets one when it is there for all to see.
changes = Table(
    "changes",
    metadata,
    Column("change_id", UUID_TYPE, primary_key=True),
    Column("table_name", text(KEY_LENGTH), nullable=False, doc="The table that has new rows."),
    Column("position", BigInteger(), doc="The number of the first of them among all new rows; none yet if null."),
    Column("count", BigInteger(), nullable=False, doc="How many they are."),
    Column("row_keys", DOCUMENT, nullable=False, doc='Their keys, in order, as `{"keys": [...]}`.'),
    Column("created_at", TIMESTAMP, nullable=False, doc="When the server stored the row."),
    Index(None, "table_name", "position", "change_id"),
    info={"row": "Change", "doc": "New rows of a table, which were committed together."} | PRIVATE,
)

feeds = Table(
    "feeds",
    metadata,
    Column("table_name", text(KEY_LENGTH), primary_key=True, doc="The table whose changes are numbered."),
    Column("next_position", BigInteger(), nullable=False, doc="The number that the next new row gets."),
    Column("created_at", TIMESTAMP, nullable=False, doc="When the server stored the row."),
    info={"row": "Feed", "doc": "How far the changes of a table are numbered."} | PRIVATE,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key_hash", text(64), primary_key=True, doc="SHA-256 of who asked and of their key, in hexadecimal digits."),
    Column("fingerprint", text(64), nullable=False, doc="SHA-256 of what was asked, in hexadecimal digits."),
    Column("status", BigInteger(), doc="The status of the answer."),
    Column("headers", DOCUMENT, doc="The headers of the answer."),
    Column("answer", Text(), doc="The body of the answer."),
    Column("created_at", TIMESTAMP, nullable=False, doc="When the server stored the row."),
    Index(None, "created_at"),
    info={"row": "IdempotencyKey", "doc": "A request that is not to be carried out twice, and its answer."} | PRIVATE,
)
