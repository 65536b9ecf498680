"""Unfinished bytes: where they lie, and how they go away."""

from __future__ import annotations

import logging
from pathlib import Path

from downloads.errors import PartialLost
from downloads.models import Download, PartialFile
from registry.errors import RootUnavailable
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
