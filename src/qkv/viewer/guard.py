"""Who is answered: nobody but who was told the address."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

MOST_QUERY = 512  # bytes
_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Stands in front of an application (ASGI): requests must be GET, name this host, as pages of
    others that were given its address cannot, and begin with the token. What follows the token is
    the path that the application sees.

    Args:
        application: who answers.
        token: the secret part of the address.
        hosts: what a request may call this server, its port included.
    """

    def __init__(self, application: Any, token: str, hosts: Collection[str]) -> None:
        self._application, self._token, self._hosts = application, token.encode(), hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status = self._refusal(scope)
        if status:
            headers = [(b"content-length", b"0"), *_headers()]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def safe(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_headers()]}
            await send(message)

        path = "/" + scope["path"].partition("/")[2].partition("/")[2]
        await self._application({**scope, "path": path, "raw_path": path.encode()}, receive, safe)

    def _refusal(self, scope: Any) -> int | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].decode("latin-1") not in self._hosts:
            return 421
        given = scope["path"].partition("/")[2].partition("/")
        if not secrets.compare_digest(given[0].encode(), self._token) or not given[1]:
            return 404
        if scope["method"] != "GET":
            return 405
        return 414 if len(scope["query_string"]) > MOST_QUERY else None


def _headers() -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in _SAFE.items()]
