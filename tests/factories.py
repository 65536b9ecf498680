"""Rows for tests, made with model-bakery: valid by the database's own checks, and plausible."""

from __future__ import annotations

import hashlib
import itertools
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone
from model_bakery import baker

from downloads.models import Download
from downloads.states import DownloadStatus
from registry.models import Asset, Root

_numbers = itertools.count(1)
GB = 10**9


def make_user(
    name: str = "", *permissions: str, password: str = "secret-pass-1", **fields: Any
) -> User:
    """A user; permissions as `app.codename`."""
    user = User.objects.create_user(name or f"user{next(_numbers)}", password=password, **fields)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return user


def make_admin(name: str = "admin", password: str = "secret-pass-1") -> User:
    return User.objects.create_superuser(name, password=password)


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_root(**fields: Any) -> Root:
    existing = Root.objects.filter(is_default=True).first()
    if existing is not None and not fields:
        return existing
    number = next(_numbers)
    values = {
        "path": f"/srv/models-{number}",
        "label": f"models {number}",
        "is_default": existing is None,
    } | fields
    return baker.make(Root, **values)


def make_asset(name: str = "Detail Tweaker XL", **fields: Any) -> Asset:
    number = next(_numbers)
    path = fields.pop("relative_path", f"loras/sdxl/model-{number}.safetensors")
    values: dict[str, Any] = {
        "root": fields.get("root") or make_root(),
        "relative_path": path,
        "path_key": path.casefold(),
        "name": name,
        "asset_type": "lora",
        "checksum_sha256": sha256_of(f"asset {number}"),
        "file_size_bytes": 228_455_632,
        "base_model": "SDXL 1.0",
        "base_model_family": "SDXL",
        "verification": "verified",
        "format": "safetensors",
    } | fields
    return baker.make(Asset, **values)


def make_download(status: str = DownloadStatus.QUEUED, **fields: Any) -> Download:
    """A row in that status, with the columns that go with it."""
    now = timezone.now()
    number = next(_numbers)
    values: dict[str, Any] = {
        "status": status,
        "source_type": "civitai",
        "source_url": f"https://civitai.com/models/{number}",
        "source_reference": f"civitai:{number}@{number}",
        "source_key": sha256_of(f"source {number}"),
        "model_name": f"Model {number}",
        "model_type": "lora",
        "base_model": "SDXL 1.0",
        "base_model_family": "SDXL",
        "file_name": f"model-{number}.safetensors",
        "file_size_bytes": 6 * GB,
        "target_path": f"/models/loras/sdxl/model-{number}.safetensors",
        "position": number,
    } | _columns_of(status, now)
    values |= fields
    return baker.make(Download, **values)


def _columns_of(status: str, now: Any) -> dict[str, Any]:
    whole = 6 * GB
    return {
        DownloadStatus.DOWNLOADING: {
            "downloaded_bytes": whole // 2,
            "download_speed_bps": 84_000_000,
            "progress_at": now,
            "started_at": now - timedelta(minutes=1),
            "owner": "worker@host:1",
            "lease_expires_at": now + timedelta(minutes=1),
            "attempt": 1,
        },
        DownloadStatus.VERIFYING: {"downloaded_bytes": whole, "attempt": 1},
        DownloadStatus.REGISTERING: {"downloaded_bytes": whole, "attempt": 1},
        DownloadStatus.REVIEW: {"downloaded_bytes": whole, "review": True, "attempt": 1},
        DownloadStatus.COMPLETED: {
            "downloaded_bytes": whole,
            "completed_at": now,
            "hash_verified": True,
            "verification": "verified",
        },
        DownloadStatus.RETRY_WAITING: {
            "retry_at": now + timedelta(minutes=2),
            "error_code": "remote_busy",
            "error_message": "The site answered 503.",
        },
        DownloadStatus.PARKED: {"retry_at": now + timedelta(days=2), "error_code": "early_access"},
        DownloadStatus.PAUSED: {"downloaded_bytes": whole // 4},
        DownloadStatus.FAILED: {
            "error_code": "remote_gone",
            "error_message": "The file is no longer there (404).",
        },
    }.get(DownloadStatus(status), {})
