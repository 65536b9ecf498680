"""How far, how fast: measured over a few seconds, written at most twice a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce, Now

from downloads import claims
from downloads.models import Download
from downloads.states import DownloadStatus
from downloads.transitions import Claim

WINDOW_SECONDS = 5.0
WRITE_EVERY_SECONDS = 0.5
#: A shorter span says nothing about a speed.
SHORTEST_SPAN_SECONDS = 0.5

#: Bytes that arrive in the second after a pause are kept, so they count.
COUNTED = frozenset({DownloadStatus.DOWNLOADING, DownloadStatus.PAUSED})

OnProgress = Callable[[int, int | None, int | None], None]


class Meter:
    """Speed over the last seconds. Bytes that were there before the first note do not count."""

    def __init__(self, window_s: float = WINDOW_SECONDS) -> None:
        self._window_s = window_s
        self._notes: deque[tuple[float, int]] = deque()

    def note(self, at: float, done_bytes: int) -> None:
        if self._notes and done_bytes < self._notes[-1][1]:
            self._notes.clear()  # It started again.
        self._notes.append((at, done_bytes))
        while len(self._notes) > 2 and at - self._notes[1][0] >= self._window_s:
            self._notes.popleft()

    @property
    def bytes_per_second(self) -> int | None:
        """None until there is enough to say."""
        if len(self._notes) < 2:
            return None
        (first_at, first), (last_at, last) = self._notes[0], self._notes[-1]
        span = last_at - first_at
        return int((last - first) / span) if span >= SHORTEST_SPAN_SECONDS else None


class ProgressWriter:
    """Writes the progress columns of a claimed row, and of the bundle it belongs to.

    A lost claim is not reported here: the lease's thread notices it.
    """

    def __init__(
        self,
        claim: Claim,
        parent_id: int | None,
        on_progress: OnProgress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claim = claim
        self._parent_id = parent_id
        self._on_progress = on_progress
        self._clock = clock
        self._meter = Meter()
        self._written_at: float | None = None

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        now = self._clock()
        self._meter.note(now, done_bytes)
        if self._on_progress is not None:
            self._on_progress(done_bytes, total_bytes, self._meter.bytes_per_second)
        if self._written_at is not None and now - self._written_at < WRITE_EVERY_SECONDS:
            return
        self._written_at = now
        values: dict[str, object] = {
            "downloaded_bytes": done_bytes,
            "download_speed_bps": self._meter.bytes_per_second,
            "progress_at": Now(),
            "updated_at": Now(),
        }
        if total_bytes is not None:
            values["file_size_bytes"] = total_bytes
        # A worker that is about to let go still has the claim; a cancelled row keeps its zero.
        rows = claims.owned(self._claim).filter(status__in=COUNTED)
        if rows.update(**values) and self._parent_id is not None:
            write_bundle_progress(self._parent_id)


def write_bundle_progress(parent_id: int) -> None:
    """Bytes and speed of a bundle, summed in the database; its status is not touched."""
    children = Download.objects.filter(parent=OuterRef("pk")).values("parent")
    running = children.filter(status=DownloadStatus.DOWNLOADING)
    Download.objects.filter(pk=parent_id).update(
        downloaded_bytes=Coalesce(
            Subquery(children.annotate(total=Sum("downloaded_bytes")).values("total")), 0
        ),
        download_speed_bps=Subquery(
            running.annotate(total=Sum("download_speed_bps")).values("total")
        ),
        progress_at=Now(),
    )
