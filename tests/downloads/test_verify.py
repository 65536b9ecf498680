"""The hash policy and the gate, as values."""

from __future__ import annotations

import itertools

import pytest

from downloads.verify import Comparison, Next, compare, is_flagged, judge
from registry.inspect.verdict import FORMAT_INVALID, NOT_A_MODEL_FILE, Verdict
from registry.models import Verification

A, B = "ab" * 32, "cd" * 32
GIT_A, GIT_B = "ab" * 20, "cd" * 20
GOOD = Verdict(accepted=True)
BROKEN = Verdict(accepted=False, code=FORMAT_INVALID, reason="cut off")
WEB_PAGE = Verdict(accepted=False, code=NOT_A_MODEL_FILE, reason="a web page")
DOUBTFUL = Verdict(accepted=True, asks_review=True)
SAME = Comparison(hash_verified=True, hash_mismatch=False, verification=Verification.VERIFIED)
DIFFERS = Comparison(hash_verified=True, hash_mismatch=True, verification=Verification.MISMATCH)


@pytest.mark.parametrize(
    ("expected", "actual", "git_expected", "git_actual", "checked", "differs", "word"),
    [
        (A, A, "", "", True, False, "verified"),
        (A.upper(), A, "", "", True, False, "verified"),
        (f" {A}\n", A, "", "", True, False, "verified"),
        (A, B, "", "", True, True, "mismatch"),
        ("", A, "", "", False, False, "unverified"),
        ("", A, GIT_A, GIT_A, True, False, "verified"),
        ("", A, GIT_A.upper(), GIT_A, True, False, "verified"),
        ("", A, GIT_A, GIT_B, True, True, "mismatch"),
        (A, A, GIT_A, GIT_B, True, False, "verified"),
        ("", A, GIT_A, "", False, False, "unverified"),
    ],
)
def test_digests_are_compared(  # noqa: PLR0917
    expected: str, actual: str, git_expected: str, git_actual: str,
    checked: bool, differs: bool, word: str,
) -> None:  # fmt: skip
    found = compare(
        expected_sha256=expected,
        actual_sha256=actual,
        expected_git_sha1=git_expected,
        actual_git_sha1=git_actual,
    )
    assert (found.hash_verified, found.hash_mismatch, found.verification) == (
        checked, differs, word,
    )  # fmt: skip


def judged(
    comparison: Comparison = SAME,
    verdict: Verdict = GOOD,
    *,
    before: int = 0,
    wants: bool = False,
    reviewed: bool = False,
) -> Next:
    return judge(
        comparison=comparison,
        verdict=verdict,
        mismatches_before=before,
        wants_review=wants,
        reviewed=reviewed,
    )


def test_a_good_file_is_registered() -> None:
    assert judged() is Next.REGISTER


def test_a_digest_that_differs_is_fetched_once_more_and_then_registered() -> None:
    assert judged(DIFFERS) is Next.FETCH_AGAIN
    assert judged(DIFFERS, before=1) is Next.REGISTER


def test_a_web_page_is_refused_at_once_whatever_its_digest() -> None:
    for comparison, before in itertools.product((SAME, DIFFERS), (0, 1)):
        assert judged(comparison, WEB_PAGE, before=before) is Next.REFUSE


def test_a_broken_file_is_fetched_once_more_when_its_digest_differs() -> None:
    assert judged(SAME, BROKEN) is Next.REFUSE
    assert judged(DIFFERS, BROKEN) is Next.FETCH_AGAIN
    assert judged(DIFFERS, BROKEN, before=1) is Next.REFUSE


def test_who_wants_a_review_gets_one() -> None:
    assert judged(wants=True) is Next.REVIEW
    assert judged(wants=True, reviewed=True) is Next.REGISTER


def test_a_header_that_contradicts_what_was_declared_asks_for_a_review() -> None:
    assert judged(verdict=DOUBTFUL) is Next.REVIEW
    assert judged(verdict=DOUBTFUL, reviewed=True) is Next.REGISTER
    assert judged(DIFFERS, DOUBTFUL, before=1) is Next.REVIEW


def test_what_differs_or_could_do_harm_is_flagged() -> None:
    assert not is_flagged("verified", GOOD)
    assert not is_flagged("unverified", Verdict(accepted=True, safety="harmless_pickle"))
    assert is_flagged("mismatch", GOOD)
    assert is_flagged("verified", Verdict(accepted=True, safety="suspicious"))
