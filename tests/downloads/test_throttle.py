"""Bytes per second for all processes together."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from downloads import throttle
from downloads.models import ByteBudget
from downloads.throttle import DatabaseThrottle
from tests.downloads.driving import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

MB = 1_000_000


def test_without_a_limit_nobody_waits(settings: Settings) -> None:
    settings.MAX_BYTES_PER_SECOND = 0
    assert throttle.throttle() is None
    settings.MAX_BYTES_PER_SECOND = MB
    assert throttle.throttle() is not None


def test_the_first_piece_is_free_and_the_next_ones_wait_their_turn() -> None:
    budget = DatabaseThrottle(MB)
    assert budget.take(MB // 4) == 0
    waits = [budget.take(MB // 4) for _number in range(4)]
    assert [round(wait, 1) for wait in waits] == pytest.approx([0.2, 0.5, 0.7, 1.0], abs=0.11)


def test_small_reads_are_paid_from_one_piece() -> None:
    budget = DatabaseThrottle(MB)
    budget.take(1000)
    spent = ByteBudget.objects.get().spent_until
    assert [budget.take(1000) for _number in range(200)] == [0.0] * 200
    assert ByteBudget.objects.get().spent_until == spent


def test_two_processes_share_one_budget() -> None:
    one, two = DatabaseThrottle(MB), DatabaseThrottle(MB)
    one.take(MB)
    assert two.take(MB) == pytest.approx(1.0, abs=0.2)


def test_nobody_waits_for_ever() -> None:
    budget = DatabaseThrottle(1000)
    budget.take(10**9)
    assert budget.take(1000) == throttle.MAX_WAIT_SECONDS


@pytest.mark.django_db(transaction=True)
def test_nothing_is_sold_twice() -> None:
    budgets = [DatabaseThrottle(MB) for _number in range(4)]
    waits = at_once(
        *[lambda budget=budget: [budget.take(MB) for _n in range(2)] for budget in budgets]
    )
    assert max(wait for each in waits for wait in each) == pytest.approx(5.0, abs=0.1)
    assert len({round(wait, 1) for each in waits for wait in each}) >= 5
