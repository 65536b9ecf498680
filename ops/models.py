"""What everybody may use to be seen: the audit log."""

from __future__ import annotations

from typing import Any, NoReturn

from django.conf import settings
from django.db import models

GENESIS = "0" * 64


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **_kwargs: Any) -> NoReturn:
        raise RuntimeError("The audit log is never changed.")

    def delete(self) -> NoReturn:
        raise RuntimeError("The audit log is only shortened by ops.audit.expire.")


class AuditEvent(models.Model):
    """One entry of the append-only log; `digest` covers the entry and the digest before it.

    Written by `ops.audit.record` alone. The actor's id stays when the user is deleted, so that the
    digest keeps its meaning; show `actor_name`.
    """

    at = models.DateTimeField(db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    actor_name = models.CharField(max_length=150, default="", blank=True)
    action = models.CharField(max_length=100, db_index=True)
    object_type = models.CharField(max_length=100, default="", blank=True)
    object_id = models.CharField(max_length=64, default="", blank=True)
    details = models.JSONField(default=dict, blank=True)
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        default_permissions = ("view",)
        indexes = (models.Index(fields=("object_type", "object_id")),)
        permissions = (
            ("view_analytics", "Can see figures, activity and the audit log"),
            ("run_job", "Can start and stop background jobs"),
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor_name or 'system'} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise RuntimeError("The audit log is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise RuntimeError("The audit log is only shortened by ops.audit.expire.")


class AuditHead(models.Model):
    """Both ends of the chain, one row. Whoever writes holds its lock, so writers go one by one.

    `anchor_digest` is the digest of the last entry that retention took away, and `head_digest` that
    of the newest: entries cut off at either end are noticed.
    """

    anchor_digest = models.CharField(max_length=64, default=GENESIS)
    head_digest = models.CharField(max_length=64, default=GENESIS)
    turns = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"audit log up to {self.head_digest[:12]}"
