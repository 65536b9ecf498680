"""The Celery application. Tasks carry ids, the rows say what to do."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery, signals
from django.conf import settings
from django_structlog.celery.steps import DjangoStructLogInitStep

from config import broker
from config.errors import boundary
from ops import jobs

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("modelyard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# A task's log lines carry the id of the request that sent it.
app.steps["worker"].add(DjangoStructLogInitStep)


def load_schedule() -> None:
    """Tell beat about every registered job. Called once the packages have registered theirs."""
    app.conf.beat_schedule = jobs.beat_schedule()


@signals.setup_logging.connect(weak=False)
def keep_our_logging(**_kwargs: Any) -> None:
    """Django has set it up (`config.logging`); with a receiver here, Celery adds nothing."""


@signals.worker_init.connect(weak=False)
def check_broker(**_kwargs: Any) -> None:
    """A broker that may drop messages delays work, and whoever runs it should know."""
    with boundary("Checking the broker", lambda error: logger.error(error.message)):
        for complaint in broker.complaints(settings.REDIS_URL):
            logger.error(complaint)
