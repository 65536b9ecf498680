"""Sending a task is a hint: it happens after the commit, and a broker that is away is no error."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def send(task: Any, *args: Any) -> None:
    """Send `task` after the commit. `registry.periodic` repeats what was not sent."""

    def publish() -> None:
        try:
            task.delay(*args)
        except OperationalError:
            logger.warning("The broker does not answer; %s%s will be sent later.", task.name, args)

    transaction.on_commit(publish, robust=True)
