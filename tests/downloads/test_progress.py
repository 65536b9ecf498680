"""Speed over a window, and at most two writes a second."""

from __future__ import annotations

import pytest

from downloads import claims
from downloads.models import Download
from downloads.progress import Meter, ProgressWriter
from downloads.states import DownloadStatus
from downloads.transitions import Claim
from tests.downloads.driving import fresh
from tests.factories import make_download

S = DownloadStatus


def test_the_speed_is_that_of_the_last_seconds() -> None:
    meter = Meter(window_s=5)
    for second in range(11):
        meter.note(second, second * 100)
    for second in range(11, 21):
        meter.note(second, 1000 + (second - 10) * 900)
    assert meter.bytes_per_second == 900


def test_bytes_that_were_there_before_do_not_count() -> None:
    meter = Meter()
    meter.note(0.0, 5_000_000)
    assert meter.bytes_per_second is None
    meter.note(1.0, 5_000_100)
    assert meter.bytes_per_second == 100


def test_a_restart_begins_a_new_measurement() -> None:
    meter = Meter()
    meter.note(0.0, 0)
    meter.note(2.0, 2000)
    meter.note(2.1, 0)
    assert meter.bytes_per_second is None


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def running(**fields: object) -> tuple[Download, Claim]:
    download = make_download(S.DOWNLOADING, owner="me:1:x", attempt=1, **fields)
    return download, Claim(download.pk, "me:1:x", 1)


@pytest.mark.django_db
@pytest.mark.both_databases
def test_progress_is_written_at_most_twice_a_second() -> None:
    download, claim = running()
    clock, written = Clock(), []
    writer = ProgressWriter(claim, None, clock=clock)
    for step in range(40):
        clock.now = 100 + step * 0.1
        writer(step, 1000)
        written.append(fresh(download).downloaded_bytes)
    assert len(set(written)) <= 9
    download = fresh(download)
    assert (download.file_size_bytes, download.download_speed_bps) == (1000, 10)
    assert download.progress_at is not None


@pytest.mark.django_db
@pytest.mark.both_databases
def test_a_worker_without_the_claim_writes_no_progress() -> None:
    download, claim = running()
    assert claims.let_go(claim)
    ProgressWriter(claim, None)(5, 10)
    assert fresh(download).downloaded_bytes == download.downloaded_bytes


@pytest.mark.django_db
@pytest.mark.both_databases
def test_a_cancelled_row_keeps_its_zero_while_its_worker_lets_go() -> None:
    download, claim = running()
    Download.objects.filter(pk=download.pk).update(status=S.CANCELLED, downloaded_bytes=0)
    ProgressWriter(claim, None)(5, 10)
    assert fresh(download).downloaded_bytes == 0


@pytest.mark.django_db
@pytest.mark.both_databases
def test_a_bundle_sums_its_files() -> None:
    parent = make_download(is_bundle=True, downloaded_bytes=0)
    make_download(S.COMPLETED, parent=parent, downloaded_bytes=30, download_speed_bps=7)
    make_download(S.DOWNLOADING, parent=parent, downloaded_bytes=5, download_speed_bps=40)
    _child, claim = running(parent=parent, downloaded_bytes=0, download_speed_bps=None)
    clock = Clock()
    writer = ProgressWriter(claim, parent.pk, clock=clock)
    writer(0, 100)
    clock.now += 1
    writer(60, 100)
    parent = fresh(parent)
    assert (parent.downloaded_bytes, parent.download_speed_bps) == (95, 100)


def test_who_watches_hears_every_step() -> None:
    heard: list[tuple[int, int | None, int | None]] = []
    clock = Clock()

    class Silent(ProgressWriter):
        pass

    writer = Silent(Claim(0, "x", 1), None, lambda *step: heard.append(step), clock)
    writer._written_at = clock.now  # nothing is due to be written
    for done in (1, 2, 3):
        writer(done, 9)
    assert [step[0] for step in heard] == [1, 2, 3]


@pytest.mark.parametrize(
    ("status", "done", "size", "speed", "progress", "eta"),
    [
        (S.DOWNLOADING, 50, 200, 30, 0.25, 5),
        (S.DOWNLOADING, 50, None, 30, None, None),
        (S.DOWNLOADING, 50, 200, None, 0.25, None),
        (S.DOWNLOADING, 50, 200, 0, 0.25, None),
        (S.PAUSED, 50, 200, 30, 0.25, None),
        (S.COMPLETED, 0, None, None, 1.0, None),
        (S.VERIFYING, 210, 200, None, 1.0, None),
    ],
)
def test_share_and_time_left(  # noqa: PLR0917
    status: S, done: int, size: int | None, speed: int | None, progress: float, eta: int
) -> None:
    download = Download(
        status=status, downloaded_bytes=done, file_size_bytes=size, download_speed_bps=speed
    )
    assert (download.progress, download.eta_seconds) == (progress, eta)
