"""kill -9 at every step: the reconciler brings each download to its end, once and whole."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from downloads import dispatcher, reconciler, services
from downloads.models import Download, PartialFile, Slot
from downloads.states import DownloadStatus
from registry.models import Asset
from tests.downloads.driving import fresh, model_files, partial_files, reconcile_and_run, work_off
from tests.downloads.processes import run_until_it_dies
from tests.origin import Origin
from tests.origin import made_civitai as made

pytestmark = pytest.mark.django_db(transaction=True)

S = DownloadStatus
POINTS = [
    "fetch:claimed",
    "fetch:bytes",
    "fetch:done",
    "verify:inspected",
    "register:noted",
    "register:published",
    "register:completed",
]


def let_leases_run_out() -> None:
    """What a minute does."""
    past = timezone.now() - timedelta(seconds=1)
    Download.objects.exclude(owner="").update(lease_expires_at=past)


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_killed_loses_nothing(
    point: str, wired: Origin, user: User, models_dir: Path
) -> None:
    download = services.enqueue(user=user, url=wired.links.large, send=False)
    dispatcher.dispatch()
    assert run_until_it_dies(wired, point, download.pk, "downloading") == -signal.SIGKILL
    let_leases_run_out()
    for _pass in range(3):
        reconcile_and_run()
    download = fresh(download)
    assert (download.status, download.verification) == (S.COMPLETED, "verified")
    assert download.crash_count == (0 if point == "register:completed" else 1)
    content = wired.civitai.file(made.LARGE_FILE)
    (name,) = model_files(models_dir)
    assert (models_dir / name).read_bytes() == content.read()
    assert (Asset.objects.get().relative_path, Asset.objects.get().pk) == (name, download.asset_id)
    assert (partial_files(), PartialFile.objects.count()) == ([], 0)
    assert not Slot.objects.filter(download__isnull=False).exists()


@pytest.mark.parametrize("point", ["register:noted", "register:published"])
def test_a_crash_while_replacing_leaves_one_good_file(
    point: str, wired: Origin, user: User, models_dir: Path
) -> None:
    first = services.enqueue(user=user, url=wired.links.checkpoint, send=False)
    work_off()
    asset = Asset.objects.get()
    (models_dir / asset.relative_path).write_bytes(b"damaged")
    second = services.enqueue(
        user=user, url=wired.links.checkpoint, on_duplicate="overwrite", send=False
    )
    dispatcher.dispatch()
    assert run_until_it_dies(wired, point, second.pk, "downloading") == -signal.SIGKILL
    let_leases_run_out()
    reconcile_and_run()
    second = fresh(second)
    assert (second.status, second.asset, fresh(first).asset) == (S.COMPLETED, asset, asset)
    assert model_files(models_dir) == [asset.relative_path]
    content = wired.civitai.file(made.CHECKPOINT_FILE)
    assert (models_dir / asset.relative_path).read_bytes() == content.read()
    trash = list((models_dir / ".modelyard" / "trash").iterdir())
    assert [path.read_bytes() for path in trash] == [b"damaged"]


def test_a_download_that_kills_its_workers_is_given_up(wired: Origin, user: User) -> None:
    poison = services.enqueue(user=user, url=wired.links.checkpoint, send=False)
    for _death in range(3):
        assert fresh(poison).status in {S.QUEUED, S.DOWNLOADING}
        dispatcher.dispatch()
        run_until_it_dies(wired, "fetch:claimed", poison.pk, "downloading")
        let_leases_run_out()
        assert fresh(poison).owner
        reconciler.reconcile()
    assert (fresh(poison).status, fresh(poison).error_code) == (S.FAILED, "worker_crashed")
    other = services.enqueue(user=user, url=wired.links.hub_file, send=False)
    work_off()
    assert fresh(other).status == S.COMPLETED


def test_a_cancel_while_the_worker_is_dead_leaves_no_bytes(
    wired: Origin, user: User, models_dir: Path
) -> None:
    download = services.enqueue(user=user, url=wired.links.large, send=False)
    dispatcher.dispatch()
    run_until_it_dies(wired, "fetch:bytes", download.pk, "downloading")
    assert partial_files()
    services.cancel(download=fresh(download), user=user)
    let_leases_run_out()
    reconcile_and_run()
    assert fresh(download).status == S.CANCELLED
    assert (partial_files(), PartialFile.objects.count()) == ([], 0)
