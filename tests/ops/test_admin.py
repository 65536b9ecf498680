from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from ops import audit
from ops.models import AuditEvent
from tests.factories import make_admin, make_user

pytestmark = pytest.mark.django_db

LOG = "/admin/ops/auditevent/"


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(make_admin())
    return client


def test_the_log_can_be_read_and_not_written(console: Client) -> None:
    event = audit.record("step", number=1)
    assert console.get(LOG).status_code == 200
    assert console.get(f"{LOG}{event.pk}/change/").status_code == 200
    assert console.get(f"{LOG}add/").status_code == 403
    assert console.post(f"{LOG}{event.pk}/change/", {"action": "x"}).status_code == 403
    assert console.post(f"{LOG}{event.pk}/delete/", {"post": "yes"}).status_code == 403
    console.post(LOG, {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})
    assert AuditEvent.objects.filter(pk=event.pk).exists()
    assert audit.verify().is_whole


def test_staff_without_the_right_does_not_see_it() -> None:
    client = Client()
    client.force_login(make_user("staff", is_staff=True))
    assert client.get(LOG).status_code == 403


def actions() -> list[tuple[str, str, str]]:
    entries = AuditEvent.objects.filter(action__startswith="admin").order_by("pk")
    return [(e.actor_name, e.action, e.object_type) for e in entries]


def test_a40_what_admins_do_is_in_the_log(console: Client) -> None:
    console.post("/admin/auth/group/add/", {"name": "night shift"})
    group = Group.objects.get(name="night shift")
    console.post(f"/admin/auth/group/{group.pk}/change/", {"name": "day shift"})
    console.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    assert actions() == [
        ("admin", "admin.added", "auth.group"),
        ("admin", "admin.changed", "auth.group"),
        ("admin", "admin.deleted", "auth.group"),
    ]
    changed = AuditEvent.objects.get(action="admin.changed")
    assert changed.details == {"name": "day shift", "changes": ["Name"]}


def test_a40_many_rows_at_once_are_in_the_log_one_by_one(console: Client) -> None:
    groups = [Group.objects.create(name=f"group {number}") for number in range(3)]
    console.post(
        "/admin/auth/group/",
        {"action": "delete_selected", "_selected_action": [g.pk for g in groups], "post": "yes"},
    )
    assert [entry[1] for entry in actions()] == ["admin.deleted"] * 3
    assert set(AuditEvent.objects.filter(action="admin.deleted").values_list("object_id")) == {
        (str(group.pk),) for group in groups
    }


def test_a40_a_changed_password_is_noted_and_not_shown(console: Client) -> None:
    user: Any = make_user("alice")
    body = {"usable_password": "true", "password1": "new-pass-4711", "password2": "new-pass-4711"}
    console.post(f"/admin/auth/user/{user.pk}/password/", body)
    assert User.objects.get(pk=user.pk).check_password("new-pass-4711")
    assert actions() == [("admin", "admin.changed", "auth.user")]
    assert "4711" not in str(list(AuditEvent.objects.values()))
