"""The only writer of `Download.status`: one filtered UPDATE per move, from the table of moves.

A move out of the running states gives the slot back, and a move of a child brings its bundle up to
date, both in the same transaction. Nothing here sends a message or touches a file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.functions import Coalesce, Now

from downloads.errors import IllegalTransition, LostClaim
from downloads.models import Download, Slot
from downloads.states import ALLOWED_FROM, FINAL, RUNNING, DownloadStatus
from registry.models import Verification

WAITS_UNTIL = frozenset({DownloadStatus.RETRY_WAITING, DownloadStatus.PARKED})
CHILD_FIELDS = (
    "status",
    "error_code",
    "error_message",
    "file_size_bytes",
    "downloaded_bytes",
    "download_speed_bps",
    "hash_verified",
    "hash_mismatch",
    "verification",
    "retry_at",
    "started_at",
    "asset",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Who runs a download now: every write of a running stage filters on both."""

    download_id: int
    owner: str
    attempt: int


def move(
    download: Download, target: DownloadStatus, *, claim: Claim | None = None, **values: Any
) -> None:
    """Change the status if the row may still become `target`, and refresh `download`.

    With a `claim` the row must still belong to that owner and attempt. Raises LostClaim when it
    does not, else IllegalTransition with the status that forbids the move.
    """
    with transaction.atomic():
        rows = Download.objects.filter(pk=download.pk, status__in=ALLOWED_FROM[target])
        if claim is not None:
            rows = rows.filter(owner=claim.owner, attempt=claim.attempt)
        moved = rows.update(status=target, updated_at=Now(), **values)
        if moved and target not in RUNNING:
            free_slot(download.pk)
        if moved and download.parent_id is not None:
            refresh_bundle(download.parent_id)
    download.refresh_from_db()
    if moved:
        return
    if claim is not None and (download.owner, download.attempt) != (claim.owner, claim.attempt):
        raise lost_claim(download.pk)
    raise IllegalTransition(
        f"This download is {download.status} and cannot become {target}.",
        download=download.pk,
        status=str(download.status),
    )


def lost_claim(download_id: int) -> LostClaim:
    return LostClaim("Another worker has taken over this download.", download=download_id)


def free_slot(download_id: int) -> None:
    Slot.objects.filter(download=download_id).update(download=None, source_key=None, taken_at=None)


def bundle_status(children: Collection[str]) -> DownloadStatus:
    """What a bundle is, from the statuses of its children: the one place that decides it.

    Any child running → downloading. All final → failed if any failed, else completed if any
    completed, else cancelled. Children that wait while others are done still mean downloading;
    otherwise the liveliest way of waiting wins.
    """
    there = set(children)
    status = DownloadStatus
    if there & RUNNING:
        return status.DOWNLOADING
    if there <= FINAL:
        ends = (status.FAILED, status.COMPLETED, status.CANCELLED)
        return next((end for end in ends if end in there), status.CANCELLED)
    if status.QUEUED in there:
        return status.DOWNLOADING if status.COMPLETED in there else status.QUEUED
    rests = (status.RETRY_WAITING, status.PARKED, status.REVIEW, status.PAUSED)
    return next(rest for rest in rests if rest in there)


def _least(words: list[str]) -> str:
    """What can be said of all files together, "" while something is not known yet."""
    order = (
        Verification.MISMATCH,
        Verification.UNVERIFIED,
        Verification.ACCEPTED,
        Verification.VERIFIED,
    )
    return str(min(words, key=order.index)) if words and all(words) else ""


def refresh_bundle(parent_id: int) -> None:
    """Derive a bundle's status, bytes and times from its children.

    The first UPDATE takes the row's lock, so that of two children that finish together the second
    one reads what the first one wrote.
    """
    with transaction.atomic():
        Download.objects.filter(pk=parent_id, is_bundle=True).update(updated_at=Now())
        children = Download.objects.filter(parent=parent_id)
        rows = list(children.order_by("pk").values(*CHILD_FIELDS))
        status = bundle_status([row["status"] for row in rows])
        failed: dict[str, Any] = next(
            (row for row in rows if row["status"] == DownloadStatus.FAILED), {}
        )
        due = [row["retry_at"] for row in rows if row["status"] in WAITS_UNTIL]
        started = [row["started_at"] for row in rows if row["started_at"]]
        sizes = [row["file_size_bytes"] for row in rows]
        Download.objects.filter(pk=parent_id, is_bundle=True).update(
            status=status,
            file_size_bytes=None if None in sizes else sum(sizes),
            downloaded_bytes=sum(row["downloaded_bytes"] for row in rows),
            download_speed_bps=sum(
                row["download_speed_bps"] or 0
                for row in rows
                if row["status"] == DownloadStatus.DOWNLOADING
            ),
            hash_verified=all(row["hash_verified"] for row in rows),
            hash_mismatch=any(row["hash_mismatch"] for row in rows),
            verification=_least([row["verification"] for row in rows]),
            started_at=min(started, default=None),
            retry_at=min(due) if status in WAITS_UNTIL else None,
            error_code=failed.get("error_code", ""),
            error_message=failed.get("error_message"),
            asset=next((row["asset"] for row in rows if row["asset"]), None),
            completed_at=Coalesce("completed_at", Now()) if status in FINAL else None,
        )
