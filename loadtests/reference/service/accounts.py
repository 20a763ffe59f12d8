"""Registration, login, and who sends a request."""

import asyncio
import hashlib
import secrets
import uuid
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from .database import User
from .problems import Problem
from .state import State, state

router = APIRouter(prefix="/api/v1/auth")
_bearer = HTTPBearer(auto_error=False)


class Credentials(BaseModel):
    """What registration and login take."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=254)
    password: str = Field(min_length=8, max_length=256)

    @field_validator("email")
    @classmethod
    def _address(cls, text: str) -> str:
        email = text.strip().lower()
        name, at, domain = email.partition("@")
        dotted = "." in domain.strip(".") or domain == "localhost"
        if not (name and at and dotted) or "@" in domain or any(c.isspace() for c in email):
            raise ValueError("must be an address like name@example.com")
        return email


def _hasher(state: State) -> PasswordHasher:
    return PasswordHasher(
        time_cost=state.settings.argon2_iterations, memory_cost=state.settings.argon2_memory_kib, parallelism=1
    )


def _session_key(token: str) -> str:
    return f"session:{hashlib.sha256(token.encode()).hexdigest()}"


async def _open(state: State, user: User) -> dict:
    token = secrets.token_urlsafe(32)
    ttl_ms = state.settings.session_ttl_ms
    await state.redis.set(_session_key(token), str(user.id), px=ttl_ms)
    return {
        "user": {"id": str(user.id), "email": user.email},
        "token": token,
        "expires_in_s": ttl_ms // 1000,
    }


async def current_user(
    state: Annotated[State, Depends(state)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> uuid.UUID:
    """The sender's id, from the session store; every use prolongs the session."""
    if credentials is not None:
        key = _session_key(credentials.credentials)
        user = await state.redis.getex(key, px=state.settings.session_ttl_ms)
        if user is not None:
            return uuid.UUID(user)
    raise Problem(401, "a valid bearer token is needed")


CurrentUser = Annotated[uuid.UUID, Depends(current_user)]


@router.post("/register", status_code=201)
async def register(body: Credentials, state: Annotated[State, Depends(state)]) -> dict:
    """Creates an account and logs in to it."""
    hash = await asyncio.to_thread(_hasher(state).hash, body.password)
    user = User(email=body.email, password_hash=hash)
    try:
        async with state.sessions.begin() as session:
            session.add(user)
    except IntegrityError as error:
        raise Problem(409, "the email address is registered already") from error
    return await _open(state, user)


@router.post("/login")
async def login(body: Credentials, state: Annotated[State, Depends(state)]) -> dict:
    """Opens a session."""
    async with state.sessions() as session:
        user = await session.scalar(select(User).where(User.email == body.email))
    if user is None:
        # An unknown address takes as long as a wrong password.
        await asyncio.to_thread(_hasher(state).hash, body.password)
    elif await asyncio.to_thread(_matches, _hasher(state), user.password_hash, body.password):
        return await _open(state, user)
    raise Problem(401, "email or password is wrong", "wrong-credentials", "Login failed")


def _matches(hasher: PasswordHasher, hash: str, password: str) -> bool:
    try:
        return hasher.verify(hash, password)
    except VerificationError:
        return False


@router.post("/logout", status_code=204)
async def logout(request: Request, _: CurrentUser, state: Annotated[State, Depends(state)]) -> None:
    """Ends the session."""
    await state.redis.delete(_session_key(request.headers["authorization"].split()[1]))


@router.get("/me")
async def me(user_id: CurrentUser, state: Annotated[State, Depends(state)]) -> dict:
    """Who one is."""
    async with state.sessions() as session:
        user = await session.get(User, user_id)
    if user is None:
        raise Problem(401, "a valid bearer token is needed")
    return {"id": str(user.id), "email": user.email}
