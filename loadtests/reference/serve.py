"""Starts the reference service under Gunicorn, or creates its tables.

    python serve.py migrate
    python serve.py serve [--workers N|auto] [--worker-class uvicorn|sync] [--mode background|sync]
                          [--rendering inline|pool] [--transactions held|short]

The environment configures the rest (service/settings.py). Two lines of JSON on stdout tell a
supervisor where it stands: `listening` with the address, and `worker ready` once per worker.
"""

import argparse
import asyncio
import json
import logging
import os
import sys

from gunicorn.app.base import BaseApplication
from pydantic import ValidationError

OPTIONS = {
    "workers": "GENERATION_WORKERS",
    "worker_class": "REFERENCE_WORKER_CLASS",
    "mode": "REFERENCE_MODE",
    "rendering": "REFERENCE_RENDERING",
    "transactions": "REFERENCE_TRANSACTIONS",
}
WORKER_CLASSES = {"uvicorn": "uvicorn_worker.UvicornWorker", "sync": "sync"}


def say(message: str, **fields: object) -> None:
    """One line of JSON that a supervisor can read."""
    sys.stdout.write(json.dumps({"message": message, **fields}) + "\n")
    sys.stdout.flush()


def listening(server) -> None:
    """Gunicorn's hook: the sockets are open."""
    host, port = server.LISTENERS[0].sock.getsockname()[:2]
    say("listening", address=f"{host}:{port}")


def worker_ready(worker) -> None:
    """Gunicorn's hook: a worker has loaded the application."""
    say("worker ready", pid=worker.pid)


def worker_exit(server, worker) -> None:
    """Gunicorn's hook: a worker ends."""
    worker.app.close()


class Server(BaseApplication):
    """Gunicorn with the workers that the service's settings ask for."""

    def __init__(self, settings) -> None:
        self._settings = settings
        # What a sync worker has to close; Uvicorn's workers close by themselves.
        self._wsgi = None
        super().__init__()

    def load_config(self) -> None:
        s = self._settings
        options = {
            "bind": s.listen_addr,
            "workers": s.worker_count,
            "worker_class": WORKER_CLASSES[s.worker_class],
            # Gunicorn counts whole seconds.
            "timeout": max(1, -(-s.worker_timeout_ms // 1000)),
            "graceful_timeout": max(1, -(-s.graceful_timeout_ms // 1000)),
            # Longer than the 60 s for which a load balancer keeps an idle connection.
            "keepalive": 75,
            "max_requests": s.max_requests,
            "max_requests_jitter": s.max_requests_jitter,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,
            "control_socket_disable": True,
            "when_ready": listening,
            "post_worker_init": worker_ready,
            "worker_exit": worker_exit,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self):
        # In the worker, so that each one opens its own connections.
        from service import pdf
        from service.app import app
        from service.settings import Rendering, WorkerClass

        if self._settings.rendering is Rendering.INLINE:
            # Before it is said to be ready.
            pdf.warm_up()
        if self._settings.worker_class is WorkerClass.UVICORN:
            return app
        from service.wsgi import Wsgi

        self._wsgi = Wsgi(app)
        return self._wsgi

    def close(self) -> None:
        """In the worker, when it ends."""
        if self._wsgi is not None:
            self._wsgi.close()


def main() -> int:
    """Reads the command line; exits with 2 when the configuration is bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="create the tables that are missing")
    serve = commands.add_parser("serve", help="serve until SIGTERM or SIGINT")
    serve.add_argument("--workers", metavar="N|auto")
    serve.add_argument("--worker-class", choices=["uvicorn", "sync"])
    serve.add_argument("--mode", choices=["background", "sync"])
    serve.add_argument("--rendering", choices=["inline", "pool"])
    serve.add_argument("--transactions", choices=["held", "short"])
    arguments = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s")
    # One line per request of each client library would be the costliest log of all.
    for name in ("httpx", "httpx2", "openai", "botocore", "aiobotocore", "fontTools", "weasyprint", "pypdf"):
        logging.getLogger(name).setLevel(logging.WARNING)

    if arguments.command == "migrate":
        url = os.environ.get("DATABASE_URL", "")
        if "://" not in url:
            sys.stderr.write("error: read DATABASE_URL: it is not set; for example postgres://user@host/name\n")
            return 2
        from service.database import migrate

        asyncio.run(migrate(f"postgresql+asyncpg://{url.partition('://')[2]}"))
        return 0
    for option, variable in OPTIONS.items():
        if (value := getattr(arguments, option)) is not None:
            os.environ[variable] = value
    from service.settings import settings

    try:
        config = settings()
    except ValidationError as error:
        for problem in error.errors():
            sys.stderr.write(f"error: read {'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}\n")
        return 2
    Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
