"""System checks: can models be kept in `MODELYARD_MODELS_DIR`?

They look only at what is there: a directory that does not exist yet is made at the first download.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from registry.roots import HIDDEN

FOLDERS = ("partials", "quarantine", "trash")


def check_models_directory(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """registry.E001 not writable, E002 other file system below `.modelyard`, E003 no hard links."""
    path: Path = settings.MODELS_DIR
    existing = next(place for place in (path, *path.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return [
            Error(
                f"MODELYARD_MODELS_DIR {path} cannot be written.",
                hint="Give the user of the service write access, or name another directory.",
                id="registry.E001",
            )
        ]
    hidden = path / HIDDEN
    if not hidden.is_dir():
        return []
    return [*_same_file_system(path, hidden), *_hard_links(path, hidden)]


def _same_file_system(path: Path, hidden: Path) -> list[CheckMessage]:
    device = path.stat().st_dev
    places = [hidden, *(hidden / name for name in FOLDERS)]
    return [
        Error(
            f"{place} is not on the file system of {path}.",
            hint="Finished files are linked into place; do not mount anything below .modelyard.",
            id="registry.E002",
        )
        for place in places
        if place.exists() and place.stat().st_dev != device
    ]


def _hard_links(path: Path, hidden: Path) -> list[CheckMessage]:
    first = hidden / f"check-{uuid.uuid4().hex}"
    second = first.with_suffix(".link")
    try:
        first.touch()
        os.link(first, second)
    except OSError as exc:
        return [
            Error(
                f"The file system of {path} does not support hard links: {exc.strerror}.",
                hint="Use a file system with hard links; they keep a model from being overwritten.",
                id="registry.E003",
            )
        ]
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
    return []
