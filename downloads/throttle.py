"""Bytes per second for all processes together, granted by the database in pieces.

One row says until when the line is sold. Who wants bytes moves that moment on by compare-and-set;
who finds it in the future waits for it. A process buys a quarter of a second at a time, so the row
is written a few times a second whatever the speed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from downloads.models import ByteBudget

NAME = "all"
PIECE_SECONDS = 0.25
MAX_WAIT_SECONDS = 5.0


class DatabaseThrottle:
    """`transfer.protocols.Throttle` shared by all processes of the service."""

    def __init__(self, bytes_per_second: int) -> None:
        self._bytes_per_second = bytes_per_second
        self._credit = 0

    def take(self, n_bytes: int) -> float:
        """Note bytes that have come; answers for how many seconds none should be read."""
        if n_bytes <= self._credit:
            self._credit -= n_bytes
            return 0.0
        piece = max(n_bytes - self._credit, int(self._bytes_per_second * PIECE_SECONDS))
        wait_s = self._buy(timedelta(seconds=piece / self._bytes_per_second))
        self._credit += piece - n_bytes
        return wait_s

    def _buy(self, duration: timedelta) -> float:
        while True:
            spent_until, now = self._read()
            begins = max(spent_until, now)
            if ByteBudget.objects.filter(name=NAME, spent_until=spent_until).update(
                spent_until=begins + duration
            ):
                return min((begins - now).total_seconds(), MAX_WAIT_SECONDS)

    def _read(self) -> tuple[datetime, datetime]:
        rows = ByteBudget.objects.filter(name=NAME).values_list("spent_until", Now())
        if not rows.exists():
            # A value of ours, not the database's: SQLite compares times as text, and the one of
            # its own clock has fewer digits than the one that it is compared with.
            ByteBudget.objects.get_or_create(name=NAME, defaults={"spent_until": timezone.now()})
        spent_until, now = rows.get()
        return spent_until, now


def throttle() -> DatabaseThrottle | None:
    """The budget of the settings, None when there is no limit."""
    limit: int = settings.MAX_BYTES_PER_SECOND
    return DatabaseThrottle(limit) if limit else None
