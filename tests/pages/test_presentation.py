"""The words of a row: one table per question, no database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from downloads import presentation
from downloads.models import Download
from downloads.presentation import Group, Next, Tone
from downloads.states import DownloadStatus
from registry.models import Asset

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
FLAGGED = Asset(pk=5, status="flagged", flag_reason="a pickle that calls os.system")
HERE = Asset(pk=6, status="active")
GB = 10**9


def row(status: str, **fields: Any) -> Download:
    return Download(
        pk=1,
        status=status,
        source_type="civitai",
        model_name="X",
        file_name="x.safetensors",
        **fields,
    )


RUNNING = {"owner": "w", "progress_at": NOW - timedelta(seconds=1)}

STATES = [
    (row("queued"), None, "waiting", "", Tone.WAITING),
    (row("queued"), 0, "waiting", "next in line", Tone.WAITING),
    (row("queued"), 3, "waiting", "3 ahead of it", Tone.WAITING),
    (row("downloading"), None, "starting", "", Tone.MOVING),
    (row("downloading", **RUNNING), None, "downloading", "", Tone.MOVING),
    (
        row("downloading", owner="w", progress_at=NOW - timedelta(seconds=20)),
        None,
        "stalled",
        "no bytes for 20 s",
        Tone.ATTENTION,
    ),
    (row("verifying"), None, "verifying", "comparing digest and contents", Tone.MOVING),
    (row("registering"), None, "registering", "putting it in its folder", Tone.MOVING),
    (row("paused"), None, "paused", "", Tone.WAITING),
    (
        row(
            "retry_waiting",
            retry_at=NOW + timedelta(seconds=120),
            error_message="The site answered 503.",
        ),
        None,
        "tries again in 2 min",
        "The site answered 503.",
        Tone.WAITING,
    ),
    (row("retry_waiting", retry_at=NOW), None, "tries again now", "", Tone.WAITING),
    (
        row("parked", retry_at=NOW + timedelta(days=2)),
        None,
        "early access",
        "starts by itself Friday 12:00",
        Tone.WAITING,
    ),
    (row("review"), None, "ready for review", "all bytes are here", Tone.ATTENTION),
    (row("failed", error_message="Gone."), None, "failed", "Gone.", Tone.FAILED),
    (row("cancelled"), None, "cancelled", "", Tone.WAITING),
    (
        row("cancelled", error_code="duplicate"),
        None,
        "skipped",
        "it was already here",
        Tone.WAITING,
    ),
    (row("completed", verification="verified"), None, "verified", "", Tone.DONE),
    (
        row("completed", verification="unverified"),
        None,
        "done",
        "no published digest to compare with",
        Tone.DONE,
    ),
    (
        row("completed", verification="accepted"),
        None,
        "accepted",
        "an admin accepted it",
        Tone.DONE,
    ),
    (
        row("completed", asset=HERE, verification="verified"),
        None,
        "linked",
        "it was already here",
        Tone.DONE,
    ),
    (
        row("completed", asset=FLAGGED, hash_mismatch=True),
        None,
        "flagged",
        "its digest differs from the published one; it waits in quarantine",
        Tone.ATTENTION,
    ),
    (
        row("completed", asset=FLAGGED),
        None,
        "flagged",
        "a pickle that calls os.system",
        Tone.ATTENTION,
    ),
]


@pytest.mark.parametrize(("download", "ahead", "word", "detail", "tone"), STATES)
def test_state_in_words(
    download: Download, ahead: int | None, word: str, detail: str, tone: Tone
) -> None:
    state = presentation.state_of(download, now=NOW, ahead=ahead)
    assert (state.word, state.detail, state.tone) == (word, detail, tone)
    assert state.icon


def test_every_status_has_a_group_and_words() -> None:
    for status in DownloadStatus:
        download = row(status, retry_at=NOW)
        assert presentation.group_of(status) in Group
        assert presentation.state_of(download, now=NOW).word
        assert presentation.actions_of(download) or status in {
            "verifying",
            "registering",
            "completed",
        }


@pytest.mark.parametrize(
    ("code", "source", "step"),
    [
        ("token_required", "civitai", Next.TOKEN),
        ("token_rejected", "huggingface", Next.TOKEN),
        ("auth_required", "direct", Next.SOURCE),
        ("licence_required", "huggingface", Next.LICENCE),
        ("remote_gone", "civitai", Next.SOURCE),
        ("not_a_model_file", "direct", Next.SOURCE),
        ("hash_mismatch", "civitai", Next.DOWNLOAD_AGAIN),
        ("worker_crashed", "civitai", Next.RETRY),
        ("no_space", "civitai", Next.RETRY),
        ("a code of next year", "civitai", Next.RETRY),
    ],
)
def test_a_failed_row_offers_the_one_thing_that_helps(code: str, source: str, step: Next) -> None:
    download = row("failed", error_code=code)
    download.source_type = source
    assert presentation.next_step(download) is step


def test_only_rows_that_need_somebody_have_a_next_step() -> None:
    assert presentation.next_step(row("review")) is Next.REVIEW
    assert presentation.next_step(row("completed", asset=FLAGGED)) is Next.ASSET
    for status in ("queued", "downloading", "paused", "completed", "cancelled"):
        assert presentation.next_step(row(status)) is None


@pytest.mark.parametrize(
    ("download", "percent", "texts"),
    [
        (
            row(
                "downloading",
                downloaded_bytes=3 * GB,
                file_size_bytes=6 * GB,
                download_speed_bps=84_000_000,
            ),
            50,
            ("3.0 of 6.0 GB", "84 MB/s", "35 s left"),
        ),
        (
            row("downloading", downloaded_bytes=12_000_000, download_speed_bps=1_000_000),
            None,
            ("12 MB", "1.0 MB/s", ""),
        ),
        (row("queued", file_size_bytes=6 * GB), None, ("6.0 GB", "", "")),
        (
            row("paused", downloaded_bytes=3 * GB, file_size_bytes=6 * GB),
            50,
            ("3.0 of 6.0 GB", "", ""),
        ),
        (
            row("completed", downloaded_bytes=6 * GB, file_size_bytes=6 * GB),
            None,
            ("6.0 GB", "", ""),
        ),
    ],
)
def test_meter(download: Download, percent: int | None, texts: tuple[str, str, str]) -> None:
    meter = presentation.meter_of(download)
    assert meter is not None
    assert meter.percent == percent
    assert (meter.amount, meter.speed, meter.left) == texts


def test_a_bundle_adds_up_its_files_and_says_what_the_busiest_does() -> None:
    bundle = row("downloading", is_bundle=True)
    files = [
        row("completed", downloaded_bytes=2 * GB, file_size_bytes=2 * GB),
        row(
            "downloading",
            downloaded_bytes=1 * GB,
            file_size_bytes=4 * GB,
            download_speed_bps=100_000_000,
            **RUNNING,
        ),
        row("queued", file_size_bytes=4 * GB),
    ]
    shown = presentation.row_of(bundle, now=NOW, children=files, unfold=False)
    assert shown.meter is not None
    assert (shown.meter.percent, shown.meter.amount) == (30, "3.0 of 10.0 GB")
    assert shown.meter.left == "1 min 10 s left"
    assert (shown.state.word, shown.children_done, shown.children_total) == ("downloading", 1, 3)
    assert shown.children == ()


def test_a_bundle_with_a_file_of_unknown_size_has_no_percentage() -> None:
    meter = presentation.bundle_meter([row("downloading", downloaded_bytes=5), row("queued")])
    assert meter.percent is None
