"""Errors as RFC 9457 problems, with the backend's types and titles."""

import logging
import uuid

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)

_TITLES = {
    400: ("malformed-request", "The request cannot be read"),
    401: ("unauthenticated", "Not logged in"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    409: ("conflict", "Not in this state"),
    413: ("too-large", "The body is too large"),
    415: ("unsupported-media-type", "Not a supported kind of content"),
    422: ("invalid-request", "The request breaks a rule"),
    500: ("internal", "An internal fault"),
    503: ("dependency-unavailable", "Temporarily unavailable"),
}


class Problem(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, detail: str, kind: str | None = None, title: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.title = title

    def response(self) -> JSONResponse:
        """The answer."""
        kind, title = _TITLES.get(self.status, ("internal", "An internal fault"))
        request_id = uuid.uuid4().hex
        headers = {"x-request-id": request_id}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status == 503:
            headers["retry-after"] = "2"
        return JSONResponse(
            {
                "type": f"urn:allegiant:problem:{self.kind or kind}",
                "title": self.title or title,
                "status": self.status,
                "detail": self.detail,
                "request_id": request_id,
            },
            status_code=self.status,
            headers=headers,
            media_type="application/problem+json",
        )


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        details = {404: "there is no such route", 405: "the method is not allowed here"}
        response = Problem(error.status_code, details.get(error.status_code, str(error.detail))).response()
        # Which methods are allowed, for one.
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        # An id in the path that is no UUID names nothing that exists.
        if first["loc"][0] == "path":
            return Problem(404, "there is no such resource").response()
        where = ".".join(str(part) for part in first["loc"][1:])
        detail = f"{where}: {first['msg']}" if where else first["msg"]
        return Problem(400 if first["type"] == "json_invalid" else 422, detail).response()

    @app.exception_handler(PoolTimeout)
    @app.exception_handler(OperationalError)
    @app.exception_handler(DBAPIError)
    @app.exception_handler(OSError)
    async def database(_: Request, error: Exception) -> JSONResponse:
        log.warning("the database does not answer: %s", error)
        return Problem(503, "the database does not answer").response()

    @app.exception_handler(RedisError)
    async def redis(_: Request, error: RedisError) -> JSONResponse:
        log.warning("the session store does not answer: %s", error)
        return Problem(503, "the session store does not answer").response()

    @app.exception_handler(Exception)
    async def internal(_: Request, error: Exception) -> JSONResponse:
        log.error("request failed", exc_info=error)
        return Problem(500, "an internal fault").response()
