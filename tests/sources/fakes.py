"""A client that answers from a table: what a source said, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sources.refs import Endpoints
from sources.resolver import Resolver
from transfer.answers import status_error
from transfer.http import JsonAnswer

DATA = Path(__file__).parent.parent / "data"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CIVITAI = "https://civitai.com"
HUB = "https://huggingface.co"


def recorded(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def message(headers: dict[str, str] | None = None) -> Message:
    built = Message()
    for key, value in (headers or {}).items():
        built[key] = value
    return built


@dataclass
class Reply:
    """One answer: a JSON value (or bytes) with a status and headers."""

    value: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


@dataclass
class Turns:
    """One reply after the other, the last one for ever."""

    replies: list[Any]


class FakeClient:
    """Answers by URL without the query, and first by URL with it; anything else is a 404."""

    def __init__(self, routes: dict[str, Any] | None = None) -> None:
        self.routes = dict(routes or {})
        self.asked: list[tuple[str, Any]] = []

    def _reply(self, url: str, credential: Any) -> Reply:
        self.asked.append((url, credential))
        found = self.routes.get(
            url, self.routes.get(url.partition("?")[0], Reply({"error": "no"}, 404))
        )
        if isinstance(found, Turns):
            found = found.replies.pop(0) if len(found.replies) > 1 else found.replies[0]
        if isinstance(found, Exception):
            raise found
        reply = found if isinstance(found, Reply) else Reply(found)
        if reply.status not in {200, 206}:
            raise status_error(reply.status, message(reply.headers), reply.body, "source.example")
        return reply

    def get_json(
        self,
        url: str,
        *,
        credential: Any = None,
        params: dict[str, Any] | None = None,
        **limits: Any,
    ) -> JsonAnswer:
        if params:
            url = f"{url}?{urlencode(params)}"
        reply = self._reply(url, credential)
        return JsonAnswer(reply.value, message(reply.headers), url)

    @contextmanager
    def open(
        self, url: str, *, credential: Any = None, headers: Any = None, **limits: Any
    ) -> Iterator[Any]:
        yield FakeAnswer(self._reply(url, credential), url)

    def paths(self) -> list[str]:
        return [url.partition("//")[2].partition("/")[2] for url, _ in self.asked]


class FakeAnswer:
    def __init__(self, reply: Reply, url: str) -> None:
        self.status, self.headers, self.url, self.hops = (
            reply.status,
            message(reply.headers),
            url,
            0,
        )
        self._body = reply.body
        self.length = len(self._body)

    def read(self, max_bytes: int) -> bytes:
        return self._body[:max_bytes]


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class DictCache(dict[str, Any]):
    def set(self, key: str, value: Any, timeout_s: int) -> None:
        assert timeout_s == 300
        self[key] = json.loads(json.dumps(value))


def resolver(client: FakeClient, clock: FakeTime | None = None, **fields: Any) -> Resolver:
    clock = clock or FakeTime()
    fields.setdefault("endpoints", Endpoints())
    fields.setdefault("now", lambda: NOW)
    return Resolver(client, sleep=clock.sleep, clock=clock, **fields)  # type: ignore[arg-type]


def civitai_routes(
    *, model: dict[str, Any] | None = None, version: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The two calls, as far as there are answers for them, and a download route that answers."""
    routes: dict[str, Any] = {}
    if model is not None:
        routes[f"{CIVITAI}/api/v1/models/{model['id']}"] = model
        for listed in model.get("modelVersions", []):
            routes[f"{CIVITAI}/api/download/models/{listed['id']}"] = b"x"
    if version is not None:
        routes[f"{CIVITAI}/api/v1/model-versions/{version['id']}"] = version
        routes[f"{CIVITAI}/api/download/models/{version['id']}"] = b"x"
    return routes
