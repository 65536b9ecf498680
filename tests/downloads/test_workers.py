"""A real worker with a real broker: stops, lost messages, duplicates, and the chain itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from kombu.exceptions import OperationalError
from redis import Redis

from downloads import services, tasks
from downloads.models import Download, PartialFile
from downloads.states import DownloadStatus
from tests.downloads.driving import fresh, wait_until
from tests.downloads.processes import worker
from tests.origin import Origin
from tests.origin import made_civitai as made

pytestmark = pytest.mark.django_db(transaction=True)

S = DownloadStatus
MIB = 1024 * 1024


def is_(download: Download, status: S) -> bool:
    found = fresh(download)
    assert found.status != S.FAILED or status == S.FAILED, found.error_message
    return found.status == status


def lose_all_messages() -> int:
    """What FLUSHALL does, for the keys of this test."""
    client = Redis.from_url(django_settings.REDIS_URL)
    keys = [
        key
        for key in client.scan_iter(f"{django_settings.REDIS_KEY_PREFIX}*")
        if not key.endswith(b"_kombu.binding.transfer")
    ]
    lost = client.delete(*keys) if keys else 0
    client.close()
    return int(lost)


@pytest.fixture(autouse=True)
def _empty_broker() -> None:
    lose_all_messages()


def test_stop_start_and_lost_messages(wired: Origin, user: User, tmp_path: Path) -> None:
    wired.civitai.resize(made.LARGE_FILE, 8 * MIB)
    log = tmp_path / "worker.log"

    # Queued while no worker runs, and every message is lost.
    download = services.enqueue(user=user, url=wired.links.large)
    twin = services.enqueue(user=user, url=wired.links.large)
    assert lose_all_messages() > 0
    slow = wired.faults.slow("/cdn/*", 64 * 1024)

    # A worker that starts asks the reconciler by itself.
    with worker(wired, log) as process:
        wait_until(lambda: fresh(download).downloaded_bytes > 0, log.read_text, 40)
        began = time.monotonic()
        process.terminate()
        wait_until(lambda: is_(download, S.QUEUED), "the row is put back", 5)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 10
    stopped = fresh(download)
    assert (stopped.owner, stopped.auto_retry_count, stopped.crash_count) == ("", 0, 0)
    assert PartialFile.objects.get().ranges

    # Duplicates of every message change nothing.
    for _number in range(20):
        tasks.send_stages([(download.pk, S.DOWNLOADING), (download.pk, S.REGISTERING)])
    slow.remove()
    with worker(wired, log):
        wait_until(lambda: is_(download, S.COMPLETED), log.read_text, 40)
        wait_until(lambda: is_(twin, S.COMPLETED), "the second row is linked", 10)
        bundle = services.enqueue(user=user, url=wired.links.bundle)
        wait_until(lambda: is_(bundle, S.COMPLETED), "the bundle", 40)
    assert fresh(download).attempt == 2
    assert fresh(twin).asset == fresh(download).asset
    assert fresh(twin).attempt == 0
    text = log.read_text()
    assert '"level": "error"' not in text, text


def test_a_broker_that_is_away_is_no_error(
    wired: Origin, user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_args: object, **_options: object) -> None:
        raise OperationalError("Connection refused")

    monkeypatch.setattr(tasks.dispatch, "apply_async", away)
    download = services.enqueue(user=user, url=wired.links.checkpoint)
    assert download.status == S.QUEUED
    assert "the reconciler will send it" in caplog.text
