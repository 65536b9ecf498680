"""Pictures of models: fetched through the guarded client, decoded in a child process, re-encoded.

    <data dir>/previews/<asset id>/<SHA-256 of the URL>.webp

Nothing that a stranger drew is ever served as it came, and no page loads a picture from elsewhere.
A picture that cannot be had is noted and fails nothing.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from pathlib import Path

from django.conf import settings
from django.core import signing
from django.urls import reverse

from config.errors import ModelyardError, boundary
from registry.errors import PreviewUnavailable
from registry.inspect import make_thumbnail
from registry.inspect.runner import Thumbnail
from registry.models import AssetPreview, AssetStatus, PreviewStatus
from tokens.clients import guarded_client

MAX_PREVIEW_BYTES = 20 * 1024 * 1024
PREVIEW_DEADLINE_S = 20.0
PREVIEW_SIZE_PX = 1024
THUMBNAIL_SIZE_PX = 512
#: How long the address of a picture shown before a download is good.
SIGNED_URL_AGE_S = 24 * 3600
SALT = "registry.previews"
UNAVAILABLE = "This picture could not be fetched, or it is not a PNG, JPEG or WebP picture."


def signed_preview_url(url: str) -> str:
    """Our own path of the picture at `url`, for pages that show it before a download.

    The signature is what makes the server fetch it: nobody else's address is fetched.
    """
    token = signing.dumps(url, salt=SALT, compress=True)
    return f"{reverse('preview-thumbnail')}?token={token}"


def read_signed(token: str) -> str:
    """The URL inside a token. Raises PreviewUnavailable for a forged or old one."""
    try:
        return str(signing.loads(token, salt=SALT, max_age=SIGNED_URL_AGE_S))
    except signing.BadSignature as exc:
        raise PreviewUnavailable(
            "This picture's address is too old or not ours. Load the page again."
        ) from exc


def fetch_thumbnail(url: str) -> bytes:
    """The picture at `url` as a small WebP. Raises PreviewUnavailable, whatever the reason."""
    return _fetch(url, THUMBNAIL_SIZE_PX).body


def previews_dir(asset_id: int) -> Path:
    return Path(settings.DATA_DIR) / "previews" / str(asset_id)


def preview_path(preview: AssetPreview) -> Path | None:
    """The file of a ready preview, None when there is none."""
    if preview.status != PreviewStatus.READY or not preview.file_name:
        return None
    path = previews_dir(preview.asset_id) / Path(preview.file_name).name
    return path if path.is_file() else None


def fetch_previews(asset_id: int, *, until: float = float("inf")) -> None:
    """Fetch every picture of the asset that is still pending; failures are noted in their rows.

    None is begun after `until` (of `time.monotonic`); those stay pending for a later call.
    """
    pending = AssetPreview.objects.filter(asset_id=asset_id, status=PreviewStatus.PENDING)
    for preview in pending.exclude(asset__status=AssetStatus.DELETING):
        if time.monotonic() >= until:
            return
        _fetch_one(preview)


def _fetch_one(preview: AssetPreview) -> None:
    def fail(error: ModelyardError) -> None:
        AssetPreview.objects.filter(pk=preview.pk).update(
            status=PreviewStatus.FAILED, error_message=error.message
        )

    with boundary("fetching a preview", fail):
        picture = _fetch(preview.source_url, PREVIEW_SIZE_PX)
        name = f"{hashlib.sha256(preview.source_url.encode()).hexdigest()}.webp"
        _write(previews_dir(preview.asset_id), name, picture.body)
        AssetPreview.objects.filter(pk=preview.pk).update(
            status=PreviewStatus.READY,
            file_name=name,
            width=picture.width,
            height=picture.height,
            error_message="",
        )


def _fetch(url: str, size_px: int) -> Thumbnail:
    try:
        answer = guarded_client().get_bytes(
            url, max_bytes=MAX_PREVIEW_BYTES, deadline_s=PREVIEW_DEADLINE_S
        )
    except ModelyardError as exc:
        # One sentence for every reason: nobody learns what answers at an address.
        raise PreviewUnavailable(UNAVAILABLE) from exc
    return make_thumbnail(answer.body, size_px=size_px)


def _write(directory: Path, name: str, body: bytes) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = directory / f".{uuid.uuid4().hex}"
    try:
        temporary.write_bytes(body)
        temporary.replace(directory / name)
    finally:
        temporary.unlink(missing_ok=True)
