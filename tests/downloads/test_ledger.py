"""The ledger of a partial: what is durable, of which version, and written by the owner alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloads.errors import LostClaim
from downloads.ledger import DatabaseLedger, merged
from downloads.models import Download, PartialFile
from downloads.states import DownloadStatus
from downloads.transitions import Claim
from tests.downloads.driving import fresh
from tests.factories import make_download, make_root
from transfer.protocols import LedgerState

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def ledger() -> DatabaseLedger:
    download = make_download(DownloadStatus.DOWNLOADING, owner="me:1:x", attempt=2)
    return DatabaseLedger(Claim(download.pk, "me:1:x", 2), make_root())


def test_nothing_was_begun(ledger: DatabaseLedger) -> None:
    assert ledger.load() is None


def test_what_is_noted_is_read_back(ledger: DatabaseLedger) -> None:
    ledger.begin("a.part", 100, '"v1"', "Fri, 20 Nov 2026 10:00:00 GMT")
    ledger.add_range(0, 10)
    ledger.add_range(50, 60)
    ledger.add_range(10, 20)
    ledger.rename("b.part")
    assert ledger.load() == LedgerState(
        file_name="b.part",
        size_bytes=100,
        etag='"v1"',
        last_modified="Fri, 20 Nov 2026 10:00:00 GMT",
        ranges=((0, 20), (50, 60)),
        restarts=0,
    )


def test_a_reset_forgets_all_but_how_often(ledger: DatabaseLedger) -> None:
    ledger.begin("a.part", 100, '"v1"', "")
    ledger.add_range(0, 10)
    ledger.reset("changed")
    state = ledger.load()
    assert state is not None
    assert (state.ranges, state.etag, state.size_bytes, state.restarts) == ((), "", None, 1)
    ledger.begin("b.part", 5, "", "")
    assert ledger.load() == LedgerState("b.part", 5, "", "", (), restarts=1)


def test_a_validator_too_long_to_keep_is_none(ledger: DatabaseLedger) -> None:
    ledger.begin("a.part", 1, '"' + "x" * 600 + '"', "y" * 200)
    state = ledger.load()
    assert state is not None
    assert (state.etag, state.last_modified) == ("", "")


@pytest.mark.parametrize(
    "write",
    [
        lambda ledger: ledger.begin("evil.part", 1, "", ""),
        lambda ledger: ledger.add_range(0, 99),
        lambda ledger: ledger.reset("x"),
        lambda ledger: ledger.rename("evil.part"),
    ],
    ids=["begin", "add_range", "reset", "rename"],
)
def test_a_worker_without_the_claim_notes_nothing(
    ledger: DatabaseLedger, write: Callable[[DatabaseLedger], None]
) -> None:
    ledger.begin("a.part", 100, "", "")
    ledger.add_range(0, 10)
    before = ledger.load()
    row = PartialFile.objects.get()
    Download.objects.filter(pk=row.download_id).update(attempt=3)
    with pytest.raises(LostClaim):
        write(ledger)
    assert ledger.load() == before
    assert fresh(row.download).attempt == 3


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20))
def test_merged_ranges_cover_the_same_bytes(pairs: list[tuple[int, int]]) -> None:
    pairs = [(start, end) for start, end in pairs if start <= end]
    result = merged(pairs)
    assert {byte for start, end in result for byte in range(start, end)} == {
        byte for start, end in pairs for byte in range(start, end)
    }
    assert all(end < following for (_s, end), (following, _e) in itertools.pairwise(result))
