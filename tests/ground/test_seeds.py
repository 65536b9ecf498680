"""What migrations made is there for every test, also after one with real transactions."""

from __future__ import annotations

import pytest

from registry.models import PlacementRule
from tests import seeds


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_default_rules_are_there_although_the_tables_were_emptied(turn):
    assert PlacementRule.objects.exists()


def test_only_what_is_missing_is_put_back(db):
    rule = PlacementRule.objects.order_by("pk").first()
    PlacementRule.objects.exclude(pk=rule.pk).delete()
    seeds.restore()
    assert PlacementRule.objects.count() == 1
    rule.delete()
    seeds.restore()
    assert PlacementRule.objects.count() > 1


def test_who_empties_the_tables_is_known(request):
    assert not seeds.uses_transactions(request.node)
