"""What a person may ask for, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from downloads.limits import LimitUse

_LIMITS = {
    "queue_size": ("In the queue", "everything of yours that is not finished"),
    "requests_per_day": ("Requests in 24 hours", "each link that you start"),
    "bundles_per_hour": ("Bundles in an hour", "everybody's together"),
    "bundles_per_day": ("Bundles in 24 hours", "everybody's together"),
}


@dataclass(frozen=True, slots=True)
class LimitWords:
    name: str
    title: str
    note: str
    used: int
    maximum: int
    is_reached: bool
    resets_at: datetime | None


def limit_in_words(use: LimitUse) -> LimitWords:
    title, note = _LIMITS.get(use.name, (use.name.replace("_", " "), ""))
    return LimitWords(use.name, title, note, use.used, use.maximum, use.is_reached, use.resets_at)
