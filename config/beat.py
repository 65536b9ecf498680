"""The clock: schedules that admins may edit, and a sign that it runs."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django_celery_beat.schedulers import DatabaseScheduler

from config.errors import boundary

logger = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):
    """Touches `BEAT_TICK_FILE` after every turn, at least every `--max-interval` seconds."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        pause: float = super().tick(*args, **kwargs)
        with boundary("Noting beat's turn", lambda error: logger.warning(error.message)):
            settings.BEAT_TICK_FILE.touch()
        return pause
