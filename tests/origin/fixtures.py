"""The fixture `origin`; registered in tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.origin.server import Origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A running origin of its own for this test: no faults, an empty log."""
    with Origin() as running:
        yield running
