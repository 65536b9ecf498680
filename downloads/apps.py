from typing import Any

from django.apps import AppConfig


class DownloadsConfig(AppConfig):
    name = "downloads"

    def ready(self) -> None:
        from celery.signals import (  # noqa: PLC0415  (all of these need the loaded models)
            worker_ready,
            worker_shutting_down,
        )

        from downloads import credentials, shutdown  # noqa: PLC0415
        from tokens import crypto  # noqa: PLC0415

        crypto.register_column(
            "downloads.Download", "source_secret", context=credentials.context_of
        )
        worker_shutting_down.connect(shutdown.request, weak=False)
        worker_ready.connect(_at_start, weak=False)


def _at_start(**_kwargs: Any) -> None:
    """What was running when the last worker stopped goes on at once, not at the next tick."""
    from downloads import tasks  # noqa: PLC0415

    tasks.send_reconcile()
