"""A generation: one coroutine in the worker process that accepted it.

Nothing but the coroutine knows how far it is, so a process that ends takes its generations along.
That is how such services are usually built, and what the load tests measure.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

from openai import OpenAIError
from openai.types.responses import Response
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from . import pdf, prompts
from .database import Document, Generation, Status
from .settings import Transactions
from .state import State

log = logging.getLogger(__name__)
_PROGRESS_TTL_S = 3600
T = TypeVar("T")
# Opens a session, and commits at its end.
Sessions = Callable[[], AbstractAsyncContextManager[AsyncSession]]


class GenerationFailed(Exception):
    """Ends a generation with a reason that its user is told."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


async def progress_of(state: State, id: uuid.UUID) -> dict:
    """`progress` and `step` of a generation that runs; empty when nobody has said."""
    told = await state.redis.get(f"generation:{id}")
    return {} if told is None else json.loads(told)


async def generate(state: State, id: uuid.UUID) -> None:
    """Writes the proposal; never raises. How it ended is noted on the row, or in the log where that fails too."""
    try:
        async with _sessions(state) as sessions:
            try:
                await _Job(state, id, sessions).run()
            except Exception as error:
                await _fail(sessions, id, error)
    except Exception as error:
        # It was given no connection, or has lost the one it held.
        await _attempted(_fail(state.sessions.begin, id, error), id)
    await _attempted(state.redis.delete(f"generation:{id}"), id)


@asynccontextmanager
async def _sessions(state: State) -> AsyncIterator[Sessions]:
    """What a generation reads and writes by: a session of the pool each time, or one that holds its connection."""
    if state.settings.transactions is Transactions.SHORT:
        yield state.sessions.begin
        return
    async with state.engine.connect() as connection, state.sessions(bind=connection) as session:

        @asynccontextmanager
        async def held() -> AsyncIterator[AsyncSession]:
            async with session.begin():
                yield session

        yield held


async def _fail(sessions: Sessions, id: uuid.UUID, error: Exception) -> None:
    match error:
        case GenerationFailed():
            code, detail = error.code, error.detail
        case OpenAIError():
            log.warning("generation %s: OpenAI: %s", id, error)
            code, detail = "upstream_failed", "The language model did not answer."
        case _:
            log.error("generation %s failed", id, exc_info=error)
            code, detail = "internal", "An internal fault."
    async with sessions() as session:
        await session.execute(
            update(Generation)
            # One that has ended stays as it is.
            .where(Generation.id == id, Generation.finished_at.is_(None))
            .values(status=Status.FAILED, error_code=code, error_detail=detail, finished_at=datetime.now(UTC))
        )


async def _attempted(last: Awaitable[object], id: uuid.UUID) -> None:
    try:
        await last
    except Exception as error:
        log.error("generation %s: its end is not noted", id, exc_info=error)


class _Job:
    def __init__(self, state: State, id: uuid.UUID, sessions: Sessions) -> None:
        self._state = state
        self._id = id
        self._sessions = sessions
        self._input_tokens = 0
        self._output_tokens = 0

    async def run(self) -> None:
        state, sections = self._state, self._state.settings.generation_sections
        async with self._sessions() as session:
            await session.execute(
                update(Generation)
                .where(Generation.id == self._id)
                .values(status=Status.RUNNING, started_at=datetime.now(UTC))
            )
        async with self._sessions() as session:
            row = await session.get_one(Generation, self._id)
            found = select(Document).where(Document.id.in_(row.document_ids))
            documents = {document.id: document for document in await session.scalars(found)}

        await self._tell("extract_text", 0)
        quoted = await self._extract([documents[id] for id in row.document_ids])
        await self._tell("write_outline", 5)
        titles = await self._outline(prompts.outline(row.title, row.instructions, quoted, sections))
        written: list[pdf.Section] = []
        for number, title in enumerate(titles, start=1):
            await self._tell(f"write_section_{number}", 5 + 90 * number // (len(titles) + 1))
            prompt = prompts.section(row.title, row.instructions, quoted, titles, title)
            text = await self._ask(f"write_section_{number}", prompts.WRITER, prompt)
            written.append(pdf.Section(title, text.replace("\0", "")))

        await self._tell("render_pdf", 95)
        rendered = await self._heavy(pdf.render, pdf.Proposal(row.title, written))
        await self._tell("store_pdf", 98)
        key = f"generations/{self._id}/proposal.pdf"
        await state.storage.put(key, rendered.data)
        async with self._sessions() as session:
            await session.execute(
                update(Generation)
                .where(Generation.id == self._id)
                .values(
                    status=Status.SUCCEEDED,
                    sections=[{"title": section.title, "markdown": section.markdown} for section in written],
                    page_count=rendered.page_count,
                    pdf_key=key,
                    input_tokens=self._input_tokens,
                    output_tokens=self._output_tokens,
                    finished_at=datetime.now(UTC),
                )
            )

    async def _tell(self, step: str, progress: int) -> None:
        told = json.dumps({"step": step, "progress": progress})
        await self._state.redis.set(f"generation:{self._id}", told, ex=_PROGRESS_TTL_S)

    async def _heavy(self, work: Callable[..., T], *arguments: object) -> T:
        """CPU work: in the event loop, or in the process beside it."""
        if self._state.renderers is None:
            done, cpu_s = pdf.timed(work, *arguments)
        else:
            loop = asyncio.get_running_loop()
            done, cpu_s = await loop.run_in_executor(self._state.renderers, pdf.timed, work, *arguments)
        # The load tests read this line.
        log.info("generation %s: %s took %.4f CPU-s", self._id, work.__name__, cpu_s)
        return done

    async def _extract(self, documents: list[Document]) -> str:
        texts = []
        for document in documents:
            data = await self._state.storage.get(document.storage_key)
            try:
                pages = await self._heavy(pdf.extract, data)
            except pdf.Unreadable as error:
                detail = f"The document {document.file_name} cannot be read."
                raise GenerationFailed("document_unreadable", detail) from error
            async with self._sessions() as session:
                await session.execute(
                    update(Document).where(Document.id == document.id).values(page_count=len(pages))
                )
            texts.append((document.file_name, len(pages), "\n".join(pages)))
        return prompts.quoted(texts)

    async def _outline(self, prompt: str) -> list[str]:
        count = self._state.settings.generation_sections
        answer = await self._ask("write_outline", prompts.PLANNER, prompt, prompts.outline_format(count))
        try:
            titles = [" ".join(str(title).split())[:160] for title in json.loads(answer)["sections"]]
        except (ValueError, KeyError, TypeError) as error:
            raise GenerationFailed("outline_unreadable", "The language model wrote no outline.") from error
        if not titles:
            raise GenerationFailed("outline_unreadable", "The language model wrote no outline.")
        return titles[:count]

    async def _ask(self, step: str, instructions: str, prompt: str, format: dict | None = None) -> str:
        """One response; the call stays open for the minutes that the model writes."""
        optional = {} if format is None else {"text": {"format": format}}
        response: Response = await self._state.openai.responses.create(
            model=self._state.settings.openai_model,
            instructions=instructions,
            input=prompt,
            metadata={"generation_id": str(self._id), "step": step},
            **optional,
        )
        if response.usage is not None:
            self._input_tokens += response.usage.input_tokens
            self._output_tokens += response.usage.output_tokens
        if response.status != "completed" or not response.output_text.strip():
            raise GenerationFailed("response_unusable", f"The language model's answer is {response.status}.")
        return response.output_text
