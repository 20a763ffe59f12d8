"""What the requests and generations of one worker process share."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from fastapi import Request
from openai import AsyncOpenAI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from .settings import Settings
from .storage import Storage


@dataclass(frozen=True)
class State:
    """The shared clients."""

    settings: Settings
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    redis: Redis
    storage: Storage
    openai: AsyncOpenAI
    # None renders in the event loop.
    renderers: ProcessPoolExecutor | None


async def state(request: Request) -> State:
    """The state of the process that answers this request."""
    return request.app.state.shared
