from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.utils import timezone

from ops import audit
from ops.jobs import registry
from ops.models import AuditEvent, AuditHead
from tests.canaries import canary, traces
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def raw() -> models.QuerySet[AuditEvent]:
    """The table as somebody with access to the database sees it."""
    return models.QuerySet(AuditEvent).order_by("pk")


@pytest.fixture
def chain(db: None) -> list[AuditEvent]:
    return [audit.record("step", number=number) for number in range(5)]


def test_an_entry_says_who_did_what_to_which_row() -> None:
    actor = make_user("alice")
    target = make_user("bob")
    audit.record("user.changed", actor=actor, target=target, field="email")
    event = AuditEvent.objects.get()
    assert (event.actor_id, event.actor_name) == (actor.pk, "alice")
    assert (event.object_type, event.object_id) == ("auth.user", str(target.pk))
    assert (event.action, event.details) == ("user.changed", {"field": "email"})


def test_without_an_actor_it_was_the_system() -> None:
    event = audit.record("swept")
    assert (event.actor_id, event.actor_name) == (None, "")
    assert "system" in str(event)


def test_the_chain_begins_at_nothing_and_every_entry_names_the_one_before(
    chain: list[AuditEvent],
) -> None:
    assert chain[0].previous_digest == "0" * 64
    for before, after in pairwise(chain):
        assert after.previous_digest == before.digest
    assert audit.verify() == audit.ChainReport(5, None, "")


def test_an_empty_log_is_whole() -> None:
    assert audit.verify().is_whole


def test_the_entry_stays_whole_when_its_actor_is_deleted() -> None:
    actor = make_user("alice")
    audit.record("step", actor=actor)
    actor.delete()
    assert audit.verify().is_whole
    assert AuditEvent.objects.get().actor_name == "alice"


@pytest.mark.parametrize(
    "change",
    [
        {"details": {"number": 99}},
        {"action": "other"},
        {"actor_name": "somebody"},
        {"actor_id": 4711},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"object_id": "7"},
        {"object_type": "x.y"},
        {"digest": "1" * 64},
        {"previous_digest": "1" * 64},
    ],
)
def test_a_changed_entry_is_found(chain: list[AuditEvent], change: dict[str, Any]) -> None:
    raw().filter(pk=chain[2].pk).update(**change)
    report = audit.verify()
    assert not report.is_whole
    assert report.broken_at in {chain[2].pk, chain[3].pk}
    with pytest.raises(CommandError, match="damaged"):
        call_command("verify_audit")


@pytest.mark.parametrize("position", [0, 2, 4])
def test_a_missing_entry_is_found_wherever_it_stood(chain: list[AuditEvent], position: int) -> None:
    raw().filter(pk=chain[position].pk).delete()
    assert not audit.verify().is_whole


def test_a_forged_entry_at_the_end_is_found(chain: list[AuditEvent]) -> None:
    forged = AuditEvent(at=timezone.now(), action="x", previous_digest=chain[-1].digest)
    forged.digest = audit.digest_of(forged)
    raw().bulk_create([forged])
    assert audit.verify().reason == "the newest entries are missing"


def test_a_whole_log_is_said_to_be_whole(chain: list[AuditEvent], capsys: Any) -> None:
    call_command("verify_audit")
    assert capsys.readouterr().out == "The audit log is whole: 5 entries.\n"


def test_entries_are_never_changed_or_deleted_by_the_product(chain: list[AuditEvent]) -> None:
    event = AuditEvent.objects.first()
    assert event is not None
    event.action = "other"
    for forbidden in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(action="x"),
        lambda: AuditEvent.objects.filter(pk=event.pk).delete(),
    ):
        with pytest.raises(RuntimeError):
            forbidden()
    assert audit.verify().is_whole


@pytest.mark.parametrize(
    "name",
    ["token", "api_token", "password", "new_password", "secret", "client_secret", "api_key",
     "apikey", "Authorization", "cookie", "credentials", "encryption_key", "plain", "key"],
)  # fmt: skip
def test_a_detail_that_names_a_secret_is_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match="secret"):
        audit.record("x", **{name: "value"})
    with pytest.raises(RuntimeError):
        audit.record("x", nested={"deep": {name: "value"}})
    assert not AuditEvent.objects.exists()


def test_names_that_only_sound_like_it_are_taken() -> None:
    audit.record("x", token_hint="...abcd", prefix="abc", path_key="a/b", tokens=3, key_id="00")


def test_values_are_redacted_escaped_and_cut() -> None:
    token = canary("huggingface audit")
    audit.record(
        "x",
        url=f"https://user:pass@example.com/f?token={token}&page=2",
        header=f"Authorization: Bearer {token}",
        text="line one\nline two\x1b[31m\u202e\x00",
        long="y" * 5000,
        broken="\ud800",
    )
    details = AuditEvent.objects.get().details
    assert not traces(str(details))
    assert "user:pass" not in details["url"]
    assert details["url"].endswith("&page=2")
    assert details["text"] == "line one\\nline two\\x1b[31m\\u202e\\x00"
    assert len(details["long"]) == 1001
    assert details["broken"] == "\\ud800"
    assert audit.verify().is_whole


def test_values_of_any_kind_come_back_as_they_were_digested() -> None:
    audit.record(
        "x",
        number=3,
        huge=2**70,
        share=0.1,
        large=1e300,
        nothing=None,
        yes=True,
        when=datetime(2026, 11, 20, tzinfo=UTC),
        amount=Decimal("1.50"),
        listed=[1, {"a": (2, 3)}],
        words={"ä": "ü"},
    )
    assert audit.verify().is_whole
    details = AuditEvent.objects.get().details
    assert details["listed"] == [1, {"a": [2, 3]}]
    assert details["huge"] == str(2**70)


def test_an_entry_is_part_of_the_change_it_tells_of() -> None:
    def change_that_fails() -> None:
        with transaction.atomic():
            audit.record("half")
            raise ZeroDivisionError

    audit.record("before")
    with pytest.raises(ZeroDivisionError):
        change_that_fails()
    audit.record("after")
    assert [event.action for event in raw()] == ["before", "after"]
    assert audit.verify().is_whole


def test_old_entries_expire_from_the_front_and_the_rest_is_whole() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for day in range(10):
        with time_machine.travel(start + timedelta(days=day), tick=False):
            audit.record("step", day=day)
    assert audit.expire(start + timedelta(days=4)) == 4
    assert [event.details.get("day") for event in raw()][:6] == [4, 5, 6, 7, 8, 9]
    last = raw().last()
    assert last is not None
    assert (last.action, last.details["entries"]) == ("audit.expired", 4)
    assert audit.verify().is_whole
    assert audit.expire(start) == 0
    raw().filter(pk=AuditEvent.objects.earliest("pk").pk).delete()
    assert not audit.verify().is_whole


def test_the_retention_job_keeps_the_days_of_the_setting(settings: Any) -> None:
    settings.AUDIT_LOG_RETENTION_DAYS = 30
    now = timezone.now()
    for days in (40, 20):
        with time_machine.travel(now - timedelta(days=days), tick=False):
            audit.record("step", days=days)
    registry["ops.expire-audit"].run()
    assert [event.details.get("days") for event in raw()] == [20, None]


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_make_one_chain() -> None:
    def write(worker: int) -> None:
        try:
            for number in range(10):
                audit.record("step", worker=worker, number=number)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert audit.verify() == audit.ChainReport(60, None, "")
    assert AuditHead.objects.count() == 1
