from __future__ import annotations

import io
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from ops.models import AuditEvent
from tests.canaries import canary
from tests.tokens.conftest import Services
from tokens import checks, crypto, rotation, services
from tokens.models import ApiToken

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

NEW = b"n" * 32
SECOND, NEWER = canary("civitai-second"), canary("civitai-newer")


def run(*command: str) -> str:
    out = io.StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


# --- create_api_key ---------------------------------------------------------------------------------


def test_create_api_key_prints_the_key_and_nothing_else() -> None:
    printed = run("create_api_key", "carol")
    assert printed.count("\n") == 1
    answer = APIClient().get(
        "/api/user/api-keys", headers={"Authorization": f"Bearer {printed.strip()}"}
    )
    assert answer.status_code == 200


def test_the_user_is_made_without_a_password_and_may_request() -> None:
    run("create_api_key", "carol")
    carol = User.objects.get(username="carol")
    assert not carol.has_usable_password()
    assert not carol.is_staff
    assert not carol.is_superuser
    assert carol.has_perm("downloads.request_content")
    assert [group.name for group in carol.groups.all()] == ["creator"]


def test_an_existing_user_keeps_what_they_are(user: Any) -> None:
    run("create_api_key", "alice")
    assert User.objects.count() == 1
    user.refresh_from_db()
    assert user.check_password("secret-pass-1")
    assert user.api_keys.count() == 1


def test_admin_makes_an_admin() -> None:
    run("create_api_key", "root", "--admin")
    root = User.objects.get(username="root")
    assert root.is_staff
    assert root.is_superuser
    assert {group.name for group in root.groups.all()} == {"creator", "admin"}
    assert AuditEvent.objects.filter(action="user.made_admin").exists()


@pytest.mark.parametrize("name", ["", "two words", "x" * 151, "new\nline"])
def test_a_name_that_no_user_may_have_is_refused(name: str) -> None:
    with pytest.raises(CommandError):
        run("create_api_key", name)
    assert not User.objects.exists()


def test_no_key_for_an_inactive_user(user: Any) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(CommandError):
        run("create_api_key", "alice")


# --- Groups -----------------------------------------------------------------------------------------


def permissions_of(name: str) -> set[str]:
    rows = Group.objects.get(name=name).permissions.select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def test_migrate_makes_the_groups_with_their_rights() -> None:
    assert permissions_of("creator") == {"downloads.request_content"}
    assert "ops.view_analytics" in permissions_of("operator")
    assert "ops.run_job" not in permissions_of("operator")
    assert permissions_of("admin") >= {
        "downloads.request_content", "ops.view_analytics", "ops.run_job", "registry.change_asset",
        "registry.add_placementrule", "registry.change_placementrule",
        "registry.delete_placementrule",
    }  # fmt: skip


def test_migrating_again_leaves_changed_groups_alone() -> None:
    Group.objects.get(name="creator").permissions.clear()
    Group.objects.get(name="operator").delete()
    call_command("migrate", verbosity=0)
    assert permissions_of("creator") == set()
    assert "ops.view_analytics" in permissions_of("operator")


# --- rotate_token_key, and the check ----------------------------------------------------------------


@pytest.fixture
def rows(user: Any, other: Any, known: Services, token: str) -> list[ApiToken]:
    known.accounts[SECOND] = "bob"
    return [
        services.save_token(user=user, service_name="civitai", token=token),
        services.save_token(user=other, service_name="civitai", token=SECOND),
    ]


def check() -> list[str | None]:
    return [message.id for message in checks.check_keys(databases=["default"])]


def test_rotation_reencrypts_and_the_old_key_can_go(
    user: Any, rows: list[ApiToken], token: str, settings: Any
) -> None:
    old = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = (NEW, *old)
    assert "2 encrypted again, 0 were already" in run("rotate_token_key")
    settings.ENCRYPTION_KEYS = (NEW,)
    assert check() == []
    credential = services.credential_for(user=user, service_name="civitai")
    assert credential is not None
    assert credential.secret == token
    assert set(ApiToken.objects.values_list("key_id", flat=True)) == {crypto.id_of(NEW)}
    assert "0 encrypted again, 2 were already" in run("rotate_token_key")


def test_a_dry_run_writes_nothing(rows: list[ApiToken], settings: Any) -> None:
    before = list(ApiToken.objects.values("key_id", "encrypted_token").order_by("pk"))
    settings.ENCRYPTION_KEYS = (NEW, *settings.ENCRYPTION_KEYS)
    assert "2 would be encrypted again" in run("rotate_token_key", "--dry-run")
    after = list(ApiToken.objects.values("key_id", "encrypted_token").order_by("pk"))
    assert [bytes(r["encrypted_token"]) for r in before] == [
        bytes(r["encrypted_token"]) for r in after
    ]


def test_a_half_done_rotation_works_in_between_and_can_be_finished(
    user: Any, other: Any, rows: list[ApiToken], settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = (NEW, *settings.ENCRYPTION_KEYS)
    column = crypto.columns["tokens.ApiToken", "encrypted_token"]
    report = rotation.RotationReport()
    first = ApiToken._base_manager.order_by("pk").first()
    assert first is not None
    rotation._rotate_row(first, column, crypto.default_ring(), report, dry_run=False)
    for owner in (user, other):
        assert services.credential_for(user=owner, service_name="civitai") is not None
    assert "1 encrypted again, 1 were already" in run("rotate_token_key")


def test_a_token_that_is_saved_during_the_rotation_wins(
    user: Any, rows: list[ApiToken], known: Services, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = (NEW, *settings.ENCRYPTION_KEYS)
    stale = ApiToken._base_manager.get(pk=rows[0].pk)
    known.accounts[NEWER] = "alice"
    services.save_token(user=user, service_name="civitai", token=NEWER)
    column = crypto.columns["tokens.ApiToken", "encrypted_token"]
    rotation._rotate_row(
        stale, column, crypto.default_ring(), rotation.RotationReport(), dry_run=False
    )
    credential = services.credential_for(user=user, service_name="civitai")
    assert credential is not None
    assert credential.secret == NEWER


def test_a_row_that_no_key_opens_is_named_and_the_others_are_done(
    rows: list[ApiToken], settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = (NEW, *settings.ENCRYPTION_KEYS)
    blob = bytes(ApiToken._base_manager.get(pk=rows[0].pk).encrypted_token)
    ApiToken.objects.filter(pk=rows[0].pk).update(encrypted_token=blob[:-1] + b"\0")
    with pytest.raises(CommandError, match=f"tokens.ApiToken {rows[0].pk}"):
        run("rotate_token_key")
    assert ApiToken.objects.get(pk=rows[1].pk).key_id == crypto.id_of(NEW)


def test_a_missing_key_is_named_at_start(rows: list[ApiToken], settings: Any) -> None:
    missing = crypto.default_ring().newest_id
    settings.ENCRYPTION_KEYS = (NEW,)
    (message,) = checks.check_keys(databases=["default"])
    assert message.id == "tokens.E001"
    assert missing in message.msg
    assert check() == ["tokens.E001"]
    with pytest.raises(CommandError):
        call_command("check", databases=["default"])
    assert APIClient().get("/healthz").json()["checks"]["encryption_keys"] == "fail"


def test_other_columns_join_the_rotation(user: Any, settings: Any, monkeypatch: Any) -> None:
    """A second model stands for the columns of other packages: any BinaryField will do."""
    model = apps.get_model("tokens.ApiToken")
    blob = services.seal_text("https://example.com/?token=1", context="row")
    row = model._base_manager.create(
        user=user, service_name="civitai", encrypted_token=blob, key_id=""
    )
    entry = crypto.EncryptedColumn("tokens.ApiToken", "encrypted_token", lambda _row: "row")
    monkeypatch.setattr(crypto, "columns", {("tokens.ApiToken", "encrypted_token"): entry})
    settings.ENCRYPTION_KEYS = (NEW, *settings.ENCRYPTION_KEYS)
    assert rotation.rotate().rotated == 1
    settings.ENCRYPTION_KEYS = (NEW,)
    again = bytes(model._base_manager.get(pk=row.pk).encrypted_token)
    assert services.open_text(again, context="row") == "https://example.com/?token=1"
