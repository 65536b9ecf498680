"""After each test, and after the whole suite: no token lies open anywhere.

- After a test that used tokens: every row of the database before it is rolled back or emptied, the
  keys of this run in Redis, and all that the test printed and logged.
- At the end of each process: its data directory. At the end of the run: the folders of all tests
  and Redis once more.

Only ciphertext may be kept, which the search does not recognise. The log of the origin and the
answers that tests look at hold tokens too, in memory alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import canaries, canary_search

FOUND: pytest.StashKey[list[str]] = pytest.StashKey()
USED: pytest.StashKey[int] = pytest.StashKey()
DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "django_db_serialized_rollback"}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = []


def _uses_database(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    return bool(names & DATABASE_FIXTURES) or item.get_closest_marker("django_db") is not None


def _in_this_database() -> list[str]:
    from django.db import connection

    if connection.connection is None or connection.needs_rollback:
        return []
    found: list[str] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found += canary_search.in_rows(f"table {table}", cursor.fetchall())
    return found


def _in_redis() -> list[str]:
    url, run = os.environ.get("REDIS_URL"), os.environ.get("MODELYARD_TEST_RUN")
    return canary_search.in_redis(url, f"modelyard-{run}-*") if url and run else []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[USED] = canaries.used()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Search before the fixtures are taken down, and so before the rows are gone."""
    found = []
    if canaries.used() > item.stash.get(USED, 0):
        if _uses_database(item):
            found += _in_this_database()
        found += _in_redis()
    yield
    assert not found, "Tokens lie open: " + "; ".join(sorted(set(found)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.passed:
        places = [
            f"{title}: {trace}"
            for title, text in report.sections
            for trace in canaries.traces(text)
        ]
        if places:
            report.outcome = "failed"
            report.longrepr = "Tokens lie open: " + "; ".join(sorted(set(places)))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    found = config.stash[FOUND]
    data = os.environ.get("MODELYARD_DATA_DIR")
    if data and Path(data).is_dir():
        found += canary_search.in_tree(Path(data))
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["canaries"] = found
        return
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None and factory._basetemp is not None:
        found += canary_search.in_tree(factory._basetemp)
    found += _in_redis()
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[FOUND] += getattr(node, "workeroutput", {}).get("canaries", [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for place in sorted(set(config.stash[FOUND])):
        terminalreporter.write_line(f"TOKEN FOUND: {place}", red=True)
