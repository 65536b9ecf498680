"""What an error means for a download: try again later, wait for a moment, or the end.

Five tries follow the first one. Their distance grows from INITIAL_BACKOFF_SECS by
BACKOFF_MULTIPLIER to MAX_BACKOFF_SECS, with a quarter of it left to chance, so that many downloads
of one source do not come back together. What a server asks for (Retry-After) is obeyed up to an
hour. An error is tried again when its class says `retryable`; everything else is final: a wrong
token, a file that is gone, a full disk do not change by waiting.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.utils import timezone

from config.errors import ModelyardError
from downloads.errors import PartialLost
from sources.errors import EarlyAccess

MAX_RETRY_AFTER_SECONDS = 3600.0
JITTER = 0.25


class Action(StrEnum):
    RETRY = "retry"
    PARK = "park"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Decision:
    """`wait_s` belongs to RETRY, `until` to PARK; `message` is what the row says."""

    action: Action
    message: str
    wait_s: float = 0.0
    until: datetime | None = None


def decide(
    error: ModelyardError, *, tries_before: int, chance: random.Random | None = None
) -> Decision:
    """What follows from `error`, after `tries_before` tries that this policy made."""
    if isinstance(error, EarlyAccess) and error.until is not None and error.until > timezone.now():
        return Decision(Action.PARK, error.message, until=error.until)
    if not error.retryable:
        return Decision(Action.FAIL, error.message)
    if tries_before >= settings.MAX_RETRIES:
        return Decision(Action.FAIL, f"{error.message} Tried {tries_before + 1} times.")
    if isinstance(error, PartialLost):
        return Decision(Action.RETRY, error.message)
    wait_s = backoff_s(tries_before, chance or random.SystemRandom())
    asked_s = getattr(error, "retry_after_s", None)
    if asked_s is not None:
        wait_s = max(wait_s, min(float(asked_s), MAX_RETRY_AFTER_SECONDS))
    return Decision(Action.RETRY, error.message, wait_s=wait_s)


def backoff_s(tries_before: int, chance: random.Random) -> float:
    """Seconds before the next try: 60, 120, 240 … 3600 by default, give or take a quarter."""
    grown = settings.INITIAL_BACKOFF_SECS * settings.BACKOFF_MULTIPLIER**tries_before
    wait_s = min(grown, settings.MAX_BACKOFF_SECS) * chance.uniform(1 - JITTER, 1 + JITTER)
    return float(min(wait_s, settings.MAX_BACKOFF_SECS))
