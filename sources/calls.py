"""Asking a source within a deadline: retries, back-off, and what its rate limits allow.

One `Calls` serves one resolution: everything it does ends at the same moment. A host that said it
has nothing left is not asked before the time it named, by any resolution that shares the `Budget`.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Protocol, TypeVar

from sources.errors import SourceUnavailable
from transfer.errors import (
    AuthRequired,
    BadAnswer,
    ConnectFailed,
    Interrupted,
    RemoteBusy,
    TransferError,
)
from transfer.http import Answer, Credential, GuardedClient, JsonAnswer
from transfer.urls import origin_of

MAX_JSON_BYTES = 5 * 1024 * 1024
MAX_WAIT_S = 3600.0
FIRST_BACKOFF_S = 0.5
CALL_S = 10.0
# Less than this is too short to be worth asking.
MIN_CALL_S = 0.2

_REMAINING = re.compile(r"(?:^|[;,\s])r=(\d{1,9})")
_RESET = re.compile(r"(?:^|[;,\s])t=(\d{1,9})")
_RETRYABLE = (RemoteBusy, ConnectFailed, Interrupted, BadAnswer)


class HasHeaders(Protocol):
    """Anything that came as an HTTP answer."""

    @property
    def headers(self) -> Message: ...


Got = TypeVar("Got", bound=HasHeaders)


class Budget(Protocol):
    """Which host may not be asked yet; `key` is a host with whose credential it is asked."""

    def wait_s(self, key: str) -> float:
        """Seconds until `key` may be asked again; 0 when it may be asked now."""

    def note(self, key: str, seconds: float) -> None:
        """`key` asked not to be asked for `seconds`."""


class MemoryBudget:
    """A budget of this process, safe for its threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._not_before: dict[str, float] = {}

    def wait_s(self, key: str) -> float:
        with self._lock:
            wait = self._not_before.get(key, 0.0) - self._clock()
            if wait <= 0:
                self._not_before.pop(key, None)
            return max(wait, 0.0)

    def note(self, key: str, seconds: float) -> None:
        until = self._clock() + min(max(seconds, 0.0), MAX_WAIT_S)
        with self._lock:
            self._not_before[key] = max(until, self._not_before.get(key, 0.0))


def fingerprint(credential: Credential | None) -> str:
    """Whose credential it is, without what it is; "" for none."""
    if credential is None:
        return ""
    return hashlib.sha256(f"{credential.service}\0{credential.secret}".encode()).hexdigest()[:16]


def rate_limit_wait_s(headers: Message) -> float:
    """Seconds that `RateLimit: "api";r=0;t=120` asks to wait; 0 while something is left.

    The form is HuggingFace's (hub documentation, rate limits).
    """
    text = str(headers.get("RateLimit") or "")[:500]
    remaining, reset = _REMAINING.search(text), _RESET.search(text)
    if remaining is None or reset is None or int(remaining[1]) > 0:
        return 0.0
    return min(float(reset[1]), MAX_WAIT_S)


@dataclass
class Calls:
    """Calls to one source that all end before `deadline` (of `clock`, in seconds)."""

    client: GuardedClient
    budget: Budget
    deadline: float
    credential: Credential | None = None
    retries: int = 2
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = field(default=random.random)

    @property
    def has_token(self) -> bool:
        return self.credential is not None

    def get_json(self, url: str, params: dict[str, Any] | None = None) -> JsonAnswer:
        """The JSON at `url`, at most 5 MB, asked again while the source is busy; see `attempt`."""
        return self.attempt(
            url,
            lambda deadline_s: self.client.get_json(
                url,
                credential=self.credential,
                params=params,
                max_bytes=MAX_JSON_BYTES,
                deadline_s=deadline_s,
            ),
        )

    def open(self, url: str, headers: dict[str, str]) -> AbstractContextManager[Answer]:
        """One answer, its body unread, tried once; raises `transfer.errors` and the deadline."""
        return self.client.open(
            url, credential=self.credential, headers=headers, deadline_s=self._time_for_a_call()
        )

    def remaining_s(self) -> float:
        """Seconds until everything must have ended."""
        return self.deadline - self.clock()

    def attempt(self, url: str, call: Callable[[float], Got]) -> Got:
        """What `call` returns, called again while the server is busy; it gets its own time in s.

        Raises SourceUnavailable, and what of `transfer.errors` asking again does not change.
        """
        key = self._budget_key(url)
        host = origin_of(url).host
        for attempt in range(self.retries + 1):
            self._pause(self.budget.wait_s(key), host)
            try:
                answer = call(self._time_for_a_call())
            except _RETRYABLE as error:
                asked = self._asked_wait_s(error, key)
                if attempt == self.retries:
                    raise self._unavailable(host, asked or None) from error
                self._pause(asked or self._backoff_s(attempt), host)
            except AuthRequired as error:
                self._note(key, rate_limit_wait_s(error.headers))
                raise
            else:
                self._note(key, rate_limit_wait_s(answer.headers))
                return answer
        raise RuntimeError("A source was asked less than once.")

    def _asked_wait_s(self, error: TransferError, key: str) -> float:
        """What the source asked for, noted for everybody; 0 when it asked for nothing."""
        if not isinstance(error, RemoteBusy):
            return 0.0
        asked = max(error.retry_after_s or 0.0, rate_limit_wait_s(error.headers))
        self._note(key, asked)
        return asked

    def _backoff_s(self, attempt: int) -> float:
        """Twice as long every time, give or take a half, so that many do not come back at once."""
        return float(FIRST_BACKOFF_S * 2**attempt * (0.5 + self.jitter()))

    def _pause(self, seconds: float, host: str) -> None:
        """Wait, unless that would leave no time to ask."""
        if seconds <= 0:
            return
        if seconds + MIN_CALL_S > self.remaining_s():
            raise self._unavailable(host, seconds)
        self.sleep(seconds)

    def _time_for_a_call(self) -> float:
        remaining = self.remaining_s()
        if remaining < MIN_CALL_S:
            raise self._unavailable("The source", None)
        return min(remaining, CALL_S)

    def _budget_key(self, url: str) -> str:
        origin = origin_of(url)
        return f"{origin.host}:{origin.port}#{fingerprint(self.credential)}"

    def _note(self, key: str, seconds: float) -> None:
        if seconds > 0:
            self.budget.note(key, seconds)

    def _unavailable(self, host: str, wait_s: float | None) -> SourceUnavailable:
        when = "Try again later." if wait_s is None else f"Try again in {max(1, round(wait_s))} s."
        return SourceUnavailable(
            f"{host} does not answer or is too busy. {when}", retry_after_s=wait_s, host=host
        )
