"""The ledger of a partial, kept in the database and fenced by the claim.

Every write takes the download's row first, filtered on owner and attempt: a worker that lost its
claim cannot note a range any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from downloads import claims
from downloads.models import PartialFile
from downloads.transitions import Claim
from registry.models import Root
from transfer.protocols import LedgerState

MAX_ETAG = 500
MAX_LAST_MODIFIED = 100


class DatabaseLedger:
    """`transfer.protocols.Ledger` on one PartialFile row. All writes raise LostClaim."""

    def __init__(self, claim: Claim, root: Root) -> None:
        self._claim = claim
        self._root = root

    def load(self) -> LedgerState | None:
        row = self._rows().first()
        if row is None:
            return None
        return LedgerState(
            file_name=row.file_name,
            size_bytes=row.size_bytes,
            etag=row.etag,
            last_modified=row.last_modified,
            ranges=tuple((start, end) for start, end in row.ranges),
            restarts=row.restarts,
        )

    def begin(self, file_name: str, size_bytes: int | None, etag: str, last_modified: str) -> None:
        with transaction.atomic():
            self._fence()
            PartialFile.objects.update_or_create(
                download_id=self._claim.download_id,
                defaults={
                    "root": self._root,
                    "file_name": file_name,
                    "size_bytes": size_bytes,
                    # Cut off, a validator would never match; without one the file starts again.
                    "etag": etag if len(etag) <= MAX_ETAG else "",
                    "last_modified": (
                        last_modified if len(last_modified) <= MAX_LAST_MODIFIED else ""
                    ),
                    "ranges": [],
                },
            )

    def add_range(self, start: int, end: int) -> None:
        with transaction.atomic():
            self._fence()
            ranges = self._rows().values_list("ranges", flat=True).get()
            self._update(ranges=merged([*ranges, (start, end)]))

    def reset(self, reason: str) -> None:
        with transaction.atomic():
            self._fence()
            self._update(
                ranges=[], etag="", last_modified="", size_bytes=None, restarts=F("restarts") + 1
            )

    def rename(self, file_name: str) -> None:
        with transaction.atomic():
            self._fence()
            self._update(file_name=file_name)

    def _rows(self) -> Any:
        return PartialFile.objects.filter(download=self._claim.download_id)

    def _fence(self) -> None:
        claims.write(self._claim, updated_at=Now())

    def _update(self, **values: Any) -> None:
        self._rows().update(updated_at=Now(), **values)


def merged(ranges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Sorted and disjoint; ranges that touch become one."""
    result: list[list[int]] = []
    for start, end in sorted((int(start), int(end)) for start, end in ranges):
        if result and start <= result[-1][1]:
            result[-1][1] = max(result[-1][1], end)
        elif end > start:
            result.append([start, end])
    return result
