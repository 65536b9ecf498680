"""Claims, leases, fences: two real connections, the database's clock."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from functools import partial

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from downloads import claims, shutdown
from downloads.claims import Stop
from downloads.errors import LostClaim
from downloads.models import Download
from downloads.states import DownloadStatus
from downloads.transitions import Claim
from tests.downloads.driving import at_once, fresh, in_thread, wait_until
from tests.factories import make_download

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

S = DownloadStatus


def unclaimed(status: S = S.DOWNLOADING, **fields: object) -> Download:
    return make_download(status, owner="", lease_expires_at=None, attempt=1, **fields)


def test_one_of_many_claims_wins() -> None:
    for _round in range(5):
        download = unclaimed()
        answers = at_once(*[partial(claims.take, download.pk, S.DOWNLOADING)] * 6)
        (winner,) = [claim for claim in answers if claim is not None]
        assert (fresh(download).owner, winner.attempt) == (winner.owner, 1)


@pytest.mark.parametrize("status", [status for status in S if status != S.DOWNLOADING])
def test_a_claim_needs_the_status_of_its_stage(status: S) -> None:
    assert claims.take(unclaimed(status).pk, S.DOWNLOADING) is None


def test_a_claim_needs_a_row_without_an_owner_even_when_the_lease_ran_out() -> None:
    # A worker that died is counted by the reconciler before anybody may try again.
    past = timezone.now() - timedelta(hours=1)
    download = make_download(S.DOWNLOADING, owner="dead:1:x", lease_expires_at=past)
    assert claims.take(download.pk, S.DOWNLOADING) is None


def test_a_bundle_is_never_claimed() -> None:
    parent = make_download(S.DOWNLOADING, is_bundle=True, owner="", lease_expires_at=None)
    assert claims.take(parent.pk, S.DOWNLOADING) is None


def test_the_lease_is_counted_by_the_clock_of_the_database(settings: Settings) -> None:
    settings.LEASE_SECONDS = 60
    download = unclaimed()
    claims.take(download.pk, S.DOWNLOADING)
    ahead = Download.objects.filter(
        pk=download.pk,
        lease_expires_at__gt=Now() + timedelta(seconds=55),
        lease_expires_at__lte=Now() + timedelta(seconds=60),
    )
    assert ahead.exists()


def test_what_is_fenced_off_writes_nothing() -> None:
    download = unclaimed()
    claim = claims.take(download.pk, S.DOWNLOADING)
    assert claim is not None
    claims.write(claim, downloaded_bytes=1)
    for stranger in (
        Claim(download.pk, claim.owner, claim.attempt - 1),
        Claim(download.pk, "other:1:x", claim.attempt),
    ):
        with pytest.raises(LostClaim):
            claims.write(stranger, downloaded_bytes=2)
        assert not claims.let_go(stranger)
    assert fresh(download).downloaded_bytes == 1
    assert claims.let_go(claim)
    assert (fresh(download).owner, fresh(download).lease_expires_at) == ("", None)


def test_the_lease_is_renewed_while_a_stage_runs(settings: Settings) -> None:
    settings.LEASE_SECONDS = 2
    download = unclaimed()
    claim = claims.take(download.pk, S.DOWNLOADING)
    assert claim is not None
    first = fresh(download).lease_expires_at
    with claims.kept(claim, S.DOWNLOADING) as keeper:
        wait_until(lambda: fresh(download).lease_expires_at > first, "the lease is renewed")
        assert not keeper.check()


@pytest.mark.parametrize("status", [S.PAUSED, S.CANCELLED, S.QUEUED])
def test_a_command_is_noticed_within_a_second(status: S) -> None:
    download = unclaimed()
    claim = claims.take(download.pk, S.DOWNLOADING)
    assert claim is not None
    with claims.kept(claim, S.DOWNLOADING) as keeper:
        assert not keeper.check()
        Download.objects.filter(pk=download.pk).update(status=status)
        began = time.monotonic()
        assert keeper.wait(5)
        assert time.monotonic() - began < 1
    assert keeper.reason is Stop.COMMAND


def test_a_worker_whose_row_was_taken_stops() -> None:
    download = unclaimed()
    claim = claims.take(download.pk, S.DOWNLOADING)
    assert claim is not None
    with claims.kept(claim, S.DOWNLOADING) as keeper:
        Download.objects.filter(pk=download.pk).update(owner="other:1:x", attempt=2)
        assert keeper.wait(5)
    assert keeper.reason is Stop.LOST


def test_a_row_that_was_deleted_stops_its_worker() -> None:
    download = unclaimed()
    claim = claims.take(download.pk, S.DOWNLOADING)
    assert claim is not None
    with claims.kept(claim, S.DOWNLOADING) as keeper:
        Download.objects.filter(pk=download.pk).delete()
        assert keeper.wait(5)
    assert keeper.reason is Stop.LOST


def test_a_stop_of_the_worker_reaches_every_stage_at_once() -> None:
    download = unclaimed()
    claim = claims.take(download.pk, S.DOWNLOADING)
    assert claim is not None
    with claims.kept(claim, S.DOWNLOADING) as keeper:
        shutdown.request()
        assert keeper.check()
    assert keeper.reason is Stop.SHUTDOWN


def test_waiting_ends_when_the_stage_shall_stop() -> None:
    download = unclaimed()
    claim = claims.take(download.pk, S.DOWNLOADING)
    assert claim is not None
    asked = threading.Event()
    with claims.kept(claim, S.DOWNLOADING, asked.is_set) as keeper:
        with in_thread(asked.set):
            began = time.monotonic()
            assert keeper.wait(30)
        assert time.monotonic() - began < 2
    assert keeper.reason is Stop.ASKED
    assert not any(thread.name == "lease" for thread in threading.enumerate())
