"""A headless Chromium, and pages of a live server for somebody who is signed in."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, Page
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from registry.models import PlacementRule
from tests.factories import make_admin
from tests.needs import find_chromium
from tests.origin import Origin
from tokens import clients

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
WAIT_MS = 10_000

SignIn = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_type_launch_args, "executable_path": find_chromium(), "args": FLAGS}


@pytest.fixture(scope="session")
def base_url() -> str:
    """In place of the plugin's own, whose kind of fixture pytest warns about; see `open_page`."""
    return ""


@pytest.fixture(autouse=True, scope="session")
def _orm_beside_playwright() -> Iterator[None]:
    # Playwright's synchronous API keeps an event loop in this thread, and Django refuses the
    # database there.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture
def user(transactional_db: None) -> User:
    """An admin. The tests of a live server empty all tables, so the default rules come back here:
    Django's own way remembers them on a connection that Playwright's event loop hides."""
    if not PlacementRule.objects.exists():
        migration = importlib.import_module("registry.migrations.0002_default_placement_rules")
        migration.add_rules(apps, None)
    return make_admin("mira")


@pytest.fixture
def open_page(
    live_server: LiveServer, user: User, new_context: Callable[..., BrowserContext]
) -> SignIn:
    """Opens a page as `user`. Whatever goes wrong in the browser's console fails the test."""

    def open_page(
        path: str = "/",
        *,
        width: int = 1440,
        height: int = 900,
        theme: str = "light",
        script: bool = True,
        **options: Any,
    ) -> Page:
        context = new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": height},
            color_scheme=theme,
            java_script_enabled=script,
            **options,
        )
        context.set_default_timeout(WAIT_MS)
        client = Client()
        client.force_login(user)
        cookie = client.cookies[django_settings.SESSION_COOKIE_NAME]
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
        page = context.new_page()
        page.complaints = complaints = []  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.goto(path)
        return page

    return open_page


@pytest.fixture
def wired(origin: Origin, settings: Settings, tmp_path: Path) -> Iterator[Origin]:
    """The origin plays CivitAI and the Hub for the live server."""
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
