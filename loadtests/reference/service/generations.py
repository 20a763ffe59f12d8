"""Generations: asked for, polled, downloaded."""

import uuid
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import Row, func, select

from .accounts import CurrentUser
from .database import Document, Generation, Status
from .jobs import generate, progress_of
from .problems import Problem
from .settings import Mode
from .state import State, state

router = APIRouter(prefix="/api/v1/generations")
# What answers tell: a poll reads neither the order's text nor the sections.
_TOLD = (
    Generation.id,
    Generation.title,
    Generation.status,
    Generation.error_code,
    Generation.error_detail,
    Generation.page_count,
    Generation.pdf_key,
    Generation.input_tokens,
    Generation.output_tokens,
    Generation.created_at,
    Generation.started_at,
    Generation.finished_at,
)


class Wanted(BaseModel):
    """What a client asks for."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    title: str = Field(min_length=1, max_length=200)
    instructions: str = Field(min_length=1, max_length=20_000)
    document_ids: list[uuid.UUID] = Field(default=[], max_length=10)

    @field_validator("title", "instructions", mode="before")
    @classmethod
    def _without_nul(cls, text: object) -> object:
        return text.replace("\0", "") if isinstance(text, str) else text

    @field_validator("document_ids")
    @classmethod
    def _distinct(cls, ids: list[uuid.UUID]) -> list[uuid.UUID]:
        if len(set(ids)) < len(ids):
            raise ValueError("must name each document once")
        return ids


def _instant(instant) -> str | None:
    return None if instant is None else instant.isoformat()


async def _answer(state: State, response: Response, row: Generation | Row) -> dict:
    body = {
        "id": str(row.id),
        "title": row.title,
        "status": row.status,
        "progress": 100 if row.status == Status.SUCCEEDED else 0,
        "attempt": 0 if row.status == Status.QUEUED else 1,
        "tokens": {"input": row.input_tokens, "output": row.output_tokens},
        "created_at": _instant(row.created_at),
        "started_at": _instant(row.started_at),
        "finished_at": _instant(row.finished_at),
    }
    if row.page_count is not None:
        body["page_count"] = row.page_count
    if row.error_code is not None:
        body["error"] = {"code": row.error_code, "detail": row.error_detail}
    if not row.status.is_final:
        body |= await progress_of(state, row.id)
        after_ms = state.settings.poll_retry_after_ms
        response.headers["retry-after"] = str(-(-after_ms // 1000))
        response.headers["retry-after-ms"] = str(after_ms)
    return body


@router.post("", status_code=202)
async def create(
    wanted: Wanted,
    response: Response,
    tasks: BackgroundTasks,
    user_id: CurrentUser,
    state: Annotated[State, Depends(state)],
) -> dict:
    """Accepts a generation (202), or in sync mode writes it before the answer (200)."""
    row = Generation(user_id=user_id, **wanted.model_dump())
    async with state.sessions.begin() as session:
        known = select(func.count()).where(Document.id.in_(wanted.document_ids), Document.user_id == user_id)
        if await session.scalar(known) != len(wanted.document_ids):
            raise Problem(422, "document_ids names a document that is not there")
        session.add(row)
        await session.flush()
        await session.refresh(row)
    response.headers["location"] = f"/api/v1/generations/{row.id}"
    if state.settings.mode is Mode.SYNC:
        await generate(state, row.id)
        row = await _find(state, user_id, row.id)
        response.status_code = 200
    else:
        tasks.add_task(generate, state, row.id)
    return await _answer(state, response, row)


async def _find(state: State, user_id: uuid.UUID, id: uuid.UUID) -> Row:
    wanted = select(*_TOLD).where(Generation.id == id, Generation.user_id == user_id)
    async with state.sessions() as session:
        found = (await session.execute(wanted)).one_or_none()
    if found is None:
        raise Problem(404, "there is no such generation")
    return found


@router.get("/{id}")
async def show(
    id: uuid.UUID, response: Response, user_id: CurrentUser, state: Annotated[State, Depends(state)]
) -> dict:
    """How it stands."""
    return await _answer(state, response, await _find(state, user_id, id))


@router.get("/{id}/pdf")
async def pdf(id: uuid.UUID, user_id: CurrentUser, state: Annotated[State, Depends(state)]) -> RedirectResponse:
    """A link that downloads the proposal."""
    row = await _find(state, user_id, id)
    if row.status == Status.FAILED:
        raise Problem(409, "the generation ended without a PDF")
    if row.pdf_key is None:
        raise Problem(409, "the generation has not ended yet")
    return RedirectResponse(await state.storage.link(row.pdf_key, f"{row.title}.pdf"), 307)
