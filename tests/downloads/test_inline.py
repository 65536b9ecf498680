"""A download run in this process, with nothing else running and no broker."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from downloads import dispatcher, inline, services
from downloads.models import Download, Slot
from downloads.states import DownloadStatus
from tests.downloads.driving import (
    fresh,
    in_thread,
    model_files,
    partial_files,
    run_chain,
    wait_until,
)
from tests.factories import make_download
from tests.origin import Origin
from tests.origin import made_civitai as made

pytestmark = pytest.mark.django_db(transaction=True)

S = DownloadStatus
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _no_broker(settings: Settings) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"


def enqueue(user: User, url: str, **said: Any) -> Download:
    return services.enqueue(user=user, url=url, send=False, **said)


def test_a_terminal_brings_a_file_home(wired: Origin, user: User, models_dir: Path) -> None:
    heard: list[tuple[int, int | None, int | None]] = []
    download = inline.run(
        enqueue(user, wired.links.checkpoint), on_progress=lambda *step: heard.append(step)
    )
    assert download.status == S.COMPLETED
    assert heard[-1][0] == download.file_size_bytes
    assert len(model_files(models_dir)) == 1
    dispatcher.ensure_slots()
    assert Slot.objects.count() <= 3


def test_a_bundle_comes_file_by_file(wired: Origin, user: User, models_dir: Path) -> None:
    bundle = inline.run(enqueue(user, wired.links.bundle))
    assert bundle.status == S.COMPLETED
    assert len(model_files(models_dir)) == 3


def test_due_times_are_waited_for(wired: Origin, user: User) -> None:
    wired.faults.fail("/cdn/*", status=503, times=2)
    download = inline.run(enqueue(user, wired.links.hub_file))
    assert (download.status, download.auto_retry_count) == (S.COMPLETED, 2)


def test_an_interrupted_terminal_keeps_the_bytes_and_goes_on_later(
    wired: Origin, user: User
) -> None:
    wired.civitai.resize(made.LARGE_FILE, 6 * MIB)
    slow = wired.faults.slow("/cdn/*", 256 * 1024)
    download = enqueue(user, wired.links.large)
    stop = threading.Event()

    def on_progress(done: int, _total: int | None, _speed: int | None) -> None:
        if done:
            stop.set()

    download = inline.run(download, should_stop=stop.is_set, on_progress=on_progress)
    assert (download.status, download.owner) == (S.PAUSED, "")
    assert len(partial_files()) == 1
    slow.remove()
    services.resume(download=download, user=user)
    assert inline.run(download).status == S.COMPLETED


def test_a_terminal_watches_what_a_worker_runs(wired: Origin, user: User) -> None:
    wired.civitai.resize(made.LARGE_FILE, 6 * MIB)
    wired.faults.slow("/cdn/*", MIB)
    download = enqueue(user, wired.links.large)
    dispatcher.dispatch()
    heard: list[int] = []
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: fresh(download).owner, "a worker has it")
        done = inline.run(download, on_progress=lambda n, _t, _s: heard.append(n))
    assert (done.status, done.attempt) == (S.COMPLETED, 1)
    assert any(heard)


@pytest.mark.parametrize("status", [S.PAUSED, S.PARKED, S.REVIEW, S.FAILED, S.CANCELLED])
def test_where_a_person_decides_the_terminal_ends(status: S, user: User) -> None:
    download = make_download(status, initiated_by=user)
    assert inline.run(download).status == status


def test_a_stop_while_it_waits_leaves_the_row_to_the_terminal(user: User) -> None:
    download = make_download(
        S.RETRY_WAITING, initiated_by=user, retry_at=timezone.now() + timedelta(hours=1)
    )
    asked = iter([False, True, True, True])
    assert inline.run(download, should_stop=lambda: next(asked, True)).status == S.PAUSED
