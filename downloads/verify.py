"""Is it what was published, and may it become a model: values in, a judgement out.

`hash_verified` says that a published digest was compared, `hash_mismatch` that it differed;
`verification` says it in one word. Where only a git blob SHA-1 was published, that one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from registry.inspect.verdict import NOT_A_MODEL_FILE, Verdict
from registry.models import Verification


@dataclass(frozen=True, slots=True)
class Comparison:
    hash_verified: bool
    hash_mismatch: bool
    verification: Verification


def compare(
    *, expected_sha256: str, actual_sha256: str, expected_git_sha1: str, actual_git_sha1: str
) -> Comparison:
    """Digests in any case; "" means that there is none. A SHA-256 beats a git SHA-1."""
    for expected, actual in (
        (expected_sha256, actual_sha256),
        (expected_git_sha1, actual_git_sha1),
    ):
        if expected and actual:
            differs = expected.strip().lower() != actual.strip().lower()
            word = Verification.MISMATCH if differs else Verification.VERIFIED
            return Comparison(True, differs, word)
    return Comparison(False, False, Verification.UNVERIFIED)


class Next(StrEnum):
    FETCH_AGAIN = "fetch_again"
    REFUSE = "refuse"
    REVIEW = "review"
    REGISTER = "register"


def judge(
    *,
    comparison: Comparison,
    verdict: Verdict,
    mismatches_before: int,
    wants_review: bool,
    reviewed: bool,
) -> Next:
    """What follows for bytes with that comparison and that verdict.

    A web page is refused at once. Bytes that differ from the published digest are fetched once
    more; if they differ again they are registered as flagged, unless they are no valid file at all.
    """
    if not verdict.accepted and verdict.code == NOT_A_MODEL_FILE:
        return Next.REFUSE
    if comparison.hash_mismatch and mismatches_before == 0:
        return Next.FETCH_AGAIN
    if not verdict.accepted:
        return Next.REFUSE
    if (wants_review or verdict.asks_review) and not reviewed:
        return Next.REVIEW
    return Next.REGISTER


def is_flagged(comparison_word: str, verdict: Verdict) -> bool:
    """Registered, but its bytes stay in quarantine until somebody accepts them."""
    return comparison_word == Verification.MISMATCH or verdict.needs_quarantine
