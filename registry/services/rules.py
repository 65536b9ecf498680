"""Placement rules, changed by people who may; every change is in the audit log."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from ops import audit
from registry.models import PlacementRule
from registry.placement import clean_target

FIELDS = ("model_type", "base_model", "target_directory", "priority", "is_active")


@transaction.atomic
def create_rule(
    *,
    user: Any,
    model_type: str,
    target_directory: str,
    base_model: str | None = None,
    priority: int = 0,
    is_active: bool = True,
) -> PlacementRule:
    """A new rule; the directory is stored as `/models/…/`. Raises PlacementNotPossible."""
    rule = PlacementRule.objects.create(
        model_type=model_type,
        base_model=_base_model(base_model),
        target_directory=clean_target(target_directory),
        priority=priority,
        is_active=is_active,
    )
    audit.record("placement_rule.created", actor=user, target=rule, **_facts(rule))
    return rule


@transaction.atomic
def update_rule(*, rule: PlacementRule, user: Any, **changes: Any) -> PlacementRule:
    """Change some of FIELDS. Raises PlacementNotPossible."""
    before = _facts(rule)
    if "target_directory" in changes:
        changes["target_directory"] = clean_target(changes["target_directory"])
    if "base_model" in changes:
        changes["base_model"] = _base_model(changes["base_model"])
    for name, value in changes.items():
        setattr(rule, name, value)
    rule.save(update_fields=[*changes, "updated_at"])
    audit.record(
        "placement_rule.changed", actor=user, target=rule, before=before, after=_facts(rule)
    )
    return rule


@transaction.atomic
def delete_rule(*, rule: PlacementRule, user: Any) -> None:
    audit.record("placement_rule.deleted", actor=user, target=rule, **_facts(rule))
    rule.delete()


def _base_model(text: str | None) -> str | None:
    return " ".join((text or "").split()) or None


def _facts(rule: PlacementRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in FIELDS}
