"""The guarded client, the resolver and the services' addresses, built from the settings.

The one place that builds them: one of each per process (a pool of connections must not be shared
across a fork) and per set of settings.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from sources.refs import Endpoints
from sources.resolver import Resolver
from transfer.http import GuardedClient, OutboundPolicy
from transfer.urls import origin_of

logger = logging.getLogger(__name__)

PUBLIC = Endpoints()


class SharedCache:
    """Django's cache as `sources` wants it. A cache that is away is a cache that knows nothing."""

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            value: dict[str, Any] | None = cache.get(f"sources:{key}")
        except (RedisError, ValueError):
            logger.debug("The cache does not answer; asking the source again.")
            return None
        return value

    def set(self, key: str, value: dict[str, Any], timeout_s: float) -> None:
        try:
            cache.set(f"sources:{key}", value, int(timeout_s))
        except (RedisError, ValueError):
            logger.debug("The cache does not take an answer of a source.")


def endpoints() -> Endpoints:
    """Where the services live: `CIVITAI_ENDPOINT` and `HF_ENDPOINT`."""
    return Endpoints(civitai=settings.CIVITAI_ENDPOINT, huggingface=settings.HF_ENDPOINT)


def guarded_client() -> GuardedClient:
    """The client of this process; `OUTBOUND_ALLOW` and own endpoints are its only exceptions."""
    return _client(os.getpid(), outbound_policy())


def resolver(*, cached: bool = True) -> Resolver:
    """The resolver of this process. Without `cached` every question goes to the source."""
    return _resolver(os.getpid(), outbound_policy(), endpoints(), cached)


def outbound_policy() -> OutboundPolicy:
    """`OUTBOUND_ALLOW` and the endpoints that an admin has set: those count as the service, private
    or not. Raises ValueError or UrlNotAllowed for what cannot be read."""
    places = endpoints()
    own = [
        f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"
        for url, public in (
            (places.civitai, PUBLIC.civitai),
            (places.huggingface, PUBLIC.huggingface),
        )
        if url != public
        for origin in (origin_of(url),)
    ]
    return OutboundPolicy.from_allow_list(
        (*settings.OUTBOUND_ALLOW, *own),
        connect_timeout_s=settings.CONNECT_TIMEOUT_SECONDS,
        idle_timeout_s=settings.IDLE_TIMEOUT_SECONDS,
    )


@functools.lru_cache(maxsize=4)
def _client(_pid: int, policy: OutboundPolicy) -> GuardedClient:
    return GuardedClient(policy)


@functools.lru_cache(maxsize=8)
def _resolver(pid: int, policy: OutboundPolicy, places: Endpoints, cached: bool) -> Resolver:  # noqa: FBT001
    return Resolver(_client(pid, policy), places, SharedCache() if cached else None)
