"""The plain values behind the API's answers that are no rows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.db.models import Count, F, Sum

from downloads.enqueue import FilePlacement, Resolved
from downloads.models import DownloadQuerySet
from downloads.states import RUNNING, DownloadStatus
from registry.models import Root
from registry.placement import virtual_path
from registry.services import DuplicateReport
from sources.resolution import SourceFile

WAITING = frozenset({DownloadStatus.QUEUED, DownloadStatus.RETRY_WAITING, DownloadStatus.PARKED})


def resolve_answer(resolved: Resolved) -> dict[str, Any]:
    """What a link means: the `resolved` part names the main file, `files` all that are offered."""
    return {"resolved": _resolved(resolved), "duplicate": duplicate(resolved.duplicate)}


def duplicate(report: DuplicateReport) -> dict[str, Any]:
    asset = report.existing_asset
    existing = asset and {
        "asset_id": asset.pk,
        "asset_name": asset.name,
        "file_path": virtual_path(asset.relative_path),
        "status": asset.status,
    }
    return {
        "is_duplicate": report.is_duplicate,
        "existing_asset": existing,
        "reason": report.reason,
        "message": report.message,
    }


def queue_status(rows: DownloadQuerySet) -> dict[str, Any]:
    """Counts per status of the rows that hold bytes (bundles are the sum of theirs)."""
    files = rows.filter(is_bundle=False)
    counts = dict.fromkeys(map(str, DownloadStatus), 0)
    counts.update(files.order_by().values_list("status").annotate(n=Count("pk")))
    moving = files.filter(status=DownloadStatus.DOWNLOADING).aggregate(
        speed=Sum("download_speed_bps"), left=Sum(F("file_size_bytes") - F("downloaded_bytes"))
    )
    return {
        "counts": counts,
        "active": sum(counts[status] for status in RUNNING),
        "waiting": sum(counts[status] for status in WAITING),
        "speed_bps": moving["speed"] or 0,
        "remaining_bytes": max(0, moving["left"] or 0),
    }


def _resolved(resolved: Resolved) -> Mapping[str, Any]:
    resolution, main = resolved.resolution, resolved.main
    sizes = [item.file.size_bytes for item in resolved.chosen]
    chosen = {item.file.file_id for item in resolved.chosen}
    said = resolution.as_dict()
    return {
        **{name: said[name] for name in _AS_SAID},
        "model_name": resolved.name,
        "model_type": resolved.model_type,
        "base_model": resolved.base_model,
        "base_model_family": resolved.base_model_family,
        "file_id": main.file.file_id,
        "file_name": main.file.name,
        "file_size_bytes": main.file.size_bytes,
        "total_size_bytes": None if None in sizes else sum(size or 0 for size in sizes),
        "expected_hash": main.file.hashes.sha256 or None,
        "files": [_file(file, chosen=file.file_id in chosen) for file in resolution.files],
        "is_bundle": resolved.is_bundle,
        "target_path": resolved.target_path,
        "target_reason": main.placement.reason,
        "free_bytes": _free_bytes(main),
        "early_access_until": resolution.early_access_until,
    }


_AS_SAID = (
    "source_type",
    "reference",
    "source_url",
    "model_id",
    "version_id",
    "version_name",
    "versions",
    "description",
    "trigger_words",
    "previews",
    "tags",
    "creator",
    "licence",
    "nsfw",
    "nsfw_level",
    "needs_token",
    "early_access",
    "warnings",
)


def _file(file: SourceFile, *, chosen: bool) -> dict[str, Any]:
    values = {name: value for name, value in asdict(file).items() if name != "url"}
    values["hashes"] = {name: digest for name, digest in values["hashes"].items() if digest}
    return {**values, "chosen": chosen}


def _free_bytes(item: FilePlacement) -> int | None:
    root: Root = item.placement.root
    try:
        return shutil.disk_usage(root.path).free
    except OSError:
        return None
