"""The audit log: who did what to which row, in a chain that shows when it was tampered with.

`record` is part of the caller's transaction: the entry stands when the change stands. It takes the
lock of the chain until that transaction ends, so it comes last in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, models, transaction
from django.db.models import F
from django.utils import timezone

from config.logging import redact
from ops.models import AuditEvent, AuditHead

MAX_TEXT = 1000
#: Names of values that never belong in a log. `token_hint` and `prefix` do.
SECRET_NAME = re.compile(
    r"(?i)secret|passw|authorization|credential|cookie|(^|_)token$|plain"
    r"|^key$|(api|access|private|encryption|session)_?key$"
)


def record(
    action: str, *, actor: Any = None, target: models.Model | None = None, **details: Any
) -> AuditEvent:
    """Append one entry. `actor` is a user, None the system; `target` the row it was done to.

    Values in `details` are made plain (text is redacted, its control characters are escaped, long
    text is cut). Raises RuntimeError for a detail whose name says that it is a secret.
    """
    plain = _plain_details(details)
    is_user = actor is not None and actor.pk is not None
    with transaction.atomic():
        head = _take_head()
        event = AuditEvent(
            at=timezone.now(),
            actor_id=actor.pk if is_user else None,
            actor_name=_text(actor.get_username())[:150] if is_user else "",
            action=action,
            object_type=target._meta.label_lower if target is not None else "",
            object_id=str(target.pk)[:64] if target is not None else "",
            details=plain,
            previous_digest=head.head_digest,
        )
        event.digest = digest_of(event)
        event.save(force_insert=True)
        AuditHead.objects.filter(pk=head.pk).update(head_digest=event.digest)
    return event


def _take_head() -> AuditHead:
    """The chain's end, locked by an UPDATE: a row lock on PostgreSQL, the write lock on SQLite."""
    if not AuditHead.objects.filter(pk=1).update(turns=F("turns") + 1):
        AuditHead.objects.get_or_create(pk=1)
        AuditHead.objects.filter(pk=1).update(turns=F("turns") + 1)
    return AuditHead.objects.get(pk=1)


def digest_of(event: AuditEvent) -> str:
    """SHA-256 over everything that the entry says and the digest before it."""
    said = [
        event.previous_digest,
        event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        event.actor_id,
        event.actor_name,
        event.action,
        event.object_type,
        event.object_id,
        event.details,
    ]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


# --- Details as they are kept --------------------------------------------------------------------


def _plain_details(details: Mapping[str, Any]) -> dict[str, Any]:
    plain = {}
    for name, value in details.items():
        if SECRET_NAME.search(str(name)):
            raise RuntimeError(f"{name} looks like a secret and does not belong in the audit log.")
        plain[_text(str(name))] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    """Only what both databases give back as it went in, since the digest is computed again."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**53 else str(value)
    if isinstance(value, Mapping):
        return _plain_details(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _text(str(value))


def _text(value: str) -> str:
    """Redacted, cut, and with control characters, bidi marks and half characters escaped."""
    text = redact(value)
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


# --- Reading the chain ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ChainReport:
    """`broken_at` is the id of the first entry that does not fit, None when all do."""

    entries: int
    broken_at: int | None
    reason: str

    @property
    def is_whole(self) -> bool:
        return not self.reason


def verify() -> ChainReport:
    """Walk the chain from its oldest entry and compare every digest.

    One snapshot of the database, so that entries written meanwhile do not look like damage.
    """
    with transaction.atomic():
        _one_snapshot()
        head = AuditHead.objects.filter(pk=1).first() or AuditHead()
        return _walk(head, AuditEvent.objects.order_by("pk").iterator(chunk_size=1000))


def _one_snapshot() -> None:
    if connection.vendor == "postgresql" and not connection.savepoint_ids:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _walk(head: AuditHead, events: Iterator[AuditEvent]) -> ChainReport:
    previous, count = head.anchor_digest, 0
    for event in events:
        count += 1
        if event.previous_digest != previous:
            return ChainReport(count, event.pk, "the entry before it is missing or was changed")
        if digest_of(event) != event.digest:
            return ChainReport(count, event.pk, "the entry was changed")
        previous = event.digest
    if previous != head.head_digest:
        return ChainReport(count, None, "the newest entries are missing")
    return ChainReport(count, None, "")


def expire(before: datetime) -> int:
    """Take away the oldest entries up to `before`, and note that in the log. Returns how many."""
    with transaction.atomic():
        head = _take_head()
        first_kept = AuditEvent.objects.filter(at__gte=before).order_by("pk").first()
        old = AuditEvent.objects.order_by("pk")
        if first_kept is not None:
            old = old.filter(pk__lt=first_kept.pk)
        last = old.last()
        if last is None:
            return 0
        count: int = models.QuerySet(AuditEvent).filter(pk__lte=last.pk).delete()[0]
        AuditHead.objects.filter(pk=head.pk).update(anchor_digest=last.digest)
        record("audit.expired", entries=count, before=before)
    return count
