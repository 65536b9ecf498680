"""Bytes per second for all processes together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from downloads import throttle
from downloads.models import ByteBudget
from downloads.throttle import MAX_WAIT_SECONDS, DatabaseThrottle
from tests.downloads.driving import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

MB = 1_000_000


def sold_until_in_seconds() -> float:
    """How far ahead of now the line is sold."""
    return (ByteBudget.objects.get().spent_until - timezone.now()).total_seconds()


def test_without_a_limit_nobody_waits(settings: Settings) -> None:
    settings.MAX_BYTES_PER_SECOND = 0
    assert throttle.throttle() is None
    settings.MAX_BYTES_PER_SECOND = MB
    assert throttle.throttle() is not None


def test_the_first_piece_is_free_and_the_next_ones_wait_their_turn() -> None:
    budget = DatabaseThrottle(MB)
    assert budget.take(3 * MB) == 0
    assert 0 < budget.take(MB) <= 3
    assert 0 < sold_until_in_seconds() <= 4


def test_small_reads_are_paid_from_one_piece() -> None:
    budget = DatabaseThrottle(MB)
    budget.take(1000)
    spent = ByteBudget.objects.get().spent_until
    assert [budget.take(1000) for _number in range(200)] == [0.0] * 200
    assert ByteBudget.objects.get().spent_until == spent


def test_two_processes_share_one_budget() -> None:
    one, two = DatabaseThrottle(MB), DatabaseThrottle(MB)
    one.take(60 * MB)
    assert two.take(MB) == MAX_WAIT_SECONDS, "nobody waits for ever; the next read waits again"


def test_a_line_that_was_idle_saves_nothing_up() -> None:
    budget = DatabaseThrottle(MB)
    budget.take(MB)
    ByteBudget.objects.update(spent_until=timezone.now() - timedelta(hours=1))
    budget.take(10 * MB)
    assert 0 < sold_until_in_seconds() <= 10


@pytest.mark.django_db(transaction=True)
def test_nothing_is_sold_twice() -> None:
    began = timezone.now()
    budgets = [DatabaseThrottle(MB) for _number in range(4)]
    at_once(*[lambda budget=budget: [budget.take(5 * MB) for _n in range(2)] for budget in budgets])
    sold = (ByteBudget.objects.get().spent_until - began).total_seconds()
    assert sold >= 40
