"""The application for Gunicorn's sync workers, which know no event loop: one request at a time, held to its end."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import TypeVar

import uvloop
from a2wsgi import ASGIMiddleware
from fastapi import FastAPI

T = TypeVar("T")


class Wsgi:
    """An ASGI application as a WSGI one. Its clients and requests share one event loop, in a thread of the process."""

    def __init__(self, app: FastAPI) -> None:
        # Uvicorn's workers run on this loop too.
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="event loop", daemon=True)
        self._thread.start()
        # No server tells the application that it starts and ends.
        self._lifespan = app.router.lifespan_context(app)
        self._wait_for(self._lifespan.__aenter__())
        self._answer = ASGIMiddleware(app, loop=self._loop)

    def __call__(self, environ: dict, start_response) -> Iterable[bytes]:
        """Answers one request; the process accepts no other until it has."""
        return self._answer(environ, start_response)

    def close(self) -> None:
        """Closes the clients and ends the loop."""
        self._wait_for(self._lifespan.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait_for(self, coroutine: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
