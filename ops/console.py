"""What people do in the admin console goes into the audit log too."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntryManager
from django.contrib.auth import get_user_model

from ops import audit

ACTIONS = {ADDITION: "admin.added", CHANGE: "admin.changed", DELETION: "admin.deleted"}


def _audited(log_actions: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(log_actions)
    def log_and_record(
        self: LogEntryManager,
        user_id: Any,
        queryset: Any,
        action_flag: int,
        change_message: Any = "",
        **options: Any,
    ) -> Any:
        rows = list(queryset)
        entries = log_actions(self, user_id, rows, action_flag, change_message, **options)
        actor = get_user_model()._default_manager.filter(pk=user_id).first()
        for row in rows:
            audit.record(
                ACTIONS.get(action_flag, "admin.other"),
                actor=actor,
                target=row,
                name=str(row),
                changes=_names_of_changes(change_message),
            )
        return entries

    return log_and_record


def _names_of_changes(change_message: Any) -> list[str]:
    """Names of the changed fields: Django's message holds names alone, never values."""
    try:
        parts = json.loads(change_message) if isinstance(change_message, str) else change_message
    except ValueError:
        return []
    if not isinstance(parts, list):
        return []
    return [
        str(field)
        for part in parts
        if isinstance(part, dict)
        for what in part.values()
        if isinstance(what, dict)
        for field in what.get("fields", [])
    ]


def audit_everything() -> None:
    """Wrap the one method through which every admin logs, also many rows at once.

    A signal would miss those, since Django writes them with `bulk_create`, and a manager of our own
    does not replace the one that the model has. Called once, when the apps are ready.
    """
    wrapped: Any = _audited(LogEntryManager.log_actions)
    if not hasattr(LogEntryManager.log_actions, "__wrapped__"):
        LogEntryManager.log_actions = wrapped  # type: ignore[method-assign]
