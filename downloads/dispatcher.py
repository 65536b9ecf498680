"""Who is next: free slots meet waiting rows, in the order of the database.

A slot is taken and the row is moved in one transaction. The slot holds the row's source key, which
is unique, so one file of one source is fetched once at a time however many dispatchers run.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.db.models.functions import Coalesce, Now

from downloads import claims, transitions
from downloads.duplicates import asset_for, settle
from downloads.errors import IllegalTransition
from downloads.models import Download, Slot
from downloads.states import DownloadStatus


def dispatch() -> list[int]:
    """Move as many waiting rows to downloading as slots are free; returns their ids.

    Rows whose file has come by another row meanwhile are settled without bytes.
    """
    ensure_slots()
    started: list[int] = []
    passed_over: set[int] = set()
    while (slot := _free_slot()) is not None:
        download = _next(passed_over)
        if download is None:
            break
        if _settle(download) or not _start(download, slot):
            passed_over.add(download.pk)
        else:
            started.append(download.pk)
    return started


def start_now(download: Download) -> bool:
    """Start this row out of turn, in a slot of its own: for a terminal that waits for it.

    False when it does not wait, or its source file is being fetched for another row.
    """
    with transaction.atomic():
        highest = Slot.objects.aggregate(highest=Max("number"))["highest"] or 0
        number = max(highest, settings.MAX_CONCURRENT_DOWNLOADS) + 1
        slot, _created = Slot.objects.get_or_create(number=number)
    if download.status != DownloadStatus.QUEUED or _settle(download):
        ensure_slots()
        return False
    started = Download.objects.unowned().filter(pk=download.pk).exists() and _start(download, slot)
    if not started:
        ensure_slots()
    return started


def ensure_slots() -> None:
    """As many slots as MAX_CONCURRENT_DOWNLOADS says; one too many goes when it is free."""
    wanted = range(1, settings.MAX_CONCURRENT_DOWNLOADS + 1)
    there = set(Slot.objects.values_list("number", flat=True))
    missing = [Slot(number=number) for number in wanted if number not in there]
    if missing:
        Slot.objects.bulk_create(missing, ignore_conflicts=True)
    if any(number not in wanted for number in there):
        Slot.objects.filter(
            number__gt=settings.MAX_CONCURRENT_DOWNLOADS, download__isnull=True
        ).delete()


def _free_slot() -> Slot | None:
    return (
        Slot.objects.filter(download__isnull=True, number__lte=settings.MAX_CONCURRENT_DOWNLOADS)
        .order_by("number")
        .first()
    )


def _next(passed_over: set[int]) -> Download | None:
    taken = Slot.objects.filter(source_key__isnull=False).values("source_key")
    return (
        Download.objects.waiting()
        .unowned()
        .exclude(source_key__in=taken)
        .exclude(pk__in=passed_over)
        .in_queue_order()
        .first()
    )


def _settle(download: Download) -> bool:
    asset = asset_for(download)
    return asset is not None and settle(download, asset)


def _start(download: Download, slot: Slot) -> bool:
    """False when the slot, the row or the source key went to somebody else."""
    try:
        with transaction.atomic():
            taken = Slot.objects.filter(pk=slot.pk, download__isnull=True).update(
                download=download, source_key=download.source_key, taken_at=Now()
            )
            if not taken:
                return False
            transitions.move(download, DownloadStatus.DOWNLOADING, **_first_values())
    except (IntegrityError, IllegalTransition):
        return False
    return True


def _first_values() -> dict[str, Any]:
    return {
        "attempt": F("attempt") + 1,
        "owner": "",
        "lease_expires_at": None,
        "pickup_deadline": claims.pickup(),
        "started_at": Coalesce("started_at", Now()),
        "retry_at": None,
        "error_code": "",
        "error_message": None,
    }
