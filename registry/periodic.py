"""What the registry does by itself: repeats lost wishes, finishes deletions, empties the trash."""

from __future__ import annotations

import logging
import stat
from datetime import timedelta
from functools import partial

from django.utils import timezone

from config.errors import ModelyardError, boundary
from ops.jobs import job
from registry import services
from registry.models import Asset, AssetPreview, AssetStatus, PreviewStatus, Root
from registry.roots import trash_dir
from registry.services.sending import send
from registry.tasks import fetch_previews, refresh_asset, verify_asset

logger = logging.getLogger(__name__)

#: A wish that is older was lost; hashing a large file may take this long.
LOST_AFTER = timedelta(minutes=30)
PICTURES_LOST_AFTER = timedelta(minutes=5)
DELETION_STUCK_AFTER = timedelta(minutes=10)
TRASH_KEPT = timedelta(days=7)
BATCH = 200


@job(
    "registry.repeat-lost",
    name="Repeat lost wishes",
    description="Sends again what was asked of assets and not answered, finishes deletions.",
    every_s=300,
)
def repeat_lost() -> int:
    """How many were sent again."""
    now = timezone.now()
    sent = 0
    for column, task in (
        ("verify_requested_at", verify_asset),
        ("refresh_requested_at", refresh_asset),
    ):
        old = Asset.objects.filter(**{f"{column}__lt": now - LOST_AFTER})
        for asset_id in old.values_list("pk", flat=True)[:BATCH]:
            send(task, asset_id)
            sent += 1
    pictures = AssetPreview.objects.filter(
        status=PreviewStatus.PENDING, created_at__lt=now - PICTURES_LOST_AFTER
    )
    for asset_id in set(pictures.values_list("asset_id", flat=True)[:BATCH]):
        send(fetch_previews, asset_id)
        sent += 1
    stuck = Asset.objects.filter(
        status=AssetStatus.DELETING, updated_at__lt=now - DELETION_STUCK_AFTER
    )
    for asset in stuck.select_related("root")[:BATCH]:
        with boundary("finishing a deletion", partial(_note, asset.pk)):
            services.delete_asset(asset=asset, user=None)
    return sent


@job(
    "registry.empty-trash",
    name="Empty the trash",
    description="Takes away files that were deleted or replaced a week ago.",
    cron="40 3 * * *",
)
def empty_trash() -> int:
    """How many files are gone for good."""
    oldest = (timezone.now() - TRASH_KEPT).timestamp()
    gone = 0
    for root in Root.objects.all():
        with boundary("emptying the trash", partial(_note, root.pk)):
            for path in trash_dir(root).iterdir():
                status = path.lstat()
                # The change time: moving a file into the trash sets it.
                if stat.S_ISREG(status.st_mode) and status.st_ctime < oldest:
                    path.unlink()
                    gone += 1
    return gone


def _note(row_id: int, error: ModelyardError) -> None:
    logger.warning("Row %s: %s: %s", row_id, error.code, error.message)
