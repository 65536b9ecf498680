"""What is lost is found: workers, messages, moments, bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from downloads import reconciler, transitions
from downloads.models import Download, PartialFile, Slot, Sweep
from downloads.states import RUNNING, DownloadStatus
from registry.roots import default_root, partials_dir
from tests.downloads.driving import at_once, fresh
from tests.factories import make_download

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

S = DownloadStatus


def past(seconds: float = 60) -> object:
    return timezone.now() - timedelta(seconds=seconds)


def future(seconds: float = 60) -> object:
    return timezone.now() + timedelta(seconds=seconds)


def dead(status: S = S.DOWNLOADING, **fields: object) -> Download:
    values = {"owner": "gone:1:x", "lease_expires_at": past(), "attempt": 1} | fields
    return make_download(status, **values)


def unclaimed(status: S, **fields: object) -> Download:
    values = {"owner": "", "lease_expires_at": None, "pickup_deadline": past(), "attempt": 1}
    return make_download(status, **(values | fields))


# --- Workers that died ----------------------------------------------------------------------------
def test_a_download_whose_worker_died_is_started_again() -> None:
    download = dead()
    assert reconciler.reconcile() == [(download.pk, S.DOWNLOADING)]
    download = fresh(download)
    assert (download.status, download.owner, download.attempt) == (S.DOWNLOADING, "", 2)
    assert (download.crash_count, download.auto_retry_count, download.retry_count) == (1, 0, 0)


@pytest.mark.parametrize("status", [S.VERIFYING, S.REGISTERING])
def test_later_stages_go_on_where_they_were(status: S) -> None:
    download = dead(status)
    assert reconciler.reconcile() == [(download.pk, status)]
    download = fresh(download)
    assert (download.status, download.owner, download.crash_count) == (status, "", 1)
    assert reconciler.reconcile() == [], "it was sent, and has time to be picked up"


@pytest.mark.parametrize("status", sorted(RUNNING))
def test_the_third_dead_worker_is_the_last(status: S) -> None:
    download = dead(status, crash_count=2)
    Slot.objects.create(number=1, download=download, source_key=download.source_key)
    assert reconciler.reconcile() == []
    download = fresh(download)
    assert (download.status, download.error_code) == (S.FAILED, "worker_crashed")
    assert not Slot.objects.filter(download__isnull=False).exists()


@pytest.mark.parametrize("status", sorted(RUNNING))
def test_a_living_worker_is_left_alone(status: S) -> None:
    download = dead(status, lease_expires_at=future())
    assert reconciler.reconcile() == []
    assert fresh(download).owner == "gone:1:x"


def test_a_lease_that_was_renewed_in_the_last_moment_stands() -> None:
    download = dead()
    stale = fresh(download)
    Download.objects.filter(pk=download.pk).update(lease_expires_at=Now() + timedelta(seconds=60))
    assert not reconciler._take_from_dead(stale)
    assert fresh(download).owner == "gone:1:x"


@pytest.mark.parametrize("status", [S.PAUSED, S.QUEUED, S.REVIEW])
def test_a_row_that_stopped_while_its_worker_was_dead_is_let_go(status: S) -> None:
    download = dead(status)
    reconciler.reconcile()
    assert fresh(download).owner == ""
    assert fresh(download).crash_count == 0


# --- Messages that were lost ----------------------------------------------------------------------
def test_a_missed_pick_up_costs_nothing() -> None:
    download = unclaimed(S.DOWNLOADING)
    assert reconciler.reconcile() == [(download.pk, S.DOWNLOADING)]
    download = fresh(download)
    assert (download.attempt, download.crash_count, download.auto_retry_count) == (2, 0, 0)


@pytest.mark.parametrize("status", [S.VERIFYING, S.REGISTERING])
def test_a_stage_that_nobody_took_is_sent_again_once(status: S) -> None:
    download = unclaimed(status)
    assert reconciler.reconcile() == [(download.pk, status)]
    assert reconciler.reconcile() == []


@pytest.mark.parametrize("status", sorted(RUNNING))
def test_what_was_sent_just_now_has_time(status: S) -> None:
    unclaimed(status, pickup_deadline=future())
    assert reconciler.reconcile() == []


def test_what_waits_for_a_slot_is_sent() -> None:
    download = make_download()
    assert reconciler.reconcile() == [(download.pk, S.DOWNLOADING)]


# --- Moments --------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [S.RETRY_WAITING, S.PARKED])
def test_what_is_due_wakes_up(status: S) -> None:
    due = make_download(status, retry_at=past(), error_code="early_access")
    later = make_download(status, retry_at=future())
    assert reconciler.reconcile() == [(due.pk, S.DOWNLOADING)]
    assert fresh(due).retry_at is None
    assert fresh(later).status == status


# --- Bytes ----------------------------------------------------------------------------------------
def with_partial(download: Download) -> Path:
    root = default_root()
    path = partials_dir(root) / f"{download.pk}.part"
    path.write_bytes(b"half of it")
    PartialFile.objects.create(download=download, root=root, file_name=path.name)
    return path


@pytest.mark.parametrize("status", [S.CANCELLED, S.COMPLETED])
def test_bytes_that_nobody_deleted_are_deleted(status: S, models_dir: Path) -> None:
    path = with_partial(dead(status))
    reconciler.reconcile()
    assert not path.exists()
    assert not PartialFile.objects.exists()


def test_the_bytes_of_a_worker_that_still_lets_go_are_its_own_to_delete(models_dir: Path) -> None:
    path = with_partial(dead(S.CANCELLED, lease_expires_at=future()))
    reconciler.reconcile()
    assert path.exists()


@pytest.mark.parametrize("status", [S.PAUSED, S.FAILED, S.REVIEW, S.RETRY_WAITING])
def test_bytes_that_may_be_needed_stay(status: S, models_dir: Path) -> None:
    path = with_partial(
        make_download(status, **({"retry_at": future()} if status == S.RETRY_WAITING else {}))
    )
    reconciler.reconcile()
    reconciler.delete_stale_partials(timedelta(0))
    assert path.exists()


def test_orphans_go_after_a_day(models_dir: Path) -> None:
    directory = partials_dir(default_root())
    old, young = directory / "old.part", directory / "young.part"
    for path in (old, young):
        path.write_bytes(b"x")
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    known = with_partial(make_download(S.PAUSED))
    os.utime(known, (day_ago, day_ago))
    assert reconciler.delete_stale_partials() == 1
    assert sorted(path.name for path in directory.iterdir()) == sorted([young.name, known.name])


def test_the_bytes_of_a_failure_long_ago_go(models_dir: Path) -> None:
    download = make_download(S.FAILED, downloaded_bytes=10)
    path = with_partial(download)
    Download.objects.filter(pk=download.pk).update(updated_at=timezone.now() - timedelta(days=15))
    assert reconciler.delete_stale_partials() == 1
    assert not path.exists()
    assert fresh(download).downloaded_bytes == 0


def test_a_root_that_is_away_keeps_the_ledger(models_dir: Path) -> None:
    path = with_partial(dead(S.CANCELLED))
    hidden = models_dir.rename(models_dir.with_name("unmounted"))
    models_dir.mkdir()
    reconciler.reconcile()
    assert PartialFile.objects.count() == 1
    assert list(models_dir.iterdir()) == []
    models_dir.rmdir()
    hidden.rename(models_dir)
    reconciler.reconcile()
    assert not path.exists()


# --- Slots, bundles, the pass itself --------------------------------------------------------------
def test_a_slot_of_a_row_that_does_not_run_is_freed() -> None:
    paused = make_download(S.PAUSED)
    Slot.objects.create(number=1, download=paused, source_key=paused.source_key)
    Slot.objects.create(number=2, source_key="left over")
    reconciler.reconcile()
    assert not Slot.objects.exclude(download=None, source_key=None).exists()


def test_a_bundle_that_missed_something_is_brought_up_to_date() -> None:
    parent = make_download(is_bundle=True)
    make_download(S.COMPLETED, parent=parent)
    reconciler.reconcile()
    assert fresh(parent).status == S.COMPLETED


def test_one_pass_runs_at_a_time() -> None:
    Sweep.objects.create(name=reconciler.NAME, running_until=future())
    make_download()
    assert reconciler.reconcile() == []
    Sweep.objects.update(running_until=past())
    assert len(reconciler.reconcile()) == 1
    sweep = Sweep.objects.get()
    assert sweep.running_until is None
    assert sweep.finished_at is not None


def test_a_step_that_fails_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("x")

    monkeypatch.setattr(reconciler, "_end_cancelled", broken)
    download = dead()
    assert reconciler.reconcile() == [(download.pk, S.DOWNLOADING)]


@pytest.mark.django_db(transaction=True)
def test_reconcilers_and_commands_at_once_do_no_harm() -> None:
    def expire() -> list[tuple[int, S]]:
        return reconciler._expired_leases()

    def pause(download: Download) -> Callable[[], None]:
        def give() -> None:
            transitions.move(fresh(download), S.PAUSED)

        return give

    for _round in range(5):
        one, two = dead(S.VERIFYING), dead(S.VERIFYING)
        answers = at_once(expire, expire, expire)
        sent = [pk for answer in answers for pk, _status in answer]
        assert sorted(sent) == [one.pk, two.pk]
        assert [fresh(one).crash_count, fresh(two).crash_count] == [1, 1]
        Download.objects.all().delete()
