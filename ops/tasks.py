"""The one task that beat sends."""

from __future__ import annotations

import logging

from celery import shared_task

from ops.jobs import registry

logger = logging.getLogger(__name__)


@shared_task(name="ops.tasks.run_job")
def run_job(job_id: str) -> None:
    """Run a registered job. An id that is not known is a message of an older version."""
    known = registry.get(job_id)
    if known is None:
        logger.warning("There is no job %s any more.", job_id)
        return
    known.run()
