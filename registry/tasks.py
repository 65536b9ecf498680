"""Celery's side of the registry: tasks carry ids, may come twice, and decide nothing."""

from __future__ import annotations

import logging

from celery import shared_task

from config.errors import ModelyardError, boundary
from registry import pipeline, previews

logger = logging.getLogger(__name__)


def _note(error: ModelyardError) -> None:
    # The wish stays in the row; the periodic job sends it again.
    logger.warning("%s: %s", error.code, error.message)


@shared_task(name="registry.tasks.verify_asset")
def verify_asset(asset_id: int) -> None:
    with boundary("verifying an asset", _note):
        pipeline.verify_asset(asset_id)


@shared_task(name="registry.tasks.refresh_asset")
def refresh_asset(asset_id: int) -> None:
    with boundary("refreshing an asset", _note):
        pipeline.refresh_asset(asset_id)
    with boundary("fetching previews", _note):
        previews.fetch_previews(asset_id)


@shared_task(name="registry.tasks.fetch_previews")
def fetch_previews(asset_id: int) -> None:
    with boundary("fetching previews", _note):
        previews.fetch_previews(asset_id)
