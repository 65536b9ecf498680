"""Order and concurrency: who is next, how many, and never the same file twice at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from downloads import dispatcher, transitions
from downloads.models import Download, OnDuplicate, Slot
from downloads.states import RUNNING, DownloadStatus
from tests.downloads.driving import at_once, fresh
from tests.factories import make_asset, make_download, sha256_of

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

S = DownloadStatus


def finish(download: Download) -> None:
    for target in (S.VERIFYING, S.REGISTERING, S.COMPLETED):
        transitions.move(download, target, completed_at=timezone.now())


def test_as_many_start_as_there_are_slots(settings: Settings) -> None:
    settings.MAX_CONCURRENT_DOWNLOADS = 3
    rows = [make_download() for _number in range(5)]
    assert dispatcher.dispatch() == [row.pk for row in rows[:3]]
    assert dispatcher.dispatch() == []
    finish(fresh(rows[1]))
    assert dispatcher.dispatch() == [rows[3].pk]


def test_a_started_row_has_a_new_attempt_no_owner_and_a_deadline_to_be_picked_up() -> None:
    download = make_download(attempt=4)
    dispatcher.dispatch()
    download = fresh(download)
    assert (download.status, download.attempt, download.owner) == (S.DOWNLOADING, 5, "")
    assert download.pickup_deadline is not None
    assert download.started_at is not None
    assert Slot.objects.get(download=download).source_key == download.source_key


def test_the_order_is_priority_then_position_then_age(settings: Settings) -> None:
    settings.MAX_CONCURRENT_DOWNLOADS = 1
    later = make_download(priority=2, position=20)
    expansion = make_download(priority=3, position=1)
    repair = make_download(priority=1, position=99)
    first = make_download(priority=2, position=10)
    same_place = make_download(priority=2, position=20)
    order = []
    while started := dispatcher.dispatch():
        order += started
        finish(Download.objects.get(pk=started[0]))
    assert order == [row.pk for row in (repair, first, later, same_place, expansion)]


@pytest.mark.parametrize("status", [status for status in S if status != S.QUEUED])
def test_only_waiting_rows_start(status: S) -> None:
    make_download(status)
    assert dispatcher.dispatch() == []


def test_a_bundle_takes_no_slot_its_files_do() -> None:
    parent = make_download(is_bundle=True)
    child = make_download(parent=parent)
    assert dispatcher.dispatch() == [child.pk]


def test_a_row_that_a_worker_still_holds_waits_until_it_lets_go() -> None:
    # Paused and resumed faster than its worker noticed.
    held = make_download(owner="host:1:x", lease_expires_at=timezone.now() + timedelta(minutes=1))
    assert dispatcher.dispatch() == []
    Download.objects.filter(pk=held.pk).update(
        lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert dispatcher.dispatch() == [held.pk]


def test_the_same_file_is_fetched_once_at_a_time() -> None:
    key = sha256_of("one file")
    first, second = (make_download(source_key=key) for _number in range(2))
    other = make_download()
    assert dispatcher.dispatch() == [first.pk, other.pk]
    transitions.move(fresh(first), S.FAILED)
    assert dispatcher.dispatch() == [second.pk]


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [(OnDuplicate.LINK, S.COMPLETED, ""), (OnDuplicate.SKIP, S.CANCELLED, "duplicate")],
)
def test_who_waited_for_the_same_file_gets_it_without_bytes(
    wish: str, status: S, code: str
) -> None:
    key = sha256_of("one file")
    first = make_download(source_key=key, file_size_bytes=10)
    second = make_download(source_key=key, file_size_bytes=10, on_duplicate=wish)
    dispatcher.dispatch()
    asset = make_asset()
    transitions.move(fresh(first), S.VERIFYING)
    transitions.move(fresh(first), S.REGISTERING)
    transitions.move(fresh(first), S.COMPLETED, completed_at=timezone.now(), asset=asset)
    assert dispatcher.dispatch() == []
    second = fresh(second)
    assert (second.status, second.error_code, second.asset) == (status, code, asset)
    assert second.attempt == 0


@pytest.mark.parametrize("wish", [OnDuplicate.KEEP, OnDuplicate.OVERWRITE])
def test_who_wants_bytes_of_their_own_gets_them(wish: str) -> None:
    asset = make_asset()
    download = make_download(on_duplicate=wish, expected_hash=asset.checksum_sha256)
    assert dispatcher.dispatch() == [download.pk]


def test_a_damaged_asset_is_no_reason_not_to_download() -> None:
    asset = make_asset(status="corrupt")
    download = make_download(expected_hash=asset.checksum_sha256)
    assert dispatcher.dispatch() == [download.pk]


def test_slots_follow_the_setting(settings: Settings) -> None:
    settings.MAX_CONCURRENT_DOWNLOADS = 3
    for _number in range(3):
        make_download()
    dispatcher.dispatch()
    settings.MAX_CONCURRENT_DOWNLOADS = 1
    dispatcher.ensure_slots()
    assert Slot.objects.count() == 3, "a slot in use is not taken away"
    finish(Slot.objects.get(number=3).download)
    dispatcher.ensure_slots()
    assert sorted(Slot.objects.values_list("number", flat=True)) == [1, 2]
    make_download()
    finish(Slot.objects.get(number=2).download)
    assert dispatcher.dispatch() == [], "slot 1 is in use and is the only one"


def test_a_terminal_starts_its_own_row_out_of_turn(settings: Settings) -> None:
    settings.MAX_CONCURRENT_DOWNLOADS = 1
    waiting, urgent = make_download(), make_download()
    dispatcher.dispatch()
    assert dispatcher.start_now(urgent)
    assert fresh(urgent).status == S.DOWNLOADING
    finish(fresh(urgent))
    dispatcher.ensure_slots()
    assert Slot.objects.count() == 1
    assert not dispatcher.start_now(fresh(waiting))


def test_a_terminal_waits_for_the_same_file_too() -> None:
    key = sha256_of("one file")
    first, second = (make_download(source_key=key) for _number in range(2))
    assert dispatcher.start_now(first)
    assert not dispatcher.start_now(second)
    assert fresh(second).status == S.QUEUED
    assert Slot.objects.filter(download__isnull=False).count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_dispatchers_at_once_start_each_row_once(settings: Settings) -> None:
    settings.MAX_CONCURRENT_DOWNLOADS = 4
    for _round in range(4):
        Slot.objects.all().delete()
        Download.objects.all().delete()
        twin = sha256_of("twin")
        for number in range(8):
            make_download(source_key=twin if number in {0, 2, 4} else sha256_of(str(number)))
        answers = at_once(*[dispatcher.dispatch] * 4)
        started = [pk for answer in answers for pk in answer]
        assert len(started) == len(set(started)) == 4
        running = Download.objects.filter(status__in=RUNNING)
        assert sorted(running.values_list("pk", flat=True)) == sorted(started)
        assert running.filter(source_key=twin).count() == 1
        assert all(row.attempt == 1 for row in running)
