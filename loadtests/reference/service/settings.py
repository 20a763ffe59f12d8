"""Every setting, with its default. The names are the backend's where both have the setting.

All durations are whole milliseconds, so that a run in compressed time only divides them.
"""

import os
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from pydantic import AliasChoices, Field, PositiveInt, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class WorkerClass(StrEnum):
    """Which of Gunicorn's worker classes."""

    UVICORN = "uvicorn"  # an event loop for each process, which takes requests while others wait
    SYNC = "sync"  # one request at a time: a process does not accept while it holds one


class Mode(StrEnum):
    """How a generation runs."""

    BACKGROUND = "background"  # 202 at once, a background task in the worker process, the client polls
    SYNC = "sync"  # the request stays open until the proposal is written


class Rendering(StrEnum):
    """Where a PDF is rendered."""

    INLINE = "inline"  # in the event loop: every other request of the worker waits
    POOL = "pool"  # in a process beside each worker, which alone loads the libraries


class Transactions(StrEnum):
    """How long a generation holds a connection to Postgres."""

    HELD = "held"  # one session, and its connection, for the whole generation
    SHORT = "short"  # a session for each read and write


class Settings(BaseSettings):
    """The configuration of one process."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    listen_addr: str = "0.0.0.0:8000"
    # Gunicorn workers: a number, or `auto` for one per CPU that this process may use.
    workers: PositiveInt | Literal["auto"] = Field(6, alias="GENERATION_WORKERS")
    vcpu: float | None = Field(None, alias="TASK_VCPU", gt=0)
    worker_timeout_ms: PositiveInt = Field(900_000, alias="GUNICORN_TIMEOUT_MS")
    graceful_timeout_ms: PositiveInt = Field(900_000, alias="GUNICORN_GRACEFUL_TIMEOUT_MS")
    max_requests: int = Field(0, alias="GUNICORN_MAX_REQUESTS", ge=0)
    max_requests_jitter: int = Field(0, alias="GUNICORN_MAX_REQUESTS_JITTER", ge=0)

    worker_class: WorkerClass = Field(WorkerClass.UVICORN, alias="REFERENCE_WORKER_CLASS")
    # Follows from the worker class when nothing is said.
    mode: Mode = Field(None, alias="REFERENCE_MODE", validate_default=True)
    rendering: Rendering = Field(Rendering.INLINE, alias="REFERENCE_RENDERING")
    transactions: Transactions = Field(Transactions.HELD, alias="REFERENCE_TRANSACTIONS")

    database_url: str
    database_pool_max: PositiveInt = 10
    # SQLAlchemy's word for what a pool may open beyond its size and closes again.
    database_pool_overflow: int = Field(20, ge=0)
    database_acquire_timeout_ms: PositiveInt = 30_000
    redis_url: str
    session_ttl_ms: PositiveInt = 86_400_000

    s3_bucket: str
    s3_endpoint_url: str | None = Field(None, alias="AWS_ENDPOINT_URL")
    s3_force_path_style: bool = False
    aws_region: str = Field("us-east-1", validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    presign_ttl_ms: PositiveInt = 300_000
    document_size_max_bytes: PositiveInt = 10_485_760

    openai_api_key: str
    openai_base_url: str = "https://api.openai.com/v1"
    openai_model: str = "gpt-5"
    openai_step_timeout_ms: PositiveInt = 900_000
    generation_sections: PositiveInt = 4

    poll_retry_after_ms: PositiveInt = 5_000
    argon2_memory_kib: PositiveInt = 19_456
    argon2_iterations: PositiveInt = 2

    @field_validator("database_url")
    @classmethod
    def _asyncpg(cls, url: str) -> str:
        _, separator, rest = url.partition("://")
        if not separator:
            raise ValueError("must be a URL such as postgres://user:password@host:5432/name")
        return f"postgresql+asyncpg://{rest}"

    @field_validator("mode", mode="before")
    @classmethod
    def _held(cls, mode: str | None, known: ValidationInfo) -> str:
        is_sync = known.data.get("worker_class") is WorkerClass.SYNC
        if mode is None:
            return Mode.SYNC if is_sync else Mode.BACKGROUND
        if is_sync and mode != Mode.SYNC:
            raise ValueError(
                "must be sync, or left out, where REFERENCE_WORKER_CLASS is sync: such a worker holds each request until "
                "its proposal is written"
            )
        return mode

    @property
    def worker_count(self) -> int:
        """Gunicorn workers."""
        if self.workers != "auto":
            return self.workers
        cpus = self.vcpu if self.vcpu is not None else len(os.sched_getaffinity(0))
        return max(1, round(cpus))


@lru_cache
def settings() -> Settings:
    """The settings of this process, read from the environment once."""
    return Settings()
