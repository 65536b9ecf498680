"""Rows that wait, a models directory of one's own, and the origin wired in as both services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from downloads import shutdown
from tests.factories import make_user
from tests.origin import Origin
from tokens import clients


@pytest.fixture
def models_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR


@pytest.fixture
def user(db: None) -> User:
    return make_user("mara", "downloads.request_content")


@pytest.fixture
def wired(origin: Origin, settings: Settings, models_dir: Path) -> Iterator[Origin]:
    """The origin plays CivitAI and the Hub; nothing is remembered from another test."""
    settings.CIVITAI_ENDPOINT = origin.civitai_url
    settings.HF_ENDPOINT = origin.huggingface_url
    settings.OUTBOUND_ALLOW = tuple(origin.allow.split(","))
    settings.INITIAL_BACKOFF_SECS = 0.0
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": origin.civitai_url,
        }
    }
    yield origin
    clients.guarded_client().close()


@pytest.fixture(autouse=True)
def _no_shutdown() -> Iterator[None]:
    shutdown.clear()
    yield
    shutdown.clear()
