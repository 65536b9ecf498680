"""A stranger's picture becomes a small WebP of ours. Runs in the child process."""

from __future__ import annotations

import importlib
import io
import warnings
from typing import Any

from registry.inspect import verdict
from registry.inspect.report import Refused

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 80_000_000
MAX_SIDE_PX = 32_000
QUALITY = 82
_PLUGINS = ("Png", "Jpeg", "Mpo", "WebP")


def load() -> Any:
    """Pillow with what it would load later; returns its Image module."""
    image = importlib.import_module("PIL.Image")
    for name in _PLUGINS:
        importlib.import_module(f"PIL.{name}ImagePlugin")
    importlib.import_module("PIL.ImageOps")
    return image


def warm_up() -> None:
    """Load all that reading and writing a picture of each kind loads at first use."""
    image = load()
    for form in FORMATS:
        out = io.BytesIO()
        image.new("RGB", (8, 8)).save(out, form)
        shrink(out.getvalue(), size_px=4)


def shrink(body: bytes, *, size_px: int) -> tuple[int, int, bytes]:
    """Width, height and bytes of the first frame, at most `size_px` wide and high, without any
    metadata. Raises Refused for anything but a PNG, JPEG or WebP of bearable size."""
    image = load()
    image.MAX_IMAGE_PIXELS = MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with image.open(io.BytesIO(body), formats=list(FORMATS)) as opened:
                return _encode(opened, size_px)
        except (OSError, ValueError, SyntaxError, Warning, IndexError, KeyError, TypeError) as exc:
            raise Refused(verdict.FORMAT_INVALID, "The picture cannot be read.") from exc
        except image.DecompressionBombError as exc:
            raise Refused(verdict.FORMAT_INVALID, "The picture is too large.") from exc


def _encode(opened: Any, size_px: int) -> tuple[int, int, bytes]:
    width, height = opened.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        raise Refused(verdict.FORMAT_INVALID, "The picture has too many pixels.")
    opened.draft("RGB", (size_px, size_px))
    has_alpha = "A" in opened.getbands() or "transparency" in opened.info
    small = opened.convert("RGBA" if has_alpha else "RGB")
    small.thumbnail((size_px, size_px))
    out = io.BytesIO()
    small.save(out, "WEBP", quality=QUALITY)
    return small.width, small.height, out.getvalue()
