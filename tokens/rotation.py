"""Re-encrypt everything with the newest key, and know which keys are still needed.

A row is written back only if its blob is still the one that was read, so a token that is saved
meanwhile wins. Running it again does what is left; a run that was killed has done a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.apps import apps
from django.db import models

from tokens import crypto
from tokens.crypto import EncryptedColumn, KeyRing
from tokens.errors import TokenUnreadable


@dataclass
class RotationReport:
    """Counts, and the rows ("app.Model 5") that no loaded key opens."""

    rotated: int = 0
    current: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate(*, dry_run: bool = False, ring: KeyRing | None = None) -> RotationReport:
    """Bring every registered column to the newest key. With `dry_run` nothing is written."""
    ring = ring or crypto.default_ring()
    report = RotationReport()
    for column in crypto.columns.values():
        for row in _rows(column):
            _rotate_row(row, column, ring, report, dry_run=dry_run)
    return report


def _rotate_row(
    row: models.Model,
    column: EncryptedColumn,
    ring: KeyRing,
    report: RotationReport,
    *,
    dry_run: bool,
) -> None:
    blob = bytes(getattr(row, column.field))
    if crypto.key_id_of(blob) == ring.newest_id:
        report.current += 1
        return
    context = column.context(row)
    try:
        sealed = ring.encrypt(ring.decrypt(blob, context=context), context=context)
    except TokenUnreadable:
        report.unreadable.append(f"{column.model} {row.pk}")
        return
    report.rotated += 1
    if not dry_run:
        values: dict[str, object] = {column.field: sealed.blob}
        if column.key_id_field:
            values[column.key_id_field] = sealed.key_id
        same = {"pk": row.pk, column.field: blob}
        type(row)._base_manager.filter(**same).update(**values)


def key_ids_in_use() -> frozenset[str]:
    """Ids of every key that some row still needs."""
    return frozenset(
        crypto.key_id_of(bytes(blob))
        for column in crypto.columns.values()
        for blob in _query(column).values_list(column.field, flat=True).iterator()
    ) - {""}


def missing_key_ids() -> frozenset[str]:
    """Keys that rows need and `ENCRYPTION_KEY` does not hold."""
    return key_ids_in_use() - crypto.default_ring().key_ids


def _rows(column: EncryptedColumn) -> Iterator[models.Model]:
    return _query(column).order_by("pk").iterator(chunk_size=200)


def _query(column: EncryptedColumn) -> models.QuerySet[models.Model]:
    manager: models.Manager[models.Model] = apps.get_model(column.model)._base_manager
    return manager.exclude(**{f"{column.field}__isnull": True})
