"""Messages: each carries an id and says "look at row N". Losing any of them only costs time.

A stage that had nothing to do, or did not lead to the next one, ends its chain with `Ignore`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from celery import chain, shared_task
from celery.canvas import Signature
from celery.exceptions import Ignore
from django.db import transaction

from config.errors import ModelyardError, boundary
from downloads import dispatcher, pipeline, reconciler
from downloads.stages import Outcome
from downloads.states import DownloadStatus

logger = logging.getLogger(__name__)


@shared_task(name="downloads.tasks.fetch")
def fetch(download_id: int) -> None:
    _go_on(pipeline.fetch_stage(download_id))


@shared_task(name="downloads.tasks.verify")
def verify(download_id: int) -> None:
    _go_on(pipeline.verify_stage(download_id))


@shared_task(name="downloads.tasks.register")
def register(download_id: int) -> None:
    outcome = pipeline.register_stage(download_id)
    if outcome is Outcome.NEXT:
        send_dispatch()  # Its slot is free, and others may have waited for this very file.
    _go_on(outcome)


@shared_task(name="downloads.tasks.distribute")
def distribute(download_id: int) -> None:
    pipeline.distribute_stage(download_id)


@shared_task(name="downloads.tasks.dispatch")
def dispatch() -> None:
    """Give free slots to the next downloads and send their chains."""
    send_stages((pk, DownloadStatus.DOWNLOADING) for pk in dispatcher.dispatch())


@shared_task(name="downloads.tasks.reconcile")
def reconcile() -> None:
    """Bring the rows in order, and send what should be running again."""
    send_stages(reconciler.reconcile())


STAGES = (
    (DownloadStatus.DOWNLOADING, fetch),
    (DownloadStatus.VERIFYING, verify),
    (DownloadStatus.REGISTERING, register),
    (None, distribute),
)


def stages_from(download_id: int, status: DownloadStatus) -> Signature[None]:
    """The chain that goes on from `status`."""
    statuses = [of for of, _task in STAGES]
    tasks = [task for _of, task in STAGES[statuses.index(status) :]]
    return chain(*(task.si(download_id) for task in tasks))


def send_stages(wanted: Iterable[tuple[int, DownloadStatus]]) -> None:
    for download_id, status in wanted:
        _send(stages_from(download_id, status).apply_async)


def send_dispatch() -> None:
    _send(dispatch.apply_async)


def dispatch_on_commit() -> None:
    transaction.on_commit(send_dispatch, robust=True)


def send_on_commit(download_id: int, status: DownloadStatus) -> None:
    transaction.on_commit(lambda: send_stages([(download_id, status)]), robust=True)


def send_reconcile() -> None:
    _send(reconcile.apply_async)


def _go_on(outcome: Outcome) -> None:
    """Let the chain go on, or end it."""
    if outcome is Outcome.LEFT:
        send_dispatch()  # The row gave its slot back, or waits in the queue again.
    if outcome is not Outcome.NEXT:
        raise Ignore


def _send(publish: Callable[[], object]) -> None:
    """The broker may be away: the row is committed, and the reconciler sends what is missing."""
    with boundary("Sending a message", _not_sent):
        publish()


def _not_sent(error: ModelyardError) -> None:
    logger.warning("A message was not sent; the reconciler will send it.")
