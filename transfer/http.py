"""The one HTTP client: every byte that leaves or enters this product by http goes through it.

It asks for what it was told and nothing more: no proxy, netrc or cookie of the environment, no
compression, no redirect that was not checked, no credential for anybody but its own service.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import urlencode

from transfer.answers import LIBRARY_ERRORS, check_headers, library_error, status_error
from transfer.errors import BadAnswer, Interrupted, RedirectRefused, TooLarge, UrlNotAllowed
from transfer.exchange import Aborter, Answer
from transfer.policy import OutboundPolicy
from transfer.urls import Origin, ParsedUrl, join_url, parse_url
from transfer.wire import Connections, GuardedConnection

__all__ = ["Aborter", "Answer", "BytesAnswer", "Credential", "GuardedClient", "JsonAnswer",
           "OutboundPolicy"]  # fmt: skip

MIB = 1024 * 1024
# CivitAI answers browsers differently and takes every agent for one whose name contains mozilla,
# chrome, safari, firefox, opera or edge (so no "knowledge"). Default agents of libraries get 403.
USER_AGENT = "Modelyard/1.0 (model download manager)"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_ERROR_BODY = 64 * 1024
HEAD_SECONDS = 60.0  # from asking to the last header, for every hop
# What a redirect to another origin takes along; any other header may hold a secret.
_HARMLESS = frozenset({"accept", "range", "if-range", "if-none-match"})
_OURS = frozenset({"authorization", "cookie", "host", "accept-encoding", "user-agent"})


@dataclass(frozen=True)
class Credential:
    """A secret of one service, sent as a Bearer header to exactly these origins.

    Over https only; `allow_http` is for a configured endpoint that speaks plain http.
    """

    service: str
    origins: frozenset[Origin]
    secret: str = field(repr=False)
    allow_http: bool = False

    def __post_init__(self) -> None:
        if not self.secret.isascii() or not self.secret.isprintable():
            raise ValueError(f"The secret of {self.service} cannot be sent in a header.")

    def belongs_to(self, origin: Origin) -> bool:
        """True if this origin may see the secret."""
        return origin in self.origins and (origin.scheme == "https" or self.allow_http)


@dataclass(frozen=True)
class JsonAnswer:
    value: Any
    headers: Message
    url: str = field(repr=False)


@dataclass(frozen=True)
class BytesAnswer:
    status: int
    headers: Message
    body: bytes = field(repr=False)
    url: str = field(repr=False)


@dataclass(frozen=True)
class _Request:
    method: str
    headers: Mapping[str, str]
    credential: Credential | None
    aborter: Aborter
    deadline: float | None
    idle_timeout_s: float


class GuardedClient:
    """Asks servers within a policy. Safe to share between threads; one per process is enough."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self.policy = policy
        self._connections = Connections(policy)

    def check_url(self, url: str) -> str:
        """The URL in its only form, checked as far as that goes without a resolver.

        Raises UrlNotAllowed.
        """
        parsed = parse_url(url)
        self.policy.check(parsed)
        return str(parsed)

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    @contextmanager
    def open(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        accept: tuple[int, ...] = (200, 206),
        deadline_s: float | None = None,
        idle_timeout_s: float | None = None,
        aborter: Aborter | None = None,
    ) -> Iterator[Answer]:
        """The answer, its body still to be read, after every redirect was checked and followed.

        Statuses outside `accept` are raised (see `transfer.errors`). `deadline_s` bounds all of it,
        the body included; without it headers have a minute and a body may go on while it comes.
        `idle_timeout_s` replaces the policy's.
        """
        if _OURS & {name.lower() for name in headers or {}}:
            raise RuntimeError("Credentials travel as a Credential, and the client names itself.")
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        request = _Request(
            method,
            headers or {},
            credential,
            aborter or Aborter(),
            deadline,
            idle_timeout_s or self.policy.idle_timeout_s,
        )
        answer = self._walk(parse_url(url), request, accept)
        try:
            yield answer
        finally:
            answer.close(self._connections)

    def get_json(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        params: Mapping[str, Any] | None = None,
        max_bytes: int = 5 * MIB,
        deadline_s: float = 15,
    ) -> JsonAnswer:
        """The JSON value at a URL; a page that is no JSON is a BadAnswer."""
        if params:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params, doseq=True)}"
        got = self.get_bytes(
            url,
            credential=credential,
            headers={"Accept": "application/json"},
            max_bytes=max_bytes,
            deadline_s=deadline_s,
        )
        try:
            value = json.loads(got.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            # The cause would show a part of the body.
            host = parse_url(got.url).origin.host
            raise BadAnswer(
                f"{host} sent something that is not the JSON it was asked for.",
                reason="not_json",
                host=host,
            ) from None
        return JsonAnswer(value, got.headers, got.url)

    def get_bytes(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int,
        deadline_s: float = 30,
    ) -> BytesAnswer:
        """The whole body; TooLarge beyond `max_bytes`, Interrupted after `deadline_s`."""
        with self.open(
            url, credential=credential, headers=headers, deadline_s=deadline_s
        ) as answer:
            if (answer.length or 0) > max_bytes:
                raise _too_large(answer.host, max_bytes)
            chunks = bytearray()
            with memoryview(bytearray(min(max_bytes + 1, 64 * 1024))) as view:
                while n_read := answer.readinto(view):
                    chunks += view[:n_read]
                    if len(chunks) > max_bytes:
                        raise _too_large(answer.host, max_bytes)
            return BytesAnswer(answer.status, answer.headers, bytes(chunks), answer.url)

    def _walk(self, url: ParsedUrl, request: _Request, accept: tuple[int, ...]) -> Answer:
        self.policy.check(url)
        start, seen = url, {str(url)}
        for hop in range(self.policy.max_hops + 1):
            try:
                answer = self._ask(url, request, is_first_origin=url.origin == start.origin)
            except UrlNotAllowed as error:
                if hop == 0:
                    raise
                raise _redirect_refused(url.origin.host, hop) from error
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or location is None:
                answer.hops = hop
                return self._checked(answer, accept)
            # A body of a redirect is nobody's business, packed bombs included.
            answer.close()
            url = self._next(url, location, hop)
            if str(url) in seen:
                raise _redirect_refused(url.origin.host, hop + 1)
            seen.add(str(url))
        raise _redirect_refused(url.origin.host, self.policy.max_hops + 1)

    def _next(self, url: ParsedUrl, location: str, hop: int) -> ParsedUrl:
        try:
            target = join_url(url, location)
            self.policy.check(target)
        except UrlNotAllowed:
            # The cause may hold the target; a host that was not understood cannot be named.
            raise _redirect_refused(url.origin.host, hop + 1) from None
        if url.origin.scheme == "https" and target.origin.scheme != "https":
            raise _redirect_refused(target.origin.host, hop + 1)
        return target

    def _ask(self, url: ParsedUrl, request: _Request, *, is_first_origin: bool) -> Answer:
        headers = _headers_for(url.origin, request, is_first_origin=is_first_origin)
        connection = self._connections.take(url.origin)
        if connection is not None:
            try:
                return self._exchange(connection, url, request, headers)
            except Interrupted as error:
                # The server may have closed it while it was idle; then a fresh one is asked.
                if not isinstance(error.__cause__, ConnectionError):
                    raise
        return self._exchange(self._connections.new(url.origin), url, request, headers)

    def _exchange(
        self, connection: GuardedConnection, url: ParsedUrl, request: _Request, headers: Any
    ) -> Answer:
        deadline = time.monotonic() + HEAD_SECONDS
        if request.deadline is not None:
            deadline = min(deadline, request.deadline)
        connecting = connection.sock is None
        request.aborter.watch(connection)
        try:
            if connecting:
                connection.connect()
                connecting = False
            connection.request(request.method, url.target, headers=headers)
            wire = connection.answer(deadline=deadline, idle_timeout_s=request.idle_timeout_s)
        except BaseException as error:
            request.aborter.watch(None)
            connection.dispose()
            if isinstance(error, LIBRARY_ERRORS):
                raise library_error(error, url.origin.host, connecting=connecting) from error
            raise
        wire.wire.set_deadline(request.deadline)
        return Answer(connection, wire, url, request.aborter)

    def _checked(self, answer: Answer, accept: tuple[int, ...]) -> Answer:
        try:
            if answer.status not in accept:
                error = status_error(
                    answer.status, answer.headers, _error_body(answer), answer.host
                )
                error.details["hops"] = answer.hops
                raise error
            check_headers(answer.headers, answer.host)
        except BaseException:
            answer.close()
            raise
        return answer


def _headers_for(origin: Origin, request: _Request, *, is_first_origin: bool) -> dict[str, str]:
    headers = {
        name: value
        for name, value in request.headers.items()
        if is_first_origin or name.lower() in _HARMLESS
    }
    headers |= {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if request.credential is not None and request.credential.belongs_to(origin):
        headers["Authorization"] = f"Bearer {request.credential.secret}"
    return headers


def _error_body(answer: Answer) -> bytes:
    """The beginning of an error's body, for sources that give a status several meanings."""
    answer.set_deadline(time.monotonic() + 5)
    buffer, filled = bytearray(MAX_ERROR_BODY), 0
    with memoryview(buffer) as view, contextlib.suppress(Interrupted, BadAnswer):
        while filled < MAX_ERROR_BODY and (n_read := answer.readinto(view[filled:])):
            filled += n_read
    return bytes(buffer[:filled])


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON.")


def _too_large(host: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"{host} sent more than {max_bytes} bytes.", max_bytes=max_bytes, host=host)


def _redirect_refused(host: str, hops: int) -> RedirectRefused:
    return RedirectRefused(
        f"{host} leads somewhere that is not allowed, or in circles (after {hops} redirects).",
        host=host,
        hops=hops,
    )
