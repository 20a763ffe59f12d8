"""The application: routes, and the clients that live as long as the worker process."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from openai import AsyncOpenAI
from redis.asyncio import Redis
from sqlalchemy import text

from . import accounts, documents, generations, pdf, problems
from .database import make_engine, make_sessions
from .settings import Rendering, settings
from .state import State, state
from .storage import Storage

_CHECK_TIMEOUT_S = 2
# WeasyPrint keeps what it has allocated: a renderer is replaced now and then.
_RENDERER_TASKS_MAX = 200


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the clients, and closes them once the last request and background task has ended."""
    config = settings()
    engine = make_engine(config)
    redis = Redis.from_url(config.redis_url, decode_responses=True)
    openai = AsyncOpenAI(
        api_key=config.openai_api_key,
        base_url=config.openai_base_url,
        timeout=config.openai_step_timeout_ms / 1000,
    )
    renderers = None
    if config.rendering is Rendering.POOL:
        context = multiprocessing.get_context("spawn")
        renderers = ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=_RENDERER_TASKS_MAX)
        # Its libraries take a second to load: before the worker is ready, not in the first generation.
        await asyncio.get_running_loop().run_in_executor(renderers, pdf.warm_up)
    async with Storage(config) as storage, openai:
        app.state.shared = State(config, engine, make_sessions(engine), redis, storage, openai, renderers)
        yield
    if renderers is not None:
        renderers.shutdown(cancel_futures=True)
    await redis.aclose()
    await engine.dispose()


app = FastAPI(title="Proposal writer, reference", lifespan=lifespan, openapi_url=None)
problems.install(app)
app.include_router(accounts.router)
app.include_router(documents.router)
app.include_router(generations.router)


@app.get("/health")
async def health() -> dict:
    """The process runs; no dependency is asked."""
    return {"status": "ok"}


@app.get("/ready")
async def ready(state: Annotated[State, Depends(state)]) -> JSONResponse:
    """Whether requests should be sent here."""

    async def database() -> None:
        async with state.sessions() as session:
            await session.execute(text("SELECT 1"))

    async def answers(question) -> bool:
        try:
            await asyncio.wait_for(question, _CHECK_TIMEOUT_S)
        except Exception:
            return False
        return True

    names = ("database", "sessions", "storage")
    questions = (database(), state.redis.ping(), state.storage.ping())
    checks = dict(zip(names, await asyncio.gather(*map(answers, questions)), strict=True))
    is_ready = all(checks.values())
    body = {"status": "ready" if is_ready else "unavailable", **checks}
    return JSONResponse(body, 200 if is_ready else 503)
