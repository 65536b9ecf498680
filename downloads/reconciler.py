"""The pass that makes losing a message, a worker or the broker cost time and nothing else.

It compares the rows with the database's clock, brings them in order by the same filtered UPDATEs as
everybody, and answers what should be sent again. It is safe to run twice at once; the Sweep row
only spares the work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from config.errors import ModelyardError, boundary
from downloads import claims, dispatcher, partials, transitions
from downloads.errors import IllegalTransition, WorkerCrashed
from downloads.models import Download, Slot, Sweep
from downloads.states import FINAL, RUNNING, DownloadStatus

logger = logging.getLogger(__name__)

S = DownloadStatus

NAME = "downloads.reconcile"
MAX_CRASHES = 3
#: A pass that needs longer has died.
LONGEST_PASS = timedelta(minutes=5)
#: How long the bytes of a failed download wait for a retry.
KEEP_FAILED = timedelta(days=14)

Wanted = list[tuple[int, DownloadStatus]]


def reconcile() -> Wanted:
    """Bring the rows in order; answers (id, status) of the stages to send. [] while one runs."""
    with sweep(NAME, LONGEST_PASS) as mine:
        if not mine:
            return []
        wanted: Wanted = []
        for step in (
            _free_stopped,
            _end_cancelled,
            _free_slots,
            _wake_due,
            _refresh_bundles,
        ):
            with boundary(step.__name__, _failed):
                step()
        for find in (_expired_leases, _missed_pickups, _dispatched):
            with boundary(find.__name__, _failed):
                wanted.extend(find())
        return wanted


def _failed(error: ModelyardError) -> None:
    """One step that fails does not keep the others from their work; the next pass tries again."""
    logger.warning("A step of the reconciler failed: %s", error.code)


@contextmanager
def sweep(name: str, longest: timedelta) -> Iterator[bool]:
    """True for the one process that may run the pass now."""
    Sweep.objects.get_or_create(name=name)
    rows = Sweep.objects.filter(name=name)
    free = Q(running_until__isnull=True) | Q(running_until__lt=Now())
    if not rows.filter(free).update(running_until=Now() + longest):
        yield False
        return
    try:
        yield True
    finally:
        rows.update(running_until=None, finished_at=Now())


def _expired_leases() -> Wanted:
    """Rows whose worker died: counted, then queued or claimed again; the third time they fail."""
    wanted: Wanted = []
    for download in Download.objects.running().filter(lease_expires_at__lt=Now()).exclude(owner=""):
        status = S(download.status)
        try:
            if _take_from_dead(download) and status != S.DOWNLOADING:
                wanted.append((download.pk, status))
        except IllegalTransition:
            continue  # A command was faster.
    return wanted


def _take_from_dead(download: Download) -> bool:
    """True when the row still runs after this."""
    dead_owner = download.owner
    with transaction.atomic():
        # The lease is looked at once more in the UPDATE: it may have been renewed meanwhile.
        taken = Download.objects.filter(
            pk=download.pk, owner=dead_owner, lease_expires_at__lt=Now(), status__in=RUNNING
        ).update(
            owner="",
            lease_expires_at=None,
            crash_count=F("crash_count") + 1,
            pickup_deadline=claims.pickup(),
            download_speed_bps=None,
        )
        if not taken:
            return False
        download.refresh_from_db()
        logger.warning(
            "The worker %s of download %s died (%s)", dead_owner, download.pk, download.crash_count
        )
        if download.crash_count >= MAX_CRASHES:
            transitions.move(
                download,
                S.FAILED,
                error_code=WorkerCrashed.code,
                error_message=(
                    f"{MAX_CRASHES} workers died while they ran this download. Retry it, and tell "
                    "your admin if it happens again."
                ),
            )
            return False
        if download.status == S.DOWNLOADING:
            transitions.move(download, S.QUEUED)
    return True


def _missed_pickups() -> Wanted:
    """Rows that no worker took: the message is lost, or waits. It costs no retry."""
    late = Q(pickup_deadline__isnull=True) | Q(pickup_deadline__lt=Now())
    wanted: Wanted = []
    for download in Download.objects.running().filter(late, owner=""):
        if download.status == S.DOWNLOADING:
            _give_back(download)
        elif (
            Download.objects.filter(pk=download.pk, owner="", status=download.status)
            .filter(late)
            .update(pickup_deadline=claims.pickup())
        ):
            wanted.append((download.pk, S(download.status)))
    return wanted


def _give_back(download: Download) -> None:
    with transaction.atomic():
        # Only while nobody has claimed it; the attempt of the next dispatch fences the message.
        free = Download.objects.filter(pk=download.pk, owner="", status=S.DOWNLOADING)
        if not free.update(pickup_deadline=None):
            return
        try:
            transitions.move(download, S.QUEUED)
        except IllegalTransition:
            return


def _dispatched() -> Wanted:
    return [(pk, S.DOWNLOADING) for pk in dispatcher.dispatch()]


def _wake_due() -> None:
    """retry_waiting and parked rows whose moment has come."""
    waiting = transitions.WAITS_UNTIL
    for download in Download.objects.files().filter(status__in=waiting, retry_at__lte=Now()):
        try:
            transitions.move(download, S.QUEUED, retry_at=None)
        except IllegalTransition:
            continue


def _free_stopped() -> None:
    """Rows that were paused or cancelled while their worker was dead: nobody will let them go."""
    Download.objects.exclude(status__in=RUNNING).exclude(owner="").filter(
        lease_expires_at__lt=Now()
    ).update(owner="", lease_expires_at=None)


def _end_cancelled() -> None:
    """Bytes that nobody needs any more and whose owner did not delete them."""
    ended = Download.objects.filter(
        status__in=(S.CANCELLED, S.COMPLETED), partial__isnull=False
    ).unowned()
    for download in ended:
        partials.discard(download)


def _free_slots() -> None:
    """Slots of rows that do not run; a crash between two statements can leave one."""
    held = Slot.objects.filter(download__isnull=False).exclude(download__status__in=RUNNING)
    held.update(download=None, source_key=None, taken_at=None)
    # Where the row was deleted, the key stays alone.
    Slot.objects.filter(download__isnull=True, source_key__isnull=False).update(source_key=None)


def _refresh_bundles() -> None:
    """Bundles are brought up to date with every move of a child; this is for what was missed."""
    open_bundles: QuerySet[Download] = Download.objects.filter(is_bundle=True).exclude(
        status__in=FINAL
    )
    for pk in open_bundles.values_list("pk", flat=True):
        transitions.refresh_bundle(pk)


def delete_stale_partials(older_than: timedelta = timedelta(hours=24)) -> int:
    """Delete files in the partials directories that no row knows, and ledgers of rows that failed
    long ago; returns how many."""
    return partials.delete_orphans(older_than) + partials.expire_failed(KEEP_FAILED)
