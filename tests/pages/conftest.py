from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests.factories import make_admin, make_user
from tests.origin import Origin
from tokens import clients

REQUEST = "downloads.request_content"


@pytest.fixture
def creator(db: None) -> User:
    return make_user("creator", REQUEST)


@pytest.fixture
def admin(db: None) -> User:
    return make_admin()


@pytest.fixture
def visitor(client: Client, creator: User) -> Client:
    """Somebody who may request, in a browser without scripts."""
    client.force_login(creator)
    return client


@pytest.fixture
def wired(origin: Origin, settings: Settings, tmp_path: Path) -> Iterator[Origin]:
    """The origin plays CivitAI and the Hub; files go to a directory of this test."""
    settings.MODELS_DIR = tmp_path / "models"
    settings.CIVITAI_ENDPOINT = origin.civitai_url
    settings.HF_ENDPOINT = origin.huggingface_url
    settings.OUTBOUND_ALLOW = tuple(origin.allow.split(","))
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": origin.civitai_url,
        }
    }
    yield origin
    clients.guarded_client().close()
