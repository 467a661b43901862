"""The page and its answers on this machine alone, until someone ends it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qkv._extras import needed

from .answers import Answers
from .asked import RefusedError
from .guard import Guard
from .page_files import page_files
from .subject import Subject

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_ANSWERS = {
    b"QKV1": "application/octet-stream",
    b"\x89PNG": "image/png",
    b"%PDF": "application/pdf",
    b"<?xm": "image/svg+xml",
}
_REFUSALS = {RefusedError: 400, IndexError: 404, ImportError: 501}
_CLOSING = 2  # seconds that answers have which are under way when it ends


def application(answers: Answers) -> Starlette:
    """What answers requests whose path is one of a few names: those of the page's files, which are
    read now, and those of questions."""
    responses = needed("starlette.responses")
    threads = needed("starlette.concurrency")
    page = {f"/{name}": content for name, content in page_files().items()}
    page["/"] = page.pop("/index.html")

    async def of_page(request: Request) -> Response:
        path = request.url.path
        kind = _TYPES[path[path.rindex(".") :]] if path != "/" else "text/html"
        return responses.Response(page[path], media_type=f"{kind}; charset=utf-8")

    async def answer(request: Request) -> Response:
        pairs = request.query_params.multi_items()
        try:
            if len(dict(pairs)) < len(pairs):
                raise RefusedError("a name stands twice")
            name = request.url.path[1:]
            found = await threads.run_in_threadpool(answers.answer, name, dict(pairs))
        except (RefusedError, IndexError, ImportError) as error:
            status = next(code for kind, code in _REFUSALS.items() if isinstance(error, kind))
            return responses.PlainTextResponse(str(error), status)
        kind = _ANSWERS.get(found[:4], "application/json")
        return responses.Response(found, media_type=kind)

    route = needed("starlette.routing").Route
    routes = [route(path, of_page) for path in page]
    routes += [route(f"/{name}", answer) for name in answers.questions]
    return needed("starlette.applications").Starlette(routes=routes)


def serve(subject: Subject, port: int, ready: Callable[[str], object]) -> None:
    """Serves a subject until the process is interrupted.

    Args:
        subject: what the page shows.
        port: where; 0: one that is free.
        ready: called with the page's address once it is answered.

    Raises:
        OSError: the port is taken.
        ImportError: starlette or uvicorn is missing; the text says what to install.
    """
    uvicorn, token = needed("uvicorn"), secrets.token_urlsafe(24)
    inner = application(Answers(subject))
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{HOST}:{port}") from error
        port = listening.getsockname()[1]
        hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        config = uvicorn.Config(
            Guard(inner, token, hosts),
            access_log=False,
            http="h11",
            lifespan="off",
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_CLOSING,
            ws="none",
        )
        server = uvicorn.Server(config)
        log = logging.getLogger("uvicorn.error")

        def told(_: logging.LogRecord) -> bool:
            return not server.should_exit  # that it gives up answers where it ends is no error

        log.addFilter(told)
        try:
            asyncio.run(_run(server, listening, lambda: ready(_address(port, token))))
        finally:
            log.removeFilter(told)


async def _run(server: Any, listening: socket.socket, ready: Callable[[], object]) -> None:
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    await serving


def _address(port: int, token: str) -> str:
    return f"http://{HOST}:{port}/{token}/"
