"""The ASGI application, behind a limit on what a client may send."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Above the limit of the parsers, so that a slightly too large body gets their answer.
SLACK_BYTES = 64 * 1024


class BodyLimit:
    """Refuses a body before it is written to disk: Django reads all of it before any view runs.

    A length that is too large gets 413 at once. A body without a length gets it when it has grown
    too large: Django is told that the client went away, and drops what it has.
    """

    def __init__(self, app: App, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _declared_length(scope) > self.limit:
            await self._refuse(send)
            return
        seen, is_answered = 0, False

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.limit:
                    return {"type": "http.disconnect"}
            return message

        async def noted(message: Any) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        await self.app(scope, counted, noted)
        if seen > self.limit and not is_answered:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        body = json.dumps(
            {
                "code": "body_too_large",
                "message": f"The body is larger than {self.limit} bytes.",
                "details": {},
            }
        ).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _declared_length(scope: Scope) -> int:
    for name, value in scope.get("headers", ()):
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


_django: Any = get_asgi_application()
application: App = BodyLimit(_django, settings.DATA_UPLOAD_MAX_MEMORY_SIZE + SLACK_BYTES)
