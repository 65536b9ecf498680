"""What a person may say about a download."""

from __future__ import annotations

import pytest

from downloads import options
from downloads.errors import InvalidOption

GOOD = "ab" * 32


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (GOOD, GOOD),
        (GOOD.upper(), GOOD),
        (f"  sha256:{GOOD}\n", GOOD),
        ("", ""),
    ],
)
def test_a_digest_is_read_in_any_case(text: str, value: str) -> None:
    assert options.checked_hash(text) == value


@pytest.mark.parametrize("text", [GOOD[:-1], GOOD + "0", "g" * 64, "0" * 64, "md5:" + "a" * 32])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        options.checked_hash(text)
    assert list(refused.value.details) == ["expected_hash"]


@pytest.mark.parametrize(
    "text", ["", "   ", "x" * 301, "a\nb", "a\x00b", "a\u2028b", "a\ud800b", "a\u202etfb"]
)
def test_a_name_is_one_line_of_bounded_length(text: str) -> None:
    with pytest.raises(InvalidOption):
        options.checked_name(text)


def test_names_are_normalised() -> None:
    assert options.checked_name("  Cafe\u0301 ") == "Caf\u00e9"


@pytest.mark.parametrize("check", [options.checked_type, options.checked_on_duplicate])
def test_unknown_words_name_the_known_ones(check: object) -> None:
    with pytest.raises(InvalidOption) as refused:
        check("song")  # type: ignore[operator]
    assert "lora" in refused.value.message or "link" in refused.value.message


@pytest.mark.parametrize("number", [0, 1, 4, -1])
def test_people_give_two_priorities(number: int) -> None:
    with pytest.raises(InvalidOption):
        options.checked_priority(number)
