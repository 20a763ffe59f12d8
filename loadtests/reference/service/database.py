"""Tables, engine, sessions."""

import enum
import uuid
from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Enum, ForeignKey, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import UUID as PgUuid
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .settings import Settings

# Any number; it keeps two processes from creating the tables at the same time.
_MIGRATION_LOCK = 902_031


class Base(DeclarativeBase):
    """The tables' common ancestor."""


class Status(enum.StrEnum):
    """States of a generation."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Status.SUCCEEDED, Status.FAILED)


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(PgUuid(as_uuid=True), primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Document(Base):
    """An uploaded PDF."""

    __tablename__ = "documents"

    id: Mapped[uuid.UUID] = mapped_column(PgUuid(as_uuid=True), primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    file_name: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    storage_key: Mapped[str] = mapped_column(Text)
    page_count: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Generation(Base):
    """A proposal, wanted or written."""

    __tablename__ = "generations"

    id: Mapped[uuid.UUID] = mapped_column(PgUuid(as_uuid=True), primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(Text)
    instructions: Mapped[str] = mapped_column(Text)
    document_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(PgUuid(as_uuid=True)))
    status: Mapped[Status] = mapped_column(
        Enum(Status, native_enum=False, values_callable=lambda states: [state.value for state in states]),
        default=Status.QUEUED,
    )
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)
    sections: Mapped[list | None] = mapped_column(JSONB)
    page_count: Mapped[int | None]
    pdf_key: Mapped[str | None] = mapped_column(Text)
    input_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    output_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


def make_engine(settings: Settings) -> AsyncEngine:
    """The engine of one worker process; its pool is that process's alone."""
    return create_async_engine(
        settings.database_url,
        pool_size=settings.database_pool_max,
        max_overflow=settings.database_pool_overflow,
        pool_timeout=settings.database_acquire_timeout_ms / 1000,
        pool_pre_ping=True,
    )


def make_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """A maker of sessions whose objects stay readable after a commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def migrate(database_url: str) -> None:
    """Creates the tables that are missing. Any number of processes may do it at once."""
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
