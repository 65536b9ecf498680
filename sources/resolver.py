"""The door to all sources: a reference in, a resolution out, within a deadline, cached.

A cache key is a hash of the endpoint, the reference and whose credential was used, so nobody sees
through the cache what only another's token may see. A link whose query may be a secret is never
cached, and neither is an answer that a trouble of the source left incomplete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from sources import civitai, direct, huggingface
from sources.calls import Budget, Calls, MemoryBudget, fingerprint
from sources.errors import NotFound, SourceUnavailable, TokenRejected
from sources.reading import as_dict, as_text
from sources.refs import (
    CIVITAI,
    HUGGINGFACE,
    CivitaiReference,
    DirectReference,
    Endpoints,
    Reference,
)
from sources.refusals import NAMES, explain
from sources.resolution import Resolution, SourceFile
from transfer.errors import AuthRequired, RemoteGone, TransferError
from transfer.http import Credential, GuardedClient

logger = logging.getLogger(__name__)

CACHE_S = 300
DEADLINE_S = 20.0
CHECK_DEADLINE_S = 10.0
# Changes when what is cached changes its shape.
_CACHE_VERSION = "1"


class Cache(Protocol):
    """Where resolutions wait; Django's cache has this shape."""

    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any, timeout_s: int, /) -> Any: ...


class Resolver:
    """Asks the sources. Safe to share between threads; one per process is enough.

    `retries` are those of one call; `sleep`, `clock` and `now` are for tests.
    """

    def __init__(
        self,
        client: GuardedClient,
        endpoints: Endpoints,
        cache: Cache | None = None,
        budget: Budget | None = None,
        *,
        retries: int = 2,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.client = client
        self.endpoints = endpoints
        self.cache = cache
        self.budget = budget or MemoryBudget(clock)
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        self._now = now or (lambda: datetime.now(UTC))

    def resolve(
        self,
        reference: Reference,
        *,
        credential: Credential | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Resolution:
        """Everything the source says about `reference`; from the cache for five minutes.

        Raises the errors of `sources`; UrlNotAllowed and RedirectRefused for a forbidden link.
        """
        credential = self._own(reference, credential)
        key = self._cache_key(reference, credential)
        cached = self._cached(key)
        if cached is not None:
            return cached
        resolution = self._ask(reference, self._calls(credential, deadline_s))
        if key and self.cache is not None and not resolution.extra.get("is_incomplete"):
            self.cache.set(key, resolution.as_dict(), CACHE_S)
        return resolution

    def locate(
        self,
        reference: Reference,
        *,
        file_id: str,
        credential: Credential | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> SourceFile:
        """One file as the source offers it now, past the cache, with a link that should answer.

        For a CivitAI file whose id the download route does not know (a VAE of a linked version)
        the link names it by its parameters. Raises as `resolve`; NotFound when it is gone.
        """
        credential = self._own(reference, credential)
        calls = self._calls(credential, deadline_s)
        if isinstance(reference, CivitaiReference):
            return civitai.locate(reference, file_id, calls=calls, endpoint=self.endpoints.civitai)
        resolution = self._ask(reference, calls, describe=False)
        try:
            return resolution.file(file_id)
        except KeyError:
            raise NotFound("The source no longer offers this file.", file_id=file_id) from None

    def check_token(self, service: str, credential: Credential) -> str:
        """The name of the account that a token belongs to.

        Raises TokenRejected when the service says that it knows no such token, and
        SourceUnavailable when it does not say.
        """
        path = {CIVITAI: "/api/v1/me", HUGGINGFACE: "/api/whoami-v2"}[service]
        calls = self._calls(credential, CHECK_DEADLINE_S)
        try:
            value = as_dict(calls.get_json(self.endpoints.url(service) + path).value)
        except AuthRequired as error:
            if error.body.lstrip()[:1] == b"<":
                raise explain(error, service, had_token=True) from error
            raise TokenRejected(f"{NAMES[service]} does not know this token.") from error
        except RemoteGone as error:
            raise SourceUnavailable(f"{NAMES[service]} does not say whose token it is.") from error
        except TransferError as error:
            raise explain(error, service, had_token=True) from error
        name = as_text(value.get("username") or value.get("name"), 200)
        if not name:
            # A wrong key is silently anonymous at CivitAI's public routes.
            raise TokenRejected(f"{NAMES[service]} does not know this token.")
        return name

    def _ask(self, reference: Reference, calls: Calls, *, describe: bool = True) -> Resolution:
        if isinstance(reference, CivitaiReference):
            return civitai.resolve(
                reference, calls=calls, endpoint=self.endpoints.civitai, now=self._now()
            )
        if isinstance(reference, DirectReference):
            return direct.resolve(reference, calls=calls)
        return huggingface.resolve(
            reference, calls=calls, endpoint=self.endpoints.huggingface, describe=describe
        )

    def _own(self, reference: Reference, credential: Credential | None) -> Credential | None:
        """A credential is used for its own service only, whatever was handed in."""
        if credential is None or credential.service != reference.source_type:
            return None
        return credential

    def _calls(self, credential: Credential | None, deadline_s: float) -> Calls:
        return Calls(
            client=self.client,
            budget=self.budget,
            deadline=self._clock() + deadline_s,
            credential=credential,
            retries=self.retries,
            sleep=self._sleep,
            clock=self._clock,
        )

    def _cache_key(self, reference: Reference, credential: Credential | None) -> str:
        """The key, or nothing for what must not be cached."""
        if self.cache is None or reference.has_secret:
            return ""
        parts = [
            _CACHE_VERSION,
            self.endpoints.civitai,
            self.endpoints.huggingface,
            reference.source_type,
            str(reference),
            fingerprint(credential),
        ]
        return f"resolution:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"

    def _cached(self, key: str) -> Resolution | None:
        plain = self.cache.get(key) if key and self.cache is not None else None
        if plain is None:
            return None
        try:
            return Resolution.from_dict(plain)
        except (KeyError, TypeError, ValueError):
            logger.warning("A cached resolution has another shape and is asked for again.")
            return None
