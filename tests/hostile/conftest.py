from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import models, transaction
from pytest_django import Settings

from downloads import shutdown
from downloads.models import Download, PartialFile
from ops.models import AuditEvent, AuditHead
from registry.models import Asset, AssetPreview, Companion, Root
from tests.factories import make_user
from tests.hostile.doors import Doors
from tests.hostile.listeners import Listeners, journal
from tests.hostile.stage import Stage
from tokens import clients
from transfer import pulse


@pytest.fixture(scope="module")
def listeners() -> Iterator[Listeners]:
    with Listeners() as started:
        yield started


@pytest.fixture(scope="module")
def _stage() -> Iterator[Stage]:
    with Stage() as started:
        yield started


@pytest.fixture
def stage(_stage: Stage, listeners: Listeners) -> Iterator[Stage]:
    """The sources of this module, with no route; in the end nobody went where nobody may go."""
    _stage.clear()
    listeners.visits()
    with journal() as kept:
        yield _stage
    assert listeners.visits() == []
    assert kept.beyond(_stage.addresses) == set()


@pytest.fixture
def models_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    settings.DATA_DIR = tmp_path / "data"
    return settings.MODELS_DIR


@pytest.fixture
def wired(
    stage: Stage, settings: Settings, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """The stage plays the services; nothing is remembered from another test, no wait is long."""
    settings.CIVITAI_ENDPOINT = stage.url("civitai")
    settings.HF_ENDPOINT = stage.url("hub")
    settings.OUTBOUND_ALLOW = stage.allow
    settings.INITIAL_BACKOFF_SECS = 0.0
    settings.MAX_RETRIES = 1
    settings.CONNECTIONS_PER_FILE = 1
    settings.CONNECT_TIMEOUT_SECONDS = 3
    settings.IDLE_TIMEOUT_SECONDS = 5
    settings.USER_MAX_REQUESTS_PER_DAY = 1000
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    monkeypatch.setattr(pulse, "FIRST_DELAY_SECONDS", 0.01)
    shutdown.clear()
    yield stage
    clients.guarded_client().close()


@pytest.fixture
def user(db: None) -> User:
    return make_user("mara", "downloads.request_content")


@pytest.fixture
def doors(user: User, wired: Stage) -> Doors:
    return Doors(user)


# --- Pulls: a stage's lease is kept by a thread, which sees only what was committed -----------------


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """As pytest-django's. Emptying every table after each test takes longer than most tests here,
    so what they leave is swept away by name."""
    with django_db_blocker.unblock():
        yield
        sweep()


def sweep() -> None:
    with transaction.atomic():
        for model in (PartialFile, Download, AssetPreview, Companion, Asset, Root, AuditHead,
                      LogEntry, Session, User):  # fmt: skip
            model._default_manager.all().delete()
        models.QuerySet(AuditEvent).delete()  # its own manager deletes nothing


@pytest.fixture
def puller(transactional_db: None, wired: Stage) -> Doors:
    """The doors for files that really come."""
    return Doors(make_user("paula", "downloads.request_content"))
