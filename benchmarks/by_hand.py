"""The application that one would write by hand: FastAPI, the async SQLAlchemy ORM, and Pydantic. PostgreSQL only."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, BigInteger, DateTime, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from src.core.config import load_settings

SETTINGS = load_settings()
engine = create_async_engine(
    SETTINGS.url.set(drivername="postgresql+asyncpg"), pool_size=SETTINGS.pool_size, max_overflow=0
)
make_session = async_sessionmaker(engine, expire_on_commit=False)
log = logging.getLogger("requests")


class Base(DeclarativeBase):
    """The tables."""


class EventRow(Base):
    """The event log."""

    __tablename__ = "event_log"

    event_id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[str | None] = mapped_column(String(255))
    session_id: Mapped[str | None] = mapped_column(String(255))
    event_type: Mapped[str] = mapped_column(String(255))
    event_data: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    event_source: Mapped[str | None] = mapped_column(String(255))
    log_level: Mapped[str | None] = mapped_column(String(255))
    ts: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    utc_offset_min: Mapped[int | None] = mapped_column(BigInteger)
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    device_id: Mapped[str | None] = mapped_column(String(255))
    seq: Mapped[int | None] = mapped_column(BigInteger)


class EventCreate(BaseModel):
    """What a client sends."""

    user_id: str | None = None
    session_id: str | None = None
    event_type: str
    event_data: dict[str, Any] | None = None
    event_source: str | None = None
    log_level: str | None = None
    ts: datetime
    utc_offset_min: int | None = None
    sent_at: datetime | None = None
    device_id: str | None = None
    seq: int | None = None


class Event(EventCreate):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)

    event_id: UUID
    created_at: datetime
    updated_at: datetime


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connections at the end."""
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


class LogRequests:
    """One line per request."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        await self.app(scope, receive, send)
        log.info("%s %s %.2f ms", scope["method"], scope["path"], (perf_counter() - began) * 1000)


app.add_middleware(LogRequests)


async def open_session() -> AsyncIterator[AsyncSession]:
    """One session per request."""
    async with make_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


@app.get("/events/{event_id}")
async def read_event(event_id: UUID, session: Session) -> Event:
    """Read an event."""
    row = await session.get(EventRow, event_id)
    if row is None:
        raise HTTPException(404)
    return Event.model_validate(row)


@app.get("/events")
async def list_events(  # noqa: PLR0913, PLR0917  one parameter of the URL each
    session: Session,
    user_id: str | None = None,
    ts_gte: datetime | None = None,
    page: Annotated[int, Query(ge=1)] = 1,
    size: Annotated[int, Query(ge=1, le=100)] = 10,
    sort: str = "-ts",
) -> list[Event]:
    """List events, newest first."""
    statement = select(EventRow).order_by(EventRow.ts.desc(), EventRow.event_id.desc())
    if user_id is not None:
        statement = statement.where(EventRow.user_id == user_id)
    if ts_gte is not None:
        statement = statement.where(EventRow.ts >= ts_gte)
    rows = await session.scalars(statement.limit(size).offset((page - 1) * size))
    return [Event.model_validate(row) for row in rows]


@app.post("/events", status_code=201)
async def create_event(event: EventCreate, session: Session) -> Event:
    """Create an event."""
    row = EventRow(**event.model_dump())
    session.add(row)
    await session.commit()
    return Event.model_validate(row)
