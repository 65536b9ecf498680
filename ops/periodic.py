"""Background jobs of `ops` itself."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from ops import audit
from ops.jobs import job


@job(
    "ops.expire-audit",
    name="Shorten the audit log",
    description="Takes away entries that are older than audit_log_retention_days.",
    cron="20 3 * * *",
)
def expire_audit() -> int:
    return audit.expire(timezone.now() - timedelta(days=settings.AUDIT_LOG_RETENTION_DAYS))
