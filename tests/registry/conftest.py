from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from registry.inspect.verdict import Verdict
from registry.models import Asset
from registry.roots import default_root, quarantine_dir, root_path
from registry.services import register_file, resolve_placement
from tests.factories import make_admin
from transfer.publish import Published

Register = Callable[..., Asset]


@pytest.fixture(autouse=True)
def directories(settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    settings.DATA_DIR = tmp_path / "data"


@pytest.fixture
def admin_user(db: None) -> User:
    return make_admin()


def published_at(path: Path) -> Published:
    status = path.stat()
    return Published(
        path=path,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
    )


@pytest.fixture
def register(db: None) -> Register:
    """Write a file where the rules want it, or into the quarantine, and register it."""

    def write_and_register(
        body: bytes = b"model bytes", *, file_name: str = "x.safetensors", **values: Any
    ) -> Asset:
        quarantine = values.get("quarantine_path", "")
        placement = values.pop("placement", None) or resolve_placement(
            model_type=values.get("model_type", "lora"),
            base_model=values.get("base_model", "SDXL 1.0"),
            file_name=file_name,
        )
        root = default_root()
        directory = quarantine_dir(root) if quarantine else root_path(root)
        path = directory / (quarantine or placement.relative_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return register_file(
            **{
                "placement": placement,
                "name": "A model",
                "model_type": "lora",
                "size_bytes": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "verdict": Verdict(accepted=True, format="safetensors"),
                "verification": "verified",
                "published": None if quarantine else published_at(path),
                **values,
            }
        )

    return write_and_register
