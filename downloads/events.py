"""Server-sent events of the queue: one `downloads` event whenever something has changed.

An async view, so that a hundred open pages cost no thread; it needs the ASGI server.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from downloads.models import Download
from downloads.serializers import DownloadSerializer
from tokens.authentication import ApiKeyAuthentication

INTERVAL_S = 1.0
#: The browser connects again by itself; a stream that never ended would hold up a restart.
LONGEST_STREAM_S = 600.0
MOST_ROWS = 200


def user_of(request: HttpRequest) -> AbstractBaseUser | None:
    """Who asks, by session or API key; None for nobody."""
    try:
        found = ApiKeyAuthentication().authenticate(Request(request))
    except AuthenticationFailed:
        return None
    user = found[0] if found else request.user
    return user if user.is_authenticated else None


def changes(user: AbstractBaseUser, known: dict[int, Any]) -> list[dict[str, Any]]:
    """Rows of `user` that differ from what was sent before; `known` is brought up to date."""
    rows = Download.objects.of_user(user).unfinished() | Download.objects.of_user(user).filter(
        pk__in=list(known)
    )
    sent = []
    for row in rows.select_related("initiated_by").in_queue_order()[:MOST_ROWS]:
        mark = (row.status, row.downloaded_bytes, row.download_speed_bps, row.error_code)
        if known.get(row.pk) != mark:
            known[row.pk] = mark
            sent.append(dict(DownloadSerializer(row).data))
    return sent


async def stream(user: AbstractBaseUser) -> AsyncIterator[bytes]:
    known: dict[int, Any] = {}
    ends = time.monotonic() + LONGEST_STREAM_S
    yield b"retry: 2000\n\n"
    while time.monotonic() < ends:
        rows = await sync_to_async(changes)(user, known)
        if rows:
            yield f"event: downloads\ndata: {json.dumps(rows)}\n\n".encode()
        else:
            yield b": still here\n\n"
        await asyncio.sleep(INTERVAL_S)


@require_safe
async def events(request: HttpRequest) -> HttpResponseBase:
    user = await sync_to_async(user_of)(request)
    if user is None:
        answer = JsonResponse(
            {
                "code": "not_authenticated",
                "message": "Sign in, or send an API key as Authorization: Bearer KEY.",
                "details": {},
            },
            status=401,
        )
        answer["WWW-Authenticate"] = "Bearer"
        return answer
    response = StreamingHttpResponse(stream(user), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response
