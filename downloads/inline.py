"""Run a download in this process: for a terminal, with nothing else running and no broker needed.

The same rows, claims and stages as everywhere, so workers that do run are no harm: whoever claims a
stage does it, and the other one watches.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.utils import timezone

from downloads import dispatcher, pipeline, transitions
from downloads.errors import IllegalTransition
from downloads.models import Download
from downloads.progress import OnProgress
from downloads.stages import Outcome
from downloads.states import DownloadStatus
from downloads.transitions import WAITS_UNTIL

S = DownloadStatus

LOOK_SECONDS = 0.2
#: Where a person or a moment far away decides.
RESTS = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.REVIEW, S.PARKED, S.PAUSED})


def run(
    download: Download,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: OnProgress | None = None,
    patience_s: float = float("inf"),
) -> Download:
    """Bring a download, or every file of a bundle, to its end; returns it as it is then.

    Waits for a retry that is due within `patience_s` seconds, and leaves a later one as it is.
    `on_progress` gets (bytes, total or None, bytes per second or
    None) of the file that runs. When `should_stop` says so, the bytes are kept and the row is
    paused, unless a worker has it.
    """
    children = list(Download.objects.filter(parent=download).order_by("pk"))
    for file in children or [download]:
        _run_file(file, should_stop, on_progress, patience_s)
        if should_stop():
            break
    download.refresh_from_db()
    return download


def _run_file(
    download: Download,
    should_stop: Callable[[], bool],
    on_progress: OnProgress | None,
    patience_s: float,
) -> None:
    while True:
        download.refresh_from_db()
        status = S(download.status)
        if status in RESTS or _is_far(download, patience_s):
            return
        if should_stop():
            _pause(download)
            return
        if not _step(download, status, should_stop, on_progress):
            _watch(download, on_progress)


def _is_far(download: Download, patience_s: float) -> bool:
    if download.status != S.RETRY_WAITING or download.retry_at is None:
        return False
    return (download.retry_at - timezone.now()).total_seconds() > patience_s


def _step(
    download: Download,
    status: DownloadStatus,
    should_stop: Callable[[], bool],
    on_progress: OnProgress | None,
) -> bool:
    """Do what is next; False when somebody else does it, or it is not time yet."""
    if status == S.QUEUED:
        return dispatcher.start_now(download)
    if status in WAITS_UNTIL:
        return _wake(download)
    if status == S.DOWNLOADING:
        outcome = pipeline.fetch_stage(download.pk, asked=should_stop, on_progress=on_progress)
    elif status == S.VERIFYING:
        outcome = pipeline.verify_stage(download.pk, asked=should_stop)
    else:
        outcome = pipeline.register_stage(download.pk, asked=should_stop)
    return outcome is not Outcome.NOTHING


def _wake(download: Download) -> bool:
    if download.retry_at is not None and download.retry_at > timezone.now():
        return False
    try:
        transitions.move(download, S.QUEUED, retry_at=None)
    except IllegalTransition:
        return False
    return True


def _watch(download: Download, on_progress: OnProgress | None) -> None:
    if on_progress is not None and download.status == S.DOWNLOADING:
        on_progress(
            download.downloaded_bytes, download.file_size_bytes, download.download_speed_bps
        )
    time.sleep(LOOK_SECONDS)


def _pause(download: Download) -> None:
    """Nobody runs it: it waits for the terminal to come back. A worker's row is left to it."""
    if download.owner or download.status not in {S.QUEUED, S.RETRY_WAITING}:
        return
    try:
        transitions.move(download, S.PAUSED, retry_at=None)
    except IllegalTransition:
        return
