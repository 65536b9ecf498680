"""The last stage: from verified bytes to a published file and its asset.

The row notes the path before the file appears there, and becomes completed in the transaction that
writes the asset. After a crash in between the same place is tried again: `publish` adopts a file
with the noted digest, `register_file` the asset of that place.

Names. A place that another file has is never taken: the next numbered name is used (`x-2`), and the
row says so. Only `on_duplicate=overwrite` replaces, and only what is a duplicate of this file; a
damaged or missing asset of the same source file gives way as well. Flagged bytes replace nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from downloads import claims, crash, duplicates, partials, permits, verify
from downloads.errors import PartialLost
from downloads.models import Download, OnDuplicate, PartialFile
from downloads.sourcing import resolution_of, source_file_of
from downloads.stages import Outcome, Run
from downloads.states import DownloadStatus
from ops import audit
from registry import services as registry_services
from registry.errors import PathTaken
from registry.files import move_away
from registry.inspect.verdict import Verdict
from registry.models import Asset, AssetStatus, Root
from registry.placement import virtual_path
from registry.roots import quarantine_dir, root_path, trash_dir
from registry.services import Placement
from registry.services.placing import free_path
from sources.resolution import FileRole
from transfer.errors import TargetExists
from transfer.names import path_key
from transfer.publish import Published, publish

logger = logging.getLogger(__name__)

MAX_NAMES = 20
GIVES_WAY = frozenset({AssetStatus.FLAGGED, AssetStatus.MISSING, AssetStatus.CORRUPT})


def register_work(run: Run) -> Outcome:
    """From registering to completed."""
    download = run.download
    permits.check_download(download)
    if (asset := _linked_instead(download)) is not None:
        run.move(DownloadStatus.COMPLETED, **duplicates.linked_values(asset))
        partials.discard(download)
        return Outcome.NEXT
    verdict = Verdict.from_dict(download.verdict)
    if download.file_role == FileRole.COMPANION:
        _publish_companion(run)
    elif verify.is_flagged(download.verification, verdict):
        _quarantine(run, verdict)
    else:
        _publish_model(run, verdict)
    crash.point("register:completed")
    PartialFile.objects.filter(download=download).delete()
    return Outcome.NEXT


def _linked_instead(download: Download) -> Asset | None:
    """The active asset with these very bytes, when this row need not keep its own copy."""
    if (
        download.publish_path
        or download.file_role == FileRole.COMPANION
        or download.on_duplicate not in {OnDuplicate.LINK, OnDuplicate.SKIP}
        or download.hash_mismatch
    ):
        return None
    if download.bundle_folder:
        return duplicates.snapshot_part(download)
    return registry_services.find_duplicate(sha256=download.actual_hash or "").existing_asset


# --- The three kinds of places ---


def _publish_model(run: Run, verdict: Verdict) -> None:
    download = run.download
    placement = _noted(download) or _placement(download)
    old = _replaced(download, placement)
    source = _source(download)
    for _number in range(MAX_NAMES):
        in_place = old if old is not None and _is_at(old, placement) else None
        if in_place is None and placement.taken_by is not None and not _is_own(download, placement):
            placement = _next_place(placement)
        try:
            published = _publish(run, source, placement, in_place)
            with transaction.atomic():
                asset = _register(run, placement, verdict, published, replace=old)
                _complete(run, asset, placement)
        except (TargetExists, PathTaken):
            # Somebody was faster, or a file that we do not know lies there. What was published
            # meanwhile moves on to the next name.
            source = (
                source
                if source.exists()
                else root_path(placement.root).joinpath(placement.relative_path)
            )
            placement = _next_place(placement)
            continue
        if old is not None and in_place is None:
            move_away(root_path(old.root), old.relative_path, trash_dir(old.root))
        return
    raise PathTaken("Too many files have this name. Choose another name or folder, then retry.")


def _quarantine(run: Run, verdict: Verdict) -> None:
    """Registered as asked, but its bytes lie where nobody uses them until they are accepted."""
    download = run.download
    placement = _placement(download)
    name = f"{download.public_id}-{(download.actual_hash or '')[:16]}"
    published = publish(
        _source_or(download, quarantine_dir(placement.root) / name),
        root=quarantine_dir(placement.root),
        relative_path=name,
        sha256=download.actual_hash or "",
    )
    crash.point("register:published")
    with transaction.atomic():
        asset = _register(run, placement, verdict, published, quarantine_path=name)
        _complete(run, asset, replace(placement, relative_path=asset.relative_path))
    if asset.quarantine_path != name:
        # These very bytes are here already, and somebody has found them to be good.
        move_away(quarantine_dir(placement.root), name, trash_dir(placement.root))


def _publish_companion(run: Run) -> None:
    download = run.download
    placement = _noted(download) or _placement(download)
    source = _source(download)
    for _number in range(MAX_NAMES):
        if placement.taken_by is not None:
            placement = _next_place(placement)
        try:
            published = _publish(run, source, placement, None)
        except TargetExists:
            placement = _next_place(placement)
            continue
        with transaction.atomic():
            registry_services.register_companion(
                placement=placement,
                size_bytes=published.size_bytes,
                sha256=download.actual_hash or "",
                bundle_key=_bundle_key(download),
                asset=_bundle_asset(download),
            )
            _complete(run, None, placement)
        return
    raise PathTaken("Too many files have this name. Choose another name or folder, then retry.")


# --- Their steps ---


def _placement(download: Download) -> Placement:
    bundle = download.parent if download.bundle_folder else None
    return registry_services.resolve_placement(
        # A snapshot lies in one folder, that of its own type.
        model_type=(bundle or download).model_type,
        base_model=download.base_model or "",
        base_model_family=download.base_model_family,
        file_name=download.file_name,
        folder=download.target_folder,
        bundle_folder=download.bundle_folder,
        bundle_path=download.bundle_path,
    )


def _noted(download: Download) -> Placement | None:
    """The place that an earlier run noted before it ended; what lies there is perhaps ours."""
    if download.publish_root is None or not download.publish_path:
        return None
    return _at(download.publish_root, download.publish_path)


def _at(root: Root, relative_path: str) -> Placement:
    return Placement(
        root=root,
        relative_path=relative_path,
        virtual_path=virtual_path(relative_path),
        rule=None,
        reason="",
        taken_by=Asset.objects.at(root, path_key(relative_path)).first(),
    )


def _next_place(placement: Placement) -> Placement:
    return _at(placement.root, free_path(placement.root, placement.relative_path))


def _is_at(asset: Asset, placement: Placement) -> bool:
    return placement.taken_by is not None and placement.taken_by.pk == asset.pk


def _is_own(download: Download, placement: Placement) -> bool:
    """The place was noted and holds these bytes: an earlier run came that far."""
    holder = placement.taken_by
    return (
        holder is not None
        and placement.relative_path == download.publish_path
        and holder.checksum_sha256 == download.actual_hash
    )


def _replaced(download: Download, placement: Placement) -> Asset | None:
    """The asset whose place and identity this file takes over, None for a new one."""
    holder = placement.taken_by
    if holder is not None and holder.status in GIVES_WAY and _is_same_file(holder, download):
        return holder
    if download.on_duplicate != OnDuplicate.OVERWRITE:
        return None
    if download.bundle_folder:
        return duplicates.snapshot_part(download)
    return registry_services.find_duplicate(
        sha256=download.actual_hash or "",
        source_type=download.source_type,
        source_version_id=download.source_version_id or "",
        source_file_id=download.source_file_id,
    ).existing_asset


def _is_same_file(asset: Asset, download: Download) -> bool:
    theirs = (asset.source_type, asset.source_version_id, asset.source_file_id)
    ours = (download.source_type, download.source_version_id or "", download.source_file_id)
    return theirs == ours and bool(download.source_file_id)


def _source(download: Download) -> Path:
    """The partial; after a crash past publishing, the published file stands for it."""
    noted = download.publish_root
    if noted is None or not download.publish_path:
        return partials.path_of(download)
    return _source_or(download, root_path(noted) / download.publish_path)


def _source_or(download: Download, published: Path) -> Path:
    try:
        return partials.path_of(download)
    except PartialLost:
        if published.is_file():
            return published
        raise


def _publish(run: Run, source: Path, placement: Placement, in_place: Asset | None) -> Published:
    claims.write(run.claim, publish_root=placement.root, publish_path=placement.relative_path)
    if in_place is not None:
        audit.record(
            "download.replaces",
            actor=run.download.initiated_by,
            target=run.download,
            asset=in_place.pk,
            path=placement.virtual_path,
        )
    crash.point("register:noted")
    run.stop_if_asked()
    published = publish(
        source,
        root=root_path(placement.root),
        relative_path=placement.relative_path,
        sha256=run.download.actual_hash or "",
        replace=in_place is not None,
        trash=trash_dir(placement.root),
    )
    crash.point("register:published")
    return published


def _register(
    run: Run, placement: Placement, verdict: Verdict, published: Published, **more: Any
) -> Asset:
    download = run.download
    resolution = resolution_of(download)
    asset = registry_services.register_file(
        placement=placement,
        name=download.model_name,
        model_type=download.model_type,
        base_model=download.base_model or "",
        base_model_family=download.base_model_family,
        size_bytes=published.size_bytes,
        sha256=download.actual_hash or "",
        resolution=resolution,
        source_file=source_file_of(download),
        verdict=verdict,
        verification=download.verification,
        expected_sha256=download.expected_hash or "",
        published=published,
        added_by=download.initiated_by,
        edited=_edited(download, resolution),
        **more,
    )
    if asset.status == AssetStatus.ACTIVE:
        registry_services.attach_companions(_bundle_key(download), asset)
    return asset


def _edited(download: Download, resolution: dict[str, Any]) -> list[str]:
    """The columns that a person chose against the source."""
    said = {
        "name": resolution.get("name", ""),
        "asset_type": source_file_of(download).get("model_type", ""),
        "base_model": resolution.get("base_model", ""),
    }
    ours = {
        "name": download.model_name,
        "asset_type": download.model_type,
        "base_model": download.base_model or "",
    }
    if download.parent is not None and download.model_name.startswith(f"{said['name']}: "):
        ours["name"] = said["name"]  # Our own name for a further file of a bundle.
    return [column for column, value in ours.items() if value != said[column]]


def _complete(run: Run, asset: Asset | None, placement: Placement) -> None:
    asked = run.download.target_path
    virtual = virtual_path(placement.relative_path)
    warnings = list(run.download.warnings)
    if asked and asked != virtual and asked.rpartition("/")[2] != virtual.rpartition("/")[2]:
        warnings.append(f"The name was taken by another file, so it was saved as {virtual}.")
    run.move(
        DownloadStatus.COMPLETED,
        asset=asset,
        target_path=virtual,
        completed_at=Now(),
        warnings=warnings,
        error_code="",
        error_message=None,
        publish_root=None,
        publish_path="",
    )


def _bundle_key(download: Download) -> str:
    return str(download.parent.public_id) if download.parent is not None else ""


def _bundle_asset(download: Download) -> Asset | None:
    """The first model of the same bundle that is registered already."""
    if download.parent is None:
        return None
    sibling = (
        Download.objects.filter(parent=download.parent_id, asset__status=AssetStatus.ACTIVE)
        .select_related("asset")
        .order_by("pk")
        .first()
    )
    return sibling.asset if sibling is not None else None
