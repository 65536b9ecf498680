"""What operators see: figures, health, jobs; and that a new key reaches sealed links."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from downloads import periodic, reconciler
from downloads.credentials import context_of
from downloads.models import Slot, Sweep
from downloads.states import DownloadStatus
from ops import jobs, metrics
from tests.factories import make_download
from tokens import crypto

pytestmark = pytest.mark.django_db

S = DownloadStatus


def figures() -> dict[str, float]:
    text = metrics.render()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def test_figures_are_those_of_the_rows() -> None:
    running = make_download(S.DOWNLOADING, downloaded_bytes=500, download_speed_bps=70)
    make_download(S.VERIFYING, owner="x", lease_expires_at=timezone.now() - timedelta(minutes=1))
    make_download(S.FAILED, error_code="remote_gone")
    make_download(is_bundle=True)
    make_download()
    Slot.objects.create(number=1, download=running)
    found = figures()
    assert found['modelyard_downloads{status="queued"}'] == 1
    assert found['modelyard_downloads{status="completed"}'] == 0
    assert found['modelyard_download_bytes{status="downloading"}'] == 500
    assert found['modelyard_download_failures{code="remote_gone"}'] == 1
    assert found["modelyard_download_bytes_per_second"] == 70
    assert found["modelyard_download_slots_taken"] == 1
    assert found["modelyard_expired_leases"] == 1
    assert found["modelyard_queue_oldest_seconds"] >= 0
    assert found["modelyard_reconcile_age_seconds"] == -1
    assert found['modelyard_collector_up{collector="downloads"}'] == 1


def test_health_is_the_age_of_the_last_pass() -> None:
    assert periodic.reconciler_is_alive() is not None
    reconciler.reconcile()
    assert periodic.reconciler_is_alive() is None
    Sweep.objects.update(finished_at=timezone.now() - timedelta(minutes=10))
    assert "600 seconds" in (periodic.reconciler_is_alive() or "")


def test_the_jobs_are_known_and_run(models_dir: object) -> None:
    assert jobs.registry["downloads.reconcile"].every_s == 30
    assert jobs.registry["downloads.stale_partials"].cron
    make_download()
    for name in ("downloads.reconcile", "downloads.stale_partials"):
        jobs.registry[name].run()
    assert Sweep.objects.get().finished_at is not None


def test_sealed_links_are_covered_by_the_rotation_of_keys() -> None:
    column = crypto.columns["downloads.Download", "source_secret"]
    download = make_download()
    assert column.context(download) == context_of(download)
