"""What people may tell a download, in every status, once and twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from downloads import dispatcher, services
from downloads.errors import IllegalTransition, InvalidOption
from downloads.models import Download, PartialFile
from downloads.states import DownloadStatus
from ops.models import AuditEvent
from registry.errors import PlacementNotPossible
from registry.roots import default_root, partials_dir
from tests.downloads.driving import at_once, fresh
from tests.factories import make_asset, make_download, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

S = DownloadStatus

#: command → status before → status after; what is not here is refused.
COMMANDS = {
    "pause": {
        S.QUEUED: S.PAUSED,
        S.DOWNLOADING: S.PAUSED,
        S.RETRY_WAITING: S.PAUSED,
        S.PARKED: S.PAUSED,
        S.PAUSED: S.PAUSED,
    },
    "resume": {S.PAUSED: S.QUEUED, S.QUEUED: S.QUEUED},
    "cancel": {
        S.QUEUED: S.CANCELLED,
        S.DOWNLOADING: S.CANCELLED,
        S.RETRY_WAITING: S.CANCELLED,
        S.PARKED: S.CANCELLED,
        S.PAUSED: S.CANCELLED,
        S.REVIEW: S.CANCELLED,
        S.CANCELLED: S.CANCELLED,
    },
    "retry": {S.FAILED: S.QUEUED, S.CANCELLED: S.QUEUED, S.QUEUED: S.QUEUED},
}
CASES = [(command, status) for command in COMMANDS for status in S]


@pytest.mark.parametrize(
    ("command", "status"), CASES, ids=[f"{command}-{status}" for command, status in CASES]
)
def test_every_command_in_every_status(command: str, status: S, user: User) -> None:
    download = make_download(status, initiated_by=user)
    give = getattr(services, command)
    after = COMMANDS[command].get(status)
    if after is None:
        with pytest.raises(IllegalTransition) as refused:
            give(download=download, user=user)
        assert refused.value.details["status"] == status
        assert fresh(download).status == status
        return
    assert give(download=download, user=user).status == after
    assert give(download=download, user=user).status == after, "repeating is accepted"


def with_partial(download: Download) -> Path:
    root = default_root()
    path = partials_dir(root) / f"{download.pk}.part"
    path.write_bytes(b"half of it")
    PartialFile.objects.create(
        download=download, root=root, file_name=path.name, ranges=[[0, 10]], size_bytes=20
    )
    return path


def test_cancel_leaves_no_bytes(user: User, models_dir: Path) -> None:
    download = make_download(S.PAUSED, initiated_by=user)
    path = with_partial(download)
    services.cancel(download=download, user=user)
    assert not path.exists()
    assert not PartialFile.objects.exists()
    assert fresh(download).downloaded_bytes == 0
    assert AuditEvent.objects.filter(action="download.cancel", actor=user).count() == 1


def test_cancel_leaves_the_bytes_to_the_worker_that_writes_them(
    user: User, models_dir: Path
) -> None:
    download = make_download(S.DOWNLOADING, initiated_by=user)
    path = with_partial(download)
    services.cancel(download=download, user=user)
    assert path.exists()
    assert fresh(download).owner == "worker@host:1"


def test_retry_after_a_failure_keeps_the_bytes_and_forgets_the_tries(
    user: User, models_dir: Path
) -> None:
    download = make_download(
        S.FAILED, initiated_by=user, auto_retry_count=5, crash_count=3, mismatch_count=1,
        downloaded_bytes=10, hash_mismatch=True, hash_verified=True, reviewed=True,
    )  # fmt: skip
    path = with_partial(download)
    download = services.retry(download=download, user=user)
    assert path.exists()
    assert download.downloaded_bytes == 10
    assert (download.retry_count, download.auto_retry_count) == (1, 0)
    assert (download.crash_count, download.mismatch_count) == (0, 0)
    assert (download.error_code, download.error_message) == ("", None)
    assert not download.hash_mismatch
    assert not download.reviewed


def test_retry_after_cancel_starts_from_nothing(user: User, models_dir: Path) -> None:
    download = make_download(S.CANCELLED, initiated_by=user, downloaded_bytes=10)
    path = with_partial(download)
    download = services.retry(download=download, user=user)
    assert not path.exists()
    assert not PartialFile.objects.exists()
    assert (download.downloaded_bytes, download.retry_count) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_commands_at_once_leave_one_of_their_statuses(user: User) -> None:
    for _round in range(5):
        download = make_download(S.DOWNLOADING, initiated_by=user)

        def attempt(command: str, row: Download = download) -> str:
            try:
                getattr(services, command)(download=fresh(row), user=user)
            except IllegalTransition:
                return "refused"
            return "done"

        answers = at_once(*[lambda c=c: attempt(c) for c in ("pause", "cancel", "pause", "cancel")])
        assert "done" in answers
        assert fresh(download).status in {S.PAUSED, S.CANCELLED}


# --- Bundles --------------------------------------------------------------------------------------
def make_bundle(user: User, *statuses: S) -> tuple[Download, list[Download]]:
    parent = make_download(is_bundle=True, initiated_by=user)
    return parent, [make_download(status, parent=parent, initiated_by=user) for status in statuses]


def statuses(parent: Download) -> list[str]:
    return list(parent.children.order_by("pk").values_list("status", flat=True))


@pytest.mark.parametrize(
    ("command", "before", "after", "bundle"),
    [
        ("pause", [S.QUEUED, S.DOWNLOADING], [S.PAUSED, S.PAUSED], S.PAUSED),
        ("pause", [S.QUEUED, S.VERIFYING], [S.PAUSED, S.VERIFYING], S.DOWNLOADING),
        ("resume", [S.PAUSED, S.COMPLETED], [S.QUEUED, S.COMPLETED], S.DOWNLOADING),
        ("cancel", [S.PAUSED, S.COMPLETED], [S.CANCELLED, S.COMPLETED], S.COMPLETED),
        ("cancel", [S.REVIEW, S.QUEUED], [S.CANCELLED, S.CANCELLED], S.CANCELLED),
        ("retry", [S.FAILED, S.COMPLETED], [S.QUEUED, S.COMPLETED], S.DOWNLOADING),
        ("retry", [S.FAILED, S.CANCELLED], [S.QUEUED, S.QUEUED], S.QUEUED),
    ],
)
def test_a_command_on_a_bundle_goes_to_its_files(
    command: str, before: list[S], after: list[S], bundle: S, user: User
) -> None:
    parent, _children = make_bundle(user, *before)
    assert getattr(services, command)(download=parent, user=user).status == bundle
    assert statuses(parent) == after


def test_a_bundle_refuses_when_all_of_its_files_do(user: User) -> None:
    parent, _children = make_bundle(user, S.COMPLETED, S.VERIFYING)
    with pytest.raises(IllegalTransition):
        services.pause(download=parent, user=user)


# --- Review ---------------------------------------------------------------------------------------
def test_finalize_takes_what_the_person_changed(user: User, models_dir: Path) -> None:
    download = make_download(S.REVIEW, initiated_by=user, file_name="x.safetensors")
    download = services.finalize(
        download=download, user=user, model_name="Mine", model_type="vae", base_model="Pony",
        folder="team/vae",
    )  # fmt: skip
    assert (download.status, download.reviewed) == (S.REGISTERING, True)
    assert (download.model_name, download.model_type) == ("Mine", "vae")
    assert (download.base_model, download.base_model_family) == ("Pony", "SDXL")
    assert download.target_path == "/models/team/vae/x.safetensors"
    assert download.pickup_deadline is not None
    again = services.finalize(download=download, user=user)
    assert again.status == S.REGISTERING


@pytest.mark.parametrize("status", [status for status in S if status != S.REVIEW])
def test_finalize_needs_a_review(status: S, user: User) -> None:
    with pytest.raises(IllegalTransition):
        services.finalize(download=make_download(status), user=user)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"model_name": " "}, InvalidOption),
        ({"model_name": "a\nb"}, InvalidOption),
        ({"model_type": "song"}, InvalidOption),
        ({"base_model": "x" * 101}, InvalidOption),
        ({"folder": "../up"}, PlacementNotPossible),
        ({"folder": "/etc"}, PlacementNotPossible),
    ],
)
def test_finalize_refuses_what_cannot_be(
    said: dict[str, Any], error: type[Exception], user: User, models_dir: Path
) -> None:
    download = make_download(S.REVIEW)
    with pytest.raises(error):
        services.finalize(download=download, user=user, **said)
    assert fresh(download).status == S.REVIEW


# --- Verify again ---------------------------------------------------------------------------------
def test_reverify_asks_the_registry(user: User) -> None:
    asset = make_asset()
    services.reverify(download=make_download(S.COMPLETED, asset=asset), user=user)
    asset.refresh_from_db()
    assert asset.verify_requested_at is not None


@pytest.mark.parametrize("status", [S.QUEUED, S.COMPLETED, S.FAILED])
def test_reverify_needs_an_asset(status: S, user: User) -> None:
    with pytest.raises(IllegalTransition):
        services.reverify(download=make_download(status), user=user)


# --- Order ----------------------------------------------------------------------------------------
def order() -> list[int]:
    waiting = Download.objects.top_level().filter(status=S.QUEUED).in_queue_order()
    return list(waiting.values_list("pk", flat=True))


def test_people_reorder_their_own_and_overtake_nobody(user: User) -> None:
    other = make_user()
    mine_1 = make_download(initiated_by=user)
    theirs = make_download(initiated_by=other)
    mine_2 = make_download(initiated_by=user)
    mine_3 = make_download(initiated_by=user)
    services.reorder(download=mine_3, user=user, position=0)
    assert order() == [mine_3.pk, theirs.pk, mine_1.pk, mine_2.pk]
    services.reorder(download=mine_3, user=user, position=99)
    assert order() == [mine_1.pk, theirs.pk, mine_2.pk, mine_3.pk]


def test_a_bundle_moves_with_its_files(user: User) -> None:
    single = make_download(initiated_by=user, position=1000)
    parent = make_download(initiated_by=user, is_bundle=True, position=2000)
    children = [make_download(parent=parent, initiated_by=user, position=2000 + n) for n in (0, 1)]
    services.reorder(download=parent, user=user, position=0)
    files = Download.objects.waiting().in_queue_order().values_list("pk", flat=True)
    assert list(files) == [children[0].pk, children[1].pk, single.pk]


def test_priority_comes_before_position(user: User) -> None:
    later, now = make_download(initiated_by=user, priority=2), make_download(priority=2)
    services.reorder(download=later, user=user, priority=3)
    assert order() == [now.pk, later.pk]
    with pytest.raises(InvalidOption):
        services.reorder(download=later, user=user, priority=1)


@pytest.mark.parametrize("status", [S.DOWNLOADING, S.PAUSED, S.COMPLETED])
def test_what_does_not_wait_has_no_place(status: S, user: User) -> None:
    with pytest.raises(IllegalTransition):
        services.reorder(download=make_download(status), user=user, position=0)


def test_the_queue_position_counts_everything_ahead(user: User) -> None:
    low = make_download(priority=3, initiated_by=user)
    rows = [make_download(priority=2) for _number in range(3)]
    make_download(S.PAUSED, priority=1)
    assert [services.queue_position(row) for row in (*rows, low)] == [1, 2, 3, 4]
    dispatcher.dispatch()
    assert services.queue_position(fresh(rows[0])) is None
    assert services.queue_position(low) == 1


# --- Limits ---------------------------------------------------------------------------------------
def test_limits_say_what_is_used(user: User, settings: Any) -> None:
    settings.USER_MAX_QUEUE_SIZE = 2
    make_download(initiated_by=user)
    old = make_download(S.COMPLETED, initiated_by=user)
    Download.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    use = {limit.name: limit for limit in services.limits_of(user)}
    assert (use["queue_size"].used, use["requests_per_day"].used) == (1, 1)
    assert not use["queue_size"].is_reached
    make_download(initiated_by=user)
    assert next(limit for limit in services.limits_of(user)).is_reached
