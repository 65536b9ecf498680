"""Who may become what: every pair, the fence, the slot that is given back, the bundle."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from downloads import transitions
from downloads.errors import IllegalTransition, LostClaim
from downloads.models import Download, Slot
from downloads.states import ALLOWED_FROM, FINAL, RUNNING, DownloadStatus
from downloads.transitions import Claim, bundle_status
from tests.downloads.driving import fresh
from tests.factories import make_asset, make_download

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

S = DownloadStatus
PAIRS = list(itertools.product(S, S))

#: The moves as the picture shows them, written down a second time.
MOVES = {
    S.QUEUED: "downloading verifying paused retry_waiting parked failed cancelled",
    S.DOWNLOADING: "queued",
    S.VERIFYING: "downloading",
    S.REGISTERING: "verifying review",
    S.COMPLETED: "registering queued",
    S.PAUSED: "queued downloading retry_waiting parked",
    S.RETRY_WAITING: "downloading verifying registering",
    S.PARKED: "downloading",
    S.REVIEW: "verifying",
    S.FAILED: "downloading verifying registering",
    S.CANCELLED: "queued downloading retry_waiting parked paused review",
}


def with_it(target: DownloadStatus) -> dict[str, Any]:
    """Columns that the database asks for in that status."""
    if target in transitions.WAITS_UNTIL:
        return {"retry_at": timezone.now() + timedelta(hours=1)}
    return {"completed_at": timezone.now()} if target == S.COMPLETED else {}


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_a_row_moves_only_where_the_table_says(source: S, target: S) -> None:
    download = make_download(source, owner="", lease_expires_at=None)
    if source in MOVES[target].split():
        transitions.move(download, target, **with_it(target))
        assert (download.status, fresh(download).status) == (target, target)
        return
    with pytest.raises(IllegalTransition) as refused:
        transitions.move(download, target, **with_it(target))
    assert refused.value.details["status"] == source
    assert refused.value.http_status == 409
    assert fresh(download).status == source


def test_the_table_knows_every_status_and_none_becomes_itself() -> None:
    assert set(ALLOWED_FROM) == set(S) == set(MOVES)
    assert all(target not in sources for target, sources in ALLOWED_FROM.items())
    assert not FINAL & RUNNING


def test_a_status_that_is_not_known_is_refused_by_the_database() -> None:
    download = make_download()
    with pytest.raises(IntegrityError), transaction.atomic():
        Download.objects.filter(pk=download.pk).update(status="sleeping")


@pytest.mark.parametrize(("owner", "attempt"), [("host:1:other", 3), ("host:1:mine", 2), ("", 3)])
def test_a_worker_without_the_claim_moves_nothing(owner: str, attempt: int) -> None:
    download = make_download(S.DOWNLOADING, owner="host:1:mine", attempt=3)
    with pytest.raises(LostClaim):
        transitions.move(download, S.VERIFYING, claim=Claim(download.pk, owner, attempt))
    assert fresh(download).status == S.DOWNLOADING


def test_a_command_beats_the_worker_that_owns_the_row() -> None:
    download = make_download(S.DOWNLOADING, owner="host:1:mine", attempt=3)
    transitions.move(fresh(download), S.PAUSED)
    with pytest.raises(IllegalTransition):
        transitions.move(download, S.VERIFYING, claim=Claim(download.pk, "host:1:mine", 3))


@pytest.mark.parametrize("target", [S.QUEUED, S.PAUSED, S.CANCELLED, S.FAILED, S.RETRY_WAITING])
def test_leaving_the_running_states_gives_the_slot_back(target: S) -> None:
    download = make_download(S.DOWNLOADING)
    slot = Slot.objects.create(number=1, download=download, source_key=download.source_key)
    transitions.move(download, target, **with_it(target))
    slot.refresh_from_db()
    assert (slot.download_id, slot.source_key, slot.taken_at) == (None, None, None)


def test_a_slot_is_kept_from_stage_to_stage() -> None:
    download = make_download(S.DOWNLOADING)
    Slot.objects.create(number=1, download=download, source_key=download.source_key)
    transitions.move(download, S.VERIFYING)
    transitions.move(download, S.REGISTERING)
    assert Slot.objects.get().download_id == download.pk
    transitions.move(download, S.COMPLETED, completed_at=timezone.now())
    assert Slot.objects.get().download_id is None


# --- Bundles --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("children", "status"),
    [
        ("queued queued", "queued"),
        ("queued downloading", "downloading"),
        ("verifying queued", "downloading"),
        ("registering completed", "downloading"),
        ("downloading failed", "downloading"),
        ("downloading paused", "downloading"),
        ("completed queued", "downloading"),
        ("failed queued", "queued"),
        ("completed completed", "completed"),
        ("completed cancelled", "completed"),
        ("completed failed", "failed"),
        ("failed cancelled", "failed"),
        ("cancelled cancelled", "cancelled"),
        ("paused paused", "paused"),
        ("paused completed", "paused"),
        ("paused review", "review"),
        ("review completed", "review"),
        ("retry_waiting paused review", "retry_waiting"),
        ("retry_waiting completed", "retry_waiting"),
        ("parked review", "parked"),
        ("parked retry_waiting", "retry_waiting"),
        ("queued paused", "queued"),
    ],
)
def test_a_bundle_is_what_its_children_are(children: str, status: str) -> None:
    assert bundle_status(children.split()) == status


def make_bundle(*statuses: S, **fields: Any) -> tuple[Download, list[Download]]:
    parent = make_download(S.QUEUED, is_bundle=True, downloaded_bytes=0)
    children = [
        make_download(status, parent=parent, file_size_bytes=100, downloaded_bytes=10, **fields)
        for status in statuses
    ]
    return parent, children


def test_a_bundle_follows_every_move_of_its_children() -> None:
    parent, (one, two) = make_bundle(S.QUEUED, S.QUEUED)
    transitions.move(one, S.DOWNLOADING)
    assert fresh(parent).status == S.DOWNLOADING
    transitions.move(one, S.FAILED, error_code="remote_gone", error_message="Gone.")
    assert fresh(parent).status == S.QUEUED
    transitions.move(two, S.CANCELLED)
    parent = fresh(parent)
    assert (parent.status, parent.error_code, parent.error_message) == (
        S.FAILED, "remote_gone", "Gone.",
    )  # fmt: skip
    assert (parent.file_size_bytes, parent.downloaded_bytes) == (200, 20)
    assert parent.completed_at is not None


def test_a_bundle_that_waits_knows_its_first_due_time() -> None:
    due = timezone.now() + timedelta(minutes=5)
    parent, (one, two) = make_bundle(S.DOWNLOADING, S.DOWNLOADING)
    transitions.move(one, S.RETRY_WAITING, retry_at=due + timedelta(hours=1))
    transitions.move(two, S.RETRY_WAITING, retry_at=due)
    assert (fresh(parent).status, fresh(parent).retry_at) == (S.RETRY_WAITING, due)
    transitions.move(two, S.QUEUED, retry_at=None)
    assert (fresh(parent).status, fresh(parent).retry_at) == (S.QUEUED, None)


def test_a_completed_bundle_has_the_asset_of_its_first_file_and_says_what_was_compared() -> None:
    asset = make_asset()
    parent, (one, two) = make_bundle(S.REGISTERING, S.REGISTERING, hash_verified=True)
    now = timezone.now()
    transitions.move(two, S.COMPLETED, completed_at=now)
    transitions.move(one, S.COMPLETED, completed_at=now, asset=asset, hash_mismatch=True)
    parent = fresh(parent)
    assert (parent.status, parent.asset, parent.hash_verified, parent.hash_mismatch) == (
        S.COMPLETED, asset, True, True,
    )  # fmt: skip


def test_an_unknown_size_of_one_file_makes_the_bundle_s_unknown() -> None:
    parent, (one, _two) = make_bundle(S.QUEUED, S.QUEUED)
    Download.objects.filter(pk=one.pk).update(file_size_bytes=None)
    transitions.refresh_bundle(parent.pk)
    assert fresh(parent).file_size_bytes is None


def test_a_bundle_that_is_retried_is_not_completed_any_more() -> None:
    parent, (one, _two) = make_bundle(S.FAILED, S.COMPLETED)
    transitions.refresh_bundle(parent.pk)
    assert fresh(parent).completed_at is not None
    transitions.move(one, S.QUEUED)
    assert (fresh(parent).status, fresh(parent).completed_at) == (S.DOWNLOADING, None)


@pytest.mark.django_db(transaction=True)
def test_two_children_that_end_at_once_leave_the_bundle_right() -> None:
    from tests.downloads.driving import at_once

    for _round in range(5):
        parent, children = make_bundle(S.DOWNLOADING, S.DOWNLOADING, S.DOWNLOADING)
        at_once(*(lambda child=child: transitions.move(child, S.FAILED) for child in children))
        assert fresh(parent).status == S.FAILED
