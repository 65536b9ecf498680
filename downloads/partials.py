"""Unfinished bytes: where they lie, and how they go away."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path

from django.db.models.functions import Now

from downloads.errors import PartialLost
from downloads.models import Download, PartialFile
from downloads.states import DownloadStatus
from registry.errors import RootUnavailable
from registry.models import Root
from registry.roots import partials_dir

logger = logging.getLogger(__name__)


def path_of(download: Download) -> Path:
    """The partial of a download whose bytes are complete. Raises PartialLost, RootUnavailable."""
    partial = PartialFile.objects.select_related("root").filter(download=download).first()
    path = partials_dir(partial.root) / partial.file_name if partial else None
    if path is None or not path.is_file():
        raise PartialLost(
            "The downloaded bytes are not where they were; they will be downloaded again.",
            download=download.pk,
        )
    return path


def discard(download: Download) -> None:
    """Delete the bytes and their ledger; nothing happens when there are none.

    The file goes first: a crash between leaves a row that leads here again. A root that is not
    there keeps the row, and the reconciler comes back.
    """
    for partial in PartialFile.objects.select_related("root").filter(download=download):
        if unlink(partial):
            PartialFile.objects.filter(pk=partial.pk).delete()


def unlink(partial: PartialFile) -> bool:
    """False when the root cannot be reached."""
    try:
        (partials_dir(partial.root) / partial.file_name).unlink(missing_ok=True)
    except (OSError, RootUnavailable):
        logger.warning("The partial of download %s cannot be deleted now", partial.download_id)
        return False
    return True


def delete_orphans(older_than: timedelta) -> int:
    """Delete files in the partials directories that no ledger names; returns how many.

    Younger ones stay: a file is made before its ledger is.
    """
    deleted = 0
    before = time.time() - older_than.total_seconds()
    for root in Root.objects.filter(writable=True):
        try:
            directory = partials_dir(root)
        except RootUnavailable:
            continue
        known = set(PartialFile.objects.filter(root=root).values_list("file_name", flat=True))
        for path in directory.iterdir():
            if path.name in known or path.is_dir() or path.lstat().st_mtime > before:
                continue
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted


def expire_failed(after: timedelta) -> int:
    """Delete the bytes of downloads that failed so long ago; a retry starts them from nothing."""
    failed = Download.objects.filter(
        status=DownloadStatus.FAILED, partial__isnull=False, updated_at__lt=Now() - after
    ).unowned()
    count = 0
    for download in failed:
        discard(download)
        Download.objects.filter(pk=download.pk).update(downloaded_bytes=0)
        count += 1
    return count
