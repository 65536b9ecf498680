"""What people do in the admin console goes into the audit log too."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry, LogEntryManager
from django.contrib.auth import get_user_model

from ops import audit

ACTIONS = {ADDITION: "admin.added", CHANGE: "admin.changed", DELETION: "admin.deleted"}


class AuditedLogEntryManager(LogEntryManager):
    """The one place through which every admin logs, also for many rows at once.

    A signal would miss those: Django writes them with `bulk_create`.
    """

    def log_actions(
        self,
        user_id: Any,
        queryset: Any,
        action_flag: int,
        change_message: Any = "",
        *,
        single_object: Any = False,
    ) -> Any:
        rows = list(queryset)
        entries = super().log_actions(
            user_id, rows, action_flag, change_message, single_object=single_object
        )
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
    """Replace the manager of Django's own admin log. Called once, when the apps are ready."""
    LogEntry.add_to_class("objects", AuditedLogEntryManager())
