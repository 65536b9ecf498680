"""The work behind the commands: hash a file again, ask the source again. Sends no tasks."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from config.errors import ModelyardError
from ops import audit
from registry import facts
from registry.files import stat_regular
from registry.models import Asset, AssetPreview, AssetStatus, Verification
from registry.roots import quarantine_dir, root_path
from sources.families import family_of
from sources.parse import parse_reference
from sources.reading import as_text
from sources.resolution import Resolution
from tokens.clients import endpoints, resolver
from tokens.services import credential_for
from transfer.publish import file_sha256

logger = logging.getLogger(__name__)


def verify_asset(asset_id: int) -> None:
    """Hash the bytes again: active, missing or corrupt; a flagged asset stays flagged.

    A root that is not there says nothing about its files: the wish stays open and is repeated.
    Raises RootUnavailable.
    """
    asset = Asset.objects.select_related("root").filter(pk=asset_id).first()
    if asset is None or asset.status == AssetStatus.DELETING:
        return
    asked_at = asset.verify_requested_at
    if asset.quarantine_path:
        directory, relative_path = quarantine_dir(asset.root), asset.quarantine_path
    else:
        directory, relative_path = root_path(asset.root), asset.relative_path
    status = stat_regular(directory, relative_path)
    if status is None:
        _finish_verify(asset, asked_at, AssetStatus.MISSING)
        return
    digest = file_sha256(directory / relative_path)
    if digest != asset.checksum_sha256:
        _finish_verify(asset, asked_at, AssetStatus.CORRUPT, found_sha256=digest)
        return
    columns: dict[str, Any] = {
        "verified_at": timezone.now(),
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
    }
    if digest == asset.expected_sha256:
        columns["verification"] = Verification.VERIFIED
    _finish_verify(asset, asked_at, AssetStatus.ACTIVE, columns)


def _finish_verify(
    asset: Asset,
    asked_at: datetime | None,
    status: AssetStatus,
    columns: dict[str, Any] | None = None,
    **details: Any,
) -> None:
    """Write what was found, unless the row has changed since the bytes were read."""
    if asset.status == AssetStatus.FLAGGED and status == AssetStatus.ACTIVE:
        status = AssetStatus.FLAGGED
    with transaction.atomic():
        unchanged = Asset.objects.filter(
            pk=asset.pk, status=asset.status, checksum_sha256=asset.checksum_sha256
        )
        if not unchanged.update(status=status, updated_at=timezone.now(), **(columns or {})):
            return
        # A wish that came while this one was answered stays.
        Asset.objects.filter(pk=asset.pk, verify_requested_at=asked_at).update(
            verify_requested_at=None
        )
        if status != asset.status:
            audit.record(
                f"asset.{status}",
                target=asset,
                path=asset.virtual_path,
                before=asset.status,
                sha256=asset.checksum_sha256,
                **details,
            )


def refresh_asset(asset_id: int) -> None:
    """Ask the source again and fill every column that no person has changed.

    What the source refuses is noted in `refresh_error`; the asset stays as it is.
    """
    asset = Asset.objects.select_related("added_by").filter(pk=asset_id).first()
    if asset is None or asset.status == AssetStatus.DELETING:
        return
    try:
        resolution = _resolve_again(asset)
    except ModelyardError as error:
        logger.info("Asset %s was not refreshed: %s", asset.pk, error.code)
        Asset.objects.filter(pk=asset.pk).update(
            refresh_error=error.message, refresh_requested_at=None, updated_at=timezone.now()
        )
        return
    _take_over(asset, resolution)


def _resolve_again(asset: Asset) -> Resolution:
    reference = parse_reference(asset.source_reference, endpoints())
    credential = None
    if asset.added_by is not None and asset.added_by.is_active:
        credential = credential_for(user=asset.added_by, service_name=asset.source_type)
    return resolver(cached=False).resolve(reference, credential=credential)


@transaction.atomic
def _take_over(asset: Asset, resolution: Resolution) -> None:
    plain = resolution.as_dict()
    fresh = facts.source_columns(plain)
    fresh["name"] = as_text(resolution.name, 300)
    if "base_model" in asset.edited_fields:
        fresh["base_model_family"] = family_of(asset.base_model)
    row = Asset.objects.get(pk=asset.pk)
    if row.name != as_text(row.metadata.get("source_metadata", {}).get("name"), 300):
        fresh["name"] = row.name  # It was named otherwise than the source names the whole model.
    changed = []
    for name in facts.REFRESHABLE:
        # An answer that has become empty does not wipe what is known.
        if name not in row.edited_fields and fresh[name] not in ("", [], {}):
            if getattr(row, name) != fresh[name]:
                changed.append(name)
            setattr(row, name, fresh[name])
    row.metadata = {**row.metadata, "source_metadata": facts.safe_resolution(plain)}
    row.refresh_error = ""
    row.refresh_requested_at = None
    row.save(
        update_fields=[
            *facts.REFRESHABLE,
            "metadata",
            "refresh_error",
            "refresh_requested_at",
            "updated_at",
        ]
    )
    AssetPreview.objects.bulk_create(
        [AssetPreview(asset=row, **values) for values in facts.preview_rows(plain)],
        ignore_conflicts=True,
    )
    audit.record("asset.refreshed", target=row, changed=changed)
