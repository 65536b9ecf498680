"""One product for all tests here: starting it costs seconds, and living through them is a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.harness import Running
from tests.origin import Origin


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The embedded configuration, SQLite and Valkey, against an origin of its own.

    When it has ended, no token lies open in what it kept, wrote and sent.
    """
    folder = tmp_path_factory.mktemp("product")
    with Origin() as origin:
        with Running(
            folder, origin, MAX_CONCURRENT_DOWNLOADS="2", CONNECTIONS_PER_FILE="2"
        ) as running:
            running.database.record_moves()
            yield running
        assert running.secrets_left() == []


@pytest.fixture
def sources(product: Running) -> Iterator[Origin]:
    """The origin that the product uses; faults of a test end with it."""
    yield product.origin
    product.origin.faults.clear()
