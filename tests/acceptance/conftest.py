from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from config.errors import ModelyardError
from downloads import pull as pulling
from downloads import shutdown
from downloads.exit_codes import exit_code_of
from tests.acceptance.naive import World
from tests.factories import make_user
from tests.hostile.conftest import sweep
from tokens import clients


@pytest.fixture(scope="module")
def _world() -> Iterator[World]:
    with World() as started:
        yield started


@pytest.fixture
def models_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR


@pytest.fixture
def world(_world: World, settings: Settings, models_dir: Path) -> Iterator[World]:
    """The services' addresses lead to it, and nothing is remembered from another test."""
    _world.clear()
    shutdown.clear()
    settings.CIVITAI_ENDPOINT = _world.civitai.url
    settings.HF_ENDPOINT = _world.hub.url
    settings.OUTBOUND_ALLOW = _world.allow
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    yield _world
    clients.guarded_client().close()


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A stage's lease is kept by a thread, which sees only what was committed. Emptying every table
    takes longer than most tests here, so what they leave is swept away by name."""
    with django_db_blocker.unblock():
        yield
        sweep()


@pytest.fixture
def user(transactional_db: None) -> User:
    return make_user("mara", "downloads.request_content")


@pytest.fixture
def pull(world: World, user: User) -> Callable[..., dict[str, Any]]:
    """`manage.py pull LINK --json` in this process: the object that it prints."""

    def run(link: str, **options: Any) -> dict[str, Any]:
        try:
            return pulling.pull(
                user=user,
                url=link,
                options=options,
                should_stop=lambda: False,
                on_start=lambda _download: None,
                on_progress=lambda *_step: None,
            ).as_dict()
        except ModelyardError as error:
            return {**error.as_dict(), "exit_code": int(exit_code_of(error.code))}

    return run
