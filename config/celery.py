"""The Celery application. Tasks carry ids, the rows say what to do."""

from __future__ import annotations

import os

from celery import Celery

from ops import jobs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("modelyard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def load_schedule() -> None:
    """Tell beat about every registered job. Called once the packages have registered theirs."""
    app.conf.beat_schedule = jobs.beat_schedule()
