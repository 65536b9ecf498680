from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from ops.jobs import registry as jobs
from registry import periodic, tasks
from registry.models import Asset, AssetPreview, AssetStatus
from registry.roots import default_root, root_path, trash_dir
from registry.services import sending

pytestmark = pytest.mark.django_db

Register = Callable[..., Asset]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What would go to the broker."""
    seen: list[tuple[str, int]] = []
    for module in (periodic,):
        monkeypatch.setattr(module, "send", lambda task, pk: seen.append((task.name, pk)))
    return seen


def test_the_jobs_are_registered() -> None:
    assert {"registry.repeat-lost", "registry.empty-trash"} <= set(jobs)


def test_wishes_that_were_lost_are_sent_again(
    register: Register, sent: list[tuple[str, int]]
) -> None:
    asset = register()
    AssetPreview.objects.create(asset=asset, source_url="https://x/1")
    now = timezone.now()
    Asset.objects.update(verify_requested_at=now, refresh_requested_at=now)
    assert periodic.repeat_lost() == 0
    with time_machine.travel(now + timedelta(hours=1)):
        assert periodic.repeat_lost() == 3
    assert sorted(sent) == [
        ("registry.tasks.fetch_previews", asset.pk),
        ("registry.tasks.refresh_asset", asset.pk),
        ("registry.tasks.verify_asset", asset.pk),
    ]


def test_a_deletion_that_was_interrupted_is_finished(
    register: Register, sent: list[tuple[str, int]]
) -> None:
    asset = register()
    Asset.objects.filter(pk=asset.pk).update(status=AssetStatus.DELETING)
    periodic.repeat_lost()
    assert Asset.objects.exists()
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        periodic.repeat_lost()
    assert not Asset.objects.exists()
    assert not (root_path(asset.root) / asset.relative_path).exists()


def test_the_trash_keeps_a_file_for_a_week() -> None:
    trash = trash_dir(default_root())
    (trash / "old").write_bytes(b"x")
    (trash / "link").symlink_to("/etc")
    assert periodic.empty_trash() == 0
    with time_machine.travel(timezone.now() + timedelta(days=8)):
        assert periodic.empty_trash() == 1
    assert [path.name for path in trash.iterdir()] == ["link"]


def test_an_old_file_that_was_just_deleted_is_kept() -> None:
    trash = trash_dir(default_root())
    (trash / "old").write_bytes(b"x")
    os.utime(trash / "old", (1, 1))
    assert periodic.empty_trash() == 0


def test_a_root_that_is_away_stops_nothing(register: Register) -> None:
    asset = register()
    shutil.rmtree(asset.root.path)
    assert periodic.empty_trash() == 0


def test_tasks_do_not_fail_on_what_is_gone(register: Register) -> None:
    for task in (tasks.verify_asset, tasks.refresh_asset, tasks.fetch_previews):
        task(10**9)
    asset = register()
    shutil.rmtree(asset.root.path)
    tasks.verify_asset(asset.pk)
    asset.refresh_from_db()
    assert asset.status == AssetStatus.ACTIVE


def test_a_broker_that_is_away_is_no_error(
    register: Register,
    django_capture_on_commit_callbacks: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from kombu.exceptions import OperationalError

    class Task:
        name = "a.task"

        @staticmethod
        def delay(*args: Any) -> None:
            raise OperationalError("connection refused")

    with django_capture_on_commit_callbacks(execute=True):
        sending.send(Task, 1)
    assert "will be sent later" in caplog.text
