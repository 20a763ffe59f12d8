"""Uploaded PDFs."""

import asyncio
import hashlib
import uuid
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from .accounts import CurrentUser
from .database import Document
from .problems import Problem
from .state import State, state

router = APIRouter(prefix="/api/v1/documents")
# A PDF's header may stand behind this much of something else.
_HEADER_WINDOW_BYTES = 1024
# What multipart may add around the file.
_MULTIPART_OVERHEAD_BYTES = 65_536


def _body(document: Document) -> dict:
    body = {
        "id": str(document.id),
        "file_name": document.file_name,
        "size_bytes": document.size_bytes,
        "sha256": document.sha256,
        "created_at": document.created_at.isoformat(),
    }
    return body if document.page_count is None else body | {"page_count": document.page_count}


def _file_name(sent: str | None) -> str:
    last = (sent or "").replace("\\", "/").rsplit("/", 1)[-1].strip()
    name = "".join(c for c in last if c.isprintable() and c != '"')[:200]
    return name or "document.pdf"


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


@router.post("", status_code=201)
async def upload(
    request: Request,
    response: Response,
    user_id: CurrentUser,
    state: Annotated[State, Depends(state)],
    file: UploadFile,
) -> dict:
    """Stores a PDF. The object goes before the row: a crash in between leaves an object without a row."""
    limit = state.settings.document_size_max_bytes
    size = file.size or 0
    if size > limit or int(request.headers.get("content-length", 0)) > limit + _MULTIPART_OVERHEAD_BYTES:
        raise Problem(413, f"the body exceeds {limit} bytes")
    if b"%PDF-" not in await file.read(_HEADER_WINDOW_BYTES):
        raise Problem(415, "the file is not a PDF")
    await file.seek(0)
    id = uuid.uuid4()
    document = Document(
        id=id,
        user_id=user_id,
        file_name=_file_name(file.filename),
        size_bytes=size,
        sha256=await asyncio.to_thread(_sha256, file.file),
        storage_key=f"documents/{user_id}/{id}.pdf",
    )
    await state.storage.put(document.storage_key, file.file)
    async with state.sessions.begin() as session:
        session.add(document)
        await session.flush()
        await session.refresh(document)
    response.headers["location"] = f"/api/v1/documents/{id}"
    return _body(document)


async def _find(state: State, user_id: uuid.UUID, id: uuid.UUID) -> Document:
    async with state.sessions() as session:
        found = await session.scalar(select(Document).where(Document.id == id, Document.user_id == user_id))
    if found is None:
        raise Problem(404, "there is no such document")
    return found


@router.get("/{id}")
async def show(id: uuid.UUID, user_id: CurrentUser, state: Annotated[State, Depends(state)]) -> dict:
    """One document."""
    return _body(await _find(state, user_id, id))


@router.get("/{id}/content")
async def content(
    id: uuid.UUID, user_id: CurrentUser, state: Annotated[State, Depends(state)]
) -> RedirectResponse:
    """A link that downloads it."""
    document = await _find(state, user_id, id)
    return RedirectResponse(await state.storage.link(document.storage_key, document.file_name), 307)
