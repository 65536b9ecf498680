from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from config import wording

NOW = datetime(2026, 3, 4, 12, 0)  # noqa: DTZ001  (the words do not care)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "size unknown"),
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (66_900_000, "67 MB"),
        (6_800_000_000, "6.8 GB"),
        (123_400_000_000, "123 GB"),
        (2 * 10**15, "2.0 PB"),
    ],
)
def test_bytes(count: int | None, words: str) -> None:
    assert wording.bytes_in_words(count) == words


@pytest.mark.parametrize(
    ("done", "total", "words"),
    [
        (3_200_000_000, 6_800_000_000, "3.2 of 6.8 GB"),
        (0, 6_800_000_000, "0.0 of 6.8 GB"),
        (12_000_000, 6_800_000_000, "12 MB of 6.8 GB"),
        (12_000_000, None, "12 MB"),
    ],
)
def test_share(done: int, total: int | None, words: str) -> None:
    assert wording.share_in_words(done, total) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (45.9, "45 s"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (11 * 60 + 10, "11 min"),
        (2 * 3600 + 300, "2 h 5 min"),
        (11 * 3600 + 300, "11 h"),
        (86400, "1 day"),
        (3 * 86400 + 5, "3 days"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert wording.duration_in_words(seconds) == words


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (NOW + timedelta(hours=2), "today 14:00"),
        (NOW + timedelta(hours=26), "tomorrow 14:00"),
        (NOW - timedelta(hours=22), "yesterday 14:00"),
        (NOW + timedelta(days=2), "Friday 12:00"),
        (NOW + timedelta(days=20), "24 March 12:00"),
        (NOW + timedelta(days=400), "8 April 2027 12:00"),
    ],
)
def test_moment(moment: datetime, words: str) -> None:
    assert wording.moment_in_words(moment, NOW) == words


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (None, "never"),
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=71), "1 min ago"),
        (timedelta(hours=3, minutes=1), "3 h ago"),
        (timedelta(days=9, hours=5), "9 days ago"),
    ],
)
def test_ago(past: timedelta | None, words: str) -> None:
    assert wording.ago_in_words(None if past is None else NOW - past, NOW) == words
