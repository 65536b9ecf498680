"""The order of tests, and the rows that migrations made: a plugin of the suite.

A test with real transactions ends with every table emptied, also of the rows that migrations put
there (the default placement rules). Without this, whoever comes next would find an installation that
no user ever has.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.db import connection, models
from pytest_django.plugin import blocking_manager_key

OWN_PACKAGES = frozenset({"ops", "tokens", "registry", "downloads"})
#: Serialized rows by model, as the migrations of this run left them.
_rows: dict[type[models.Model], str] = {}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database of pytest-django, whose first rows are remembered."""
    with django_db_blocker.unblock():
        for model in apps.get_models():
            rows = model._base_manager.all()
            if model._meta.app_label in OWN_PACKAGES and rows.exists():
                _rows[model] = serializers.serialize("json", rows)
    yield
    _rows.clear()
    with django_db_blocker.unblock():
        end_other_sessions()


def end_other_sessions() -> None:
    """Playwright's event loop hides connections from the thread that opened them; PostgreSQL drops
    no database that one of them still uses."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def uses_transactions(item: pytest.Item) -> bool:
    """As pytest-django decides it, and with its live server, which asks for them later."""
    marker = item.get_closest_marker("django_db")
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(
        (marker is not None and marker.kwargs.get("transaction"))
        or fixtures & {"transactional_db", "live_server"}
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest first, so that no process is left with one at the end, then those that empty the
    tables, and those with a browser last: Playwright's event loop stays in the thread of the tests,
    and in whatever follows Django takes itself for a coroutine."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("browser"):
        return 3
    if uses_transactions(item):
        return 2
    return 0 if item.get_closest_marker("processes") else 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, Any, Any]:
    outcome = yield
    if nextitem is not None and uses_transactions(item):
        with item.config.stash[blocking_manager_key].unblock():
            restore()
    return outcome


def restore() -> None:
    for model, text in _rows.items():
        if not model._base_manager.exists():
            for row in serializers.deserialize("json", text):
                row.save()
