"""A file that is here already: rows that would fetch it are linked or skipped instead."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now

from downloads import transitions
from downloads.errors import IllegalTransition
from downloads.models import Download, OnDuplicate
from downloads.sourcing import source_file_of
from downloads.states import DownloadStatus
from registry.models import Asset, AssetStatus
from registry.placement import VIRTUAL_ROOT
from registry.roots import default_root
from registry.services import find_duplicate
from transfer.names import path_key

S = DownloadStatus


def asset_for(download: Download) -> Asset | None:
    """The asset that this waiting row would only fetch again; None when it must be fetched.

    Either the source's own ids or the published digest say so, or another row fetched the very same
    file while this one waited.
    """
    if download.on_duplicate not in {OnDuplicate.LINK, OnDuplicate.SKIP}:
        return None
    if download.bundle_folder:
        return snapshot_part(download)
    if _wants_other_bytes(download):
        asset = find_duplicate(sha256=download.expected_hash or "").existing_asset
        return asset if asset is not None and asset.status == AssetStatus.ACTIVE else None
    report = find_duplicate(
        sha256=download.expected_hash or "",
        source_type=download.source_type,
        source_version_id=download.source_version_id or "",
        source_file_id=download.source_file_id,
    )
    asset = report.existing_asset if report.is_duplicate else None
    if asset is None:
        twin = (
            Download.objects.filter(
                source_key=download.source_key,
                status=S.COMPLETED,
                asset__isnull=False,
                completed_at__gte=download.created_at,
            )
            .exclude(pk=download.pk)
            .select_related("asset")
            .first()
        )
        asset = twin.asset if twin is not None else None
    return asset if asset is not None and asset.status == AssetStatus.ACTIVE else None


def snapshot_part(download: Download) -> Asset | None:
    """The active asset that is this part of a snapshot, in its very place.

    The same bytes elsewhere are of no use: whoever loads the snapshot looks into its folder.
    """
    key = path_key((download.target_path or "").removeprefix(VIRTUAL_ROOT))
    asset = Asset.objects.at(default_root(), key).filter(status=AssetStatus.ACTIVE).first()
    if asset is None:
        return None
    if digest := download.actual_hash or download.expected_hash:
        return asset if asset.checksum_sha256 == digest.lower() else None
    theirs = (asset.source_type, asset.source_version_id, asset.source_file_id)
    ours = (download.source_type, download.source_version_id or "", download.source_file_id)
    return asset if theirs == ours else None


def _wants_other_bytes(download: Download) -> bool:
    """A person named another digest than the source; only a file that has it will do."""
    expected = (download.expected_hash or "").lower()
    hashes = source_file_of(download).get("hashes") or {}
    return bool(expected) and expected != str(hashes.get("sha256") or "").lower()


def settle(download: Download, asset: Asset) -> bool:
    """Link or skip a waiting row; False when it is fetched all the same, or does not wait."""
    values = settled_values(download, asset)
    if not values:
        return False
    try:
        transitions.move(download, values.pop("status"), **values)
    except IllegalTransition:
        return False
    return True


def settled_values(download: Download, asset: Asset) -> dict[str, Any]:
    """The status and columns of a row whose file is `asset`; {} when it is fetched all the same."""
    if download.on_duplicate == OnDuplicate.LINK:
        is_known = bool(download.expected_hash) and download.expected_hash == asset.checksum_sha256
        return {"status": S.COMPLETED, "hash_verified": is_known, **linked_values(asset)}
    if download.on_duplicate == OnDuplicate.SKIP:
        return {
            "status": S.CANCELLED,
            "asset": asset,
            "error_code": "duplicate",
            "error_message": f"{asset.name} is here already, so nothing was downloaded.",
        }
    return {}


def linked_values(asset: Asset) -> dict[str, Any]:
    """Columns of a completed row that uses the file of an asset."""
    return {
        "asset": asset,
        "target_path": asset.virtual_path,
        "actual_hash": asset.checksum_sha256,
        "verification": asset.verification,
        "completed_at": Now(),
        "retry_at": None,
        "error_code": "",
        "error_message": None,
    }
