"""The commands that people give to the queue. Each changes rows and asks for a dispatch on commit.

A command that repeats what is already so is accepted and changes nothing; an illegal one raises
IllegalTransition (409) with the status. Commands on a bundle go to its children.
Who may command a row is decided by the caller; `user` is for the record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.db.models import F, Q

from downloads import claims, partials, tasks, transitions
from downloads.enqueue import Resolved, enqueue, resolve_reference
from downloads.errors import IllegalTransition, InvalidOption
from downloads.limits import LimitUse, limits_of
from downloads.models import Download, Priority
from downloads.options import (
    checked_base_model,
    checked_folder,
    checked_hash,
    checked_name,
    checked_priority,
    checked_type,
)
from downloads.states import DownloadStatus
from ops import audit
from registry import services as registry_services
from registry.services import DuplicateReport
from sources.families import family_of

__all__ = [
    "LimitUse",
    "Resolved",
    "cancel",
    "check_duplicate",
    "enqueue",
    "finalize",
    "limits_of",
    "pause",
    "queue_position",
    "reorder",
    "resolve_reference",
    "resume",
    "retry",
    "reverify",
]

User = AbstractBaseUser | AnonymousUser
S = DownloadStatus

#: What a retry forgets: everything that belongs to the tries before it.
FRESH: dict[str, Any] = {
    "auto_retry_count": 0,
    "crash_count": 0,
    "mismatch_count": 0,
    "retry_at": None,
    "error_code": "",
    "error_message": None,
    "hash_verified": False,
    "hash_mismatch": False,
    "verification": "",
    "actual_hash": None,
    "actual_git_sha1": "",
    "verdict": {},
    "warnings": [],
    "reviewed": False,
    "completed_at": None,
    "asset": None,
    "publish_root": None,
    "publish_path": "",
}


def pause(*, download: Download, user: User) -> Download:
    """Stop a download; its bytes stay. A running worker lets go within a second.

    Legal from queued, downloading, retry_waiting and parked.
    """
    return _command(download, _pause_file)


def resume(*, download: Download, user: User) -> Download:
    """Put a paused download back into the queue; it goes on where it stopped."""
    return _command(download, _resume_file)


def cancel(*, download: Download, user: User) -> Download:
    """End a download and delete its bytes; a running worker deletes them when it lets go.

    Legal until the bytes are being verified, and from review.
    """
    if download.status != S.CANCELLED:
        audit.record("download.cancel", actor=user, target=download)
    return _command(download, _cancel_file)


def retry(*, download: Download, user: User) -> Download:
    """Queue a failed download again, keeping a usable partial, or a cancelled one from nothing."""
    return _command(download, _retry_file)


def finalize(
    *,
    download: Download,
    user: User,
    model_name: str | None = None,
    model_type: str | None = None,
    base_model: str | None = None,
    folder: str | None = None,
) -> Download:
    """Let a download in review be registered, with what the person changed (None: unchanged).

    Raises InvalidOption, PlacementNotPossible, IllegalTransition. Repeating it without changes is
    accepted while the download is being registered or is done.
    """
    download.refresh_from_db()
    if download.status != S.REVIEW:
        if download.reviewed and download.status in {S.REGISTERING, S.COMPLETED}:
            return download
        raise _illegal(download, S.REGISTERING)
    values = _edits(download, model_name, model_type, base_model, folder)
    bundle = download.parent if download.bundle_folder else None
    placement = registry_services.resolve_placement(
        model_type=bundle.model_type if bundle else values["model_type"],
        base_model=values["base_model"] or "",
        base_model_family=values["base_model_family"],
        file_name=download.file_name,
        folder=values["target_folder"],
        bundle_folder=download.bundle_folder,
        bundle_path=download.bundle_path,
    )
    with transaction.atomic():
        # First the lock of the audit log, then rows: the order in which registering takes them.
        audit.record("download.finalize", actor=user, target=download)
        transitions.move(
            download,
            S.REGISTERING,
            **values,
            reviewed=True,
            target_path=placement.virtual_path,
            pickup_deadline=claims.pickup(),
        )
        tasks.send_on_commit(download.pk, S.REGISTERING)
    return download


def reverify(*, download: Download, user: User) -> Download:
    """Ask for the asset of a completed download to be read and hashed again. 409 without one."""
    download.refresh_from_db()
    if download.status != S.COMPLETED or download.asset is None:
        raise IllegalTransition(
            f"Only a completed download whose file is registered can be verified again; "
            f"this one is {download.status}.",
            status=str(download.status),
        )
    registry_services.request_verify(asset=download.asset, user=user)
    return download


def reorder(
    *, download: Download, user: User, position: int | None = None, priority: int | None = None
) -> Download:
    """Change a waiting download's priority, its place among its user's own, or both.

    `position` 0 is the front of the user's waiting downloads of that priority. Only places of the
    same user change hands, so nobody overtakes anybody else's rows.
    """
    with transaction.atomic():
        download.refresh_from_db()
        if priority is not None:
            _set_priority(download, checked_priority(priority))
        if position is not None:
            _set_position(download, position)
    download.refresh_from_db()
    return download


def check_duplicate(
    *, user: User, url: str | None = None, sha256: str | None = None
) -> DuplicateReport:
    """Is it here already? By digest without asking anybody, by link after asking its source."""
    if url is not None:
        return resolve_reference(user=user, url=url).duplicate
    return registry_services.find_duplicate(sha256=checked_hash(sha256 or ""))


def queue_position(download: Download) -> int | None:
    """1-based place in the whole queue, everybody's rows counted; None unless it waits."""
    if download.status != S.QUEUED:
        return None
    key = ("priority", "position", "created_at", "pk")
    ahead = Q(pk__in=[])
    same: dict[str, Any] = {}
    for name in key:
        ahead |= Q(**same, **{f"{name}__lt": getattr(download, name)})
        same[name] = getattr(download, name)
    return Download.objects.waiting().filter(ahead).count() + 1


def _set_priority(download: Download, priority: Priority) -> None:
    if download.is_final:
        raise _illegal(download, S.QUEUED)
    Download.objects.filter(Q(pk=download.pk) | Q(parent=download.pk)).update(priority=priority)
    download.priority = priority


def _set_position(download: Download, position: int) -> None:
    if position < 0:
        raise InvalidOption("position", "0 is the first place.")
    if download.status != S.QUEUED or download.parent_id is not None:
        raise IllegalTransition(
            "Only a download that waits, and is not part of a bundle, has a place of its own; "
            f"this one is {download.status}.",
            status=str(download.status),
        )
    mine = list(
        Download.objects.top_level()
        .filter(status=S.QUEUED, initiated_by=download.initiated_by_id, priority=download.priority)
        .in_queue_order()
    )
    places = [row.position for row in mine]
    order = [row for row in mine if row.pk != download.pk]
    order.insert(position, download)
    for row, place in zip(order, places, strict=True):
        if row.position != place:
            # The children of a bundle move with it.
            Download.objects.filter(Q(pk=row.pk) | Q(parent=row.pk)).update(
                position=F("position") + (place - row.position)
            )


def _command(download: Download, on_file: Callable[[Download], None]) -> Download:
    """Run a command on a file, or on every child of a bundle that accepts it.

    A bundle refuses only when all of its children do.
    """
    download.refresh_from_db()
    if not download.is_bundle:
        with transaction.atomic():
            on_file(download)
            tasks.dispatch_on_commit()
        return download
    refused: IllegalTransition | None = None
    accepted = False
    # Each child in its own transaction: a transaction that held the bundle and waited for the next
    # child would lock against a worker that holds that child and waits for the bundle.
    for child in Download.objects.filter(parent=download).order_by("pk"):
        try:
            on_file(child)
            accepted = True
        except IllegalTransition as error:
            refused = error
    download.refresh_from_db()
    if refused is not None and not accepted:
        raise IllegalTransition(
            f"{refused.message} It is part of this bundle.", status=str(download.status)
        )
    tasks.dispatch_on_commit()
    return download


def _pause_file(download: Download) -> None:
    if download.status != S.PAUSED:
        transitions.move(download, S.PAUSED, retry_at=None, download_speed_bps=None)


def _resume_file(download: Download) -> None:
    if download.status == S.QUEUED:
        return
    if download.status != S.PAUSED:
        raise _illegal(download, S.QUEUED)
    transitions.move(download, S.QUEUED)


def _cancel_file(download: Download) -> None:
    if download.status == S.CANCELLED:
        return
    transitions.move(
        download, S.CANCELLED, retry_at=None, download_speed_bps=None, downloaded_bytes=0
    )
    if not download.owner:
        partials.discard(download)


def _retry_file(download: Download) -> None:
    if download.status == S.QUEUED:
        return
    if download.status not in {S.FAILED, S.CANCELLED}:
        raise _illegal(download, S.QUEUED)
    from_nothing = download.status == S.CANCELLED
    values = dict(FRESH, downloaded_bytes=0) if from_nothing else FRESH
    transitions.move(download, S.QUEUED, retry_count=F("retry_count") + 1, **values)
    if from_nothing:
        # Safe while a worker still lets go: it writes to an inode without a name, and its ledger
        # is gone.
        partials.discard(download)


def _illegal(download: Download, target: DownloadStatus) -> IllegalTransition:
    return IllegalTransition(
        f"This download is {download.status} and cannot become {target}.",
        download=download.pk,
        status=str(download.status),
    )


def _edits(
    download: Download,
    model_name: str | None,
    model_type: str | None,
    base_model: str | None,
    folder: str | None,
) -> dict[str, Any]:
    family = download.base_model_family
    if base_model is not None:
        base_model = checked_base_model(base_model)
        family = family_of(base_model)
    return {
        "model_name": download.model_name if model_name is None else checked_name(model_name),
        "model_type": download.model_type if model_type is None else checked_type(model_type),
        "base_model": download.base_model if base_model is None else base_model,
        "base_model_family": family,
        "target_folder": download.target_folder if folder is None else checked_folder(folder),
    }
