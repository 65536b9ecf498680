"""What people do with an asset that is here: edit, check, accept, refresh, delete."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from ops import audit
from registry import facts, hooks
from registry.errors import AssetInUse, AssetStateRefused
from registry.files import move_away
from registry.models import (
    Asset,
    AssetPreview,
    AssetStatus,
    PreviewStatus,
    Verification,
)
from registry.previews import previews_dir
from registry.roots import quarantine_dir, root_path, trash_dir
from registry.services.sending import send
from registry.tasks import fetch_previews, refresh_asset, verify_asset
from sources.families import family_of
from sources.reading import as_html, as_text
from transfer.publish import publish

EDITABLE = ("name", "asset_type", "base_model", "trigger_words", "description", "tags")


@transaction.atomic
def edit_asset(*, asset: Asset, user: Any, changes: Mapping[str, Any]) -> Asset:
    """Change columns of EDITABLE; a refresh from the source leaves them alone from now on.

    The file stays where it is. Raises AssetStateRefused while the asset is being deleted.
    """
    _refuse_deleting(asset)
    columns: dict[str, Any] = {}
    for name in EDITABLE:
        if name in changes:
            columns[name] = _edited_value(name, changes[name])
    if "base_model" in columns:
        columns["base_model_family"] = family_of(columns["base_model"])
    before = {name: getattr(asset, name) for name in columns}
    for name, value in columns.items():
        setattr(asset, name, value)
    asset.edited_fields = sorted({*asset.edited_fields, *columns})
    asset.save(update_fields=[*columns, "edited_fields", "updated_at"])
    audit.record("asset.edited", actor=user, target=asset, before=before, after=columns)
    return asset


def request_verify(*, asset: Asset, user: Any) -> Asset:
    """Have the bytes on disk hashed again; the outcome shows in the status."""
    return _request(asset, user, "verify", verify_asset)


def request_refresh(*, asset: Asset, user: Any) -> Asset:
    """Have the metadata fetched again from the source.

    Raises AssetStateRefused for a direct link, which has none.
    """
    if not asset.source_reference or asset.source_type in {"", "direct"}:
        raise AssetStateRefused(
            "This asset does not come from CivitAI or HuggingFace, so there is no metadata to "
            "fetch. Edit it by hand instead.",
            asset=asset.pk,
            source_type=asset.source_type,
        )
    return _request(asset, user, "refresh", refresh_asset)


def request_refresh_many(*, user: Any, assets: Iterable[Asset]) -> int:
    """Ask for every asset of `assets` that has a source; returns how many."""
    wanted = [asset for asset in assets if asset.source_type not in {"", "direct"}]
    for asset in wanted:
        if asset.status != AssetStatus.DELETING:
            request_refresh(asset=asset, user=user)
    return len(wanted)


@transaction.atomic
def request_previews(*, asset: Asset, user: Any) -> Asset:
    """Fetch pictures that failed or were never fetched."""
    _refuse_deleting(asset)
    rows = facts.preview_rows(asset.metadata.get("source_metadata") or {})
    AssetPreview.objects.bulk_create(
        [AssetPreview(asset=asset, **row) for row in rows], ignore_conflicts=True
    )
    asset.previews.filter(status=PreviewStatus.FAILED).update(
        status=PreviewStatus.PENDING, error_message=""
    )
    send(fetch_previews, asset.pk)
    return asset


def accept_asset(*, asset: Asset, user: Any, reason: str) -> Asset:
    """Put a flagged asset's bytes where they were wanted, on a person's word.

    Repeating it after a crash goes on where it stopped. Raises ValueError without a reason,
    AssetStateRefused when the asset is not flagged, TargetExists when its place is taken, DiskError
    when the bytes are gone.
    """
    reason = as_text(reason, 1000)
    if not reason:
        raise ValueError("A flagged asset is accepted for a reason.")
    if asset.status != AssetStatus.FLAGGED:
        raise AssetStateRefused(
            f"Only a flagged asset can be accepted; this one is {asset.status}.",
            asset=asset.pk,
            status=asset.status,
        )
    columns: dict[str, Any] = {}
    if asset.quarantine_path:
        # After a crash the bytes are in their place already, and are adopted there.
        published = publish(
            quarantine_dir(asset.root) / asset.quarantine_path,
            root=root_path(asset.root),
            relative_path=asset.relative_path,
            sha256=asset.checksum_sha256,
        )
        columns = {"mtime_ns": published.mtime_ns, "inode": published.inode}
    with transaction.atomic():
        accepted = Asset.objects.filter(pk=asset.pk, status=AssetStatus.FLAGGED).update(
            status=AssetStatus.ACTIVE,
            verification=Verification.ACCEPTED,
            quarantine_path="",
            updated_at=timezone.now(),
            **columns,
        )
        asset.refresh_from_db()
        if accepted:
            audit.record(
                "asset.accepted",
                actor=user,
                target=asset,
                reason=reason,
                flag_reason=asset.flag_reason,
                sha256=asset.checksum_sha256,
                path=asset.virtual_path,
            )
    return asset


def delete_asset(*, asset: Asset, user: Any) -> None:
    """Take an asset away: its row, companions and previews; its files go to the trash.

    The hooks of `registry.hooks` are asked while the asset is already `deleting`, so nobody new
    starts to use it. Raises AssetInUse when one refuses (the asset becomes what it was),
    RootUnavailable when its files cannot be reached. Repeating it goes on where it stopped.
    """
    root_path(asset.root)
    before = asset.status
    Asset.objects.filter(pk=asset.pk).update(status=AssetStatus.DELETING, updated_at=timezone.now())
    asset.refresh_from_db()
    try:
        hooks.run_before_delete(asset)
    except AssetInUse:
        Asset.objects.filter(pk=asset.pk, status=AssetStatus.DELETING).update(status=before)
        asset.refresh_from_db()
        raise
    _remove_files(asset)
    with transaction.atomic():
        audit.record(
            "asset.deleted",
            actor=user,
            target=asset,
            name=asset.name,
            path=asset.virtual_path,
            sha256=asset.checksum_sha256,
        )
        asset.delete()


def _remove_files(asset: Asset) -> None:
    root, trash = root_path(asset.root), trash_dir(asset.root)
    if asset.quarantine_path:
        move_away(quarantine_dir(asset.root), asset.quarantine_path, trash)
    else:
        move_away(root, asset.relative_path, trash)
    for companion in asset.companions.select_related("root"):
        move_away(root_path(companion.root), companion.relative_path, trash_dir(companion.root))
    shutil.rmtree(previews_dir(asset.pk), ignore_errors=True)


@transaction.atomic
def _request(asset: Asset, user: Any, what: str, task: Any) -> Asset:
    _refuse_deleting(asset)
    Asset.objects.filter(pk=asset.pk).update(**{f"{what}_requested_at": timezone.now()})
    asset.refresh_from_db()
    audit.record(f"asset.{what}_requested", actor=user, target=asset)
    send(task, asset.pk)
    return asset


def _refuse_deleting(asset: Asset) -> None:
    if asset.status == AssetStatus.DELETING:
        raise AssetStateRefused("This asset is being deleted.", asset=asset.pk, status=asset.status)


def _edited_value(name: str, value: Any) -> Any:
    if name in {"trigger_words", "tags"}:
        return facts.clean_words(value)
    if name == "description":
        return as_html(value)
    return as_text(value, 100 if name == "base_model" else 300)
