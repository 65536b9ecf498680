"""How much a person may ask for. Top-level rows count; capacity counts bundles, never single files.

Who may run jobs (admins) is not limited.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from downloads.errors import QueueFull
from downloads.models import Download, DownloadQuerySet, Priority

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of one limit is used; `resets_at` is None where waiting alone does not help."""

    name: str
    used: int
    maximum: int
    resets_at: datetime | None = None

    @property
    def is_reached(self) -> bool:
        return self.used >= self.maximum


def is_exempt(user: Any) -> bool:
    return bool(user.has_perm("ops.run_job"))


def limits_of(user: Any) -> list[LimitUse]:
    """Every limit with its use: requests today, rows in the queue, bundles per hour and per day."""
    mine = Download.objects.top_level().filter(initiated_by=user)
    asked = mine.exclude(priority=Priority.REPAIR)
    bundles = Download.objects.filter(is_bundle=True).exclude(priority=Priority.REPAIR)
    return [
        LimitUse("queue_size", mine.unfinished().count(), settings.USER_MAX_QUEUE_SIZE),
        _windowed("requests_per_day", asked, DAY, settings.USER_MAX_REQUESTS_PER_DAY),
        _windowed("bundles_per_hour", bundles, HOUR, settings.MAX_BUNDLES_PER_HOUR),
        _windowed("bundles_per_day", bundles, DAY, settings.MAX_BUNDLES_PER_DAY),
    ]


def check_limits(user: Any, *, is_bundle: bool) -> None:
    """Raises QueueFull (429) that names the limit and when there is room again."""
    if is_exempt(user):
        return
    for use in limits_of(user):
        if not use.is_reached or (use.name.startswith("bundles") and not is_bundle):
            continue
        wait_s = None
        when = "when some of your downloads are done"
        if use.resets_at is not None:
            wait_s = max(1.0, (use.resets_at - timezone.now()).total_seconds())
            when = f"after {use.resets_at:%Y-%m-%d %H:%M} UTC"
        raise QueueFull(
            f"The limit of {use.maximum} ({use.name.replace('_', ' ')}) is reached. "
            f"Try again {when}.",
            retry_after_s=wait_s,
            limit=use.name,
            used=use.used,
            maximum=use.maximum,
        )


def _windowed(name: str, rows: DownloadQuerySet, window: timedelta, maximum: int) -> LimitUse:
    recent = rows.filter(created_at__gt=timezone.now() - window)
    oldest = recent.order_by("created_at").values_list("created_at", flat=True).first()
    return LimitUse(name, recent.count(), maximum, oldest + window if oldest else None)
