from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from ops.models import AuditEvent
from registry import hooks
from registry.errors import AssetInUse
from registry.models import Asset, AssetPreview, AssetStatus, PlacementRule
from tests.factories import make_user

pytestmark = pytest.mark.django_db

Register = Callable[..., Asset]


@pytest.fixture
def console(admin_user: User) -> Client:
    client = Client()
    client.force_login(admin_user)
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:registry_{name}", args=args)


def act(console: Client, action: str, *assets: Asset, **more: Any) -> str:
    response = console.post(
        url("asset_changelist"),
        {"action": action, "_selected_action": [asset.pk for asset in assets], **more},
        follow=True,
    )
    assert response.status_code == 200
    return response.content.decode()


def test_every_page_of_the_console_opens(console: Client, register: Register) -> None:
    asset = register()
    preview = AssetPreview.objects.create(
        asset=asset, source_url="https://x/1", status="ready", file_name="a.webp"
    )
    rule = PlacementRule.objects.all()[0]
    pages = [
        url("asset_changelist"),
        url("asset_changelist") + "?status__exact=active&q=model",
        url("asset_change", asset.pk),
        url("asset_delete", asset.pk),
        url("placementrule_changelist"),
        url("placementrule_change", rule.pk),
        url("placementrule_add"),
        url("placementrule_preview"),
        url("root_changelist"),
        url("root_change", asset.root_id),
        url("assetpreview_changelist"),
        url("assetpreview_change", preview.pk),
    ]
    for page in pages:
        assert console.get(page).status_code == 200, page


def test_rules_are_added_edited_in_the_list_and_deleted(console: Client) -> None:
    PlacementRule.objects.exclude(model_type="vae").delete()
    rule = PlacementRule.objects.get()
    values = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": rule.pk,
        "form-0-base_model": "SDXL",
        "form-0-target_directory": "vae//sdxl",
        "form-0-priority": 7,
        "_save": "Save",
    }
    response = console.post(url("placementrule_changelist"), values)
    assert response.status_code == 302, response.content.decode()
    rule.refresh_from_db()
    assert rule.target_directory == "/models/vae/sdxl/"
    assert (rule.base_model, rule.priority, rule.is_active) == ("SDXL", 7, False)
    added = {
        "model_type": "lora",
        "base_model": "",
        "target_directory": "/models/new/",
        "priority": 0,
        "is_active": "on",
    }
    assert console.post(url("placementrule_add"), added).status_code == 302
    new = PlacementRule.objects.get(model_type="lora")
    assert new.base_model is None
    console.post(url("placementrule_delete", new.pk), {"post": "yes"})
    assert not PlacementRule.objects.filter(pk=new.pk).exists()
    assert AuditEvent.objects.filter(object_type="registry.placementrule").count() >= 3


@pytest.mark.parametrize("target", ["/etc", "/models/../x", "a\\b", "/models/{x}", ""])
def test_a_bad_directory_is_said_beside_the_field(console: Client, target: str) -> None:
    values = {"model_type": "lora", "target_directory": target, "priority": 0}
    response = console.post(url("placementrule_add"), values)
    assert response.status_code == 200
    assert response.context["adminform"].form.errors["target_directory"]


def test_rules_are_switched(console: Client) -> None:
    rule = PlacementRule.objects.all()[0]
    for action, expected in (("switch_off", False), ("switch_on", True)):
        console.post(
            url("placementrule_changelist"), {"action": action, "_selected_action": [rule.pk]}
        )
        rule.refresh_from_db()
        assert rule.is_active is expected


def test_the_preview_names_the_rule(console: Client) -> None:
    page = console.get(
        url("placementrule_preview"),
        {"model_type": "lora", "base_model": "Pony", "file_name": "x.safetensors"},
    ).content.decode()
    assert "/models/loras/sdxl/x.safetensors" in page
    assert "base model family SDXL" in page


def test_asset_commands(console: Client, register: Register) -> None:
    good = register()
    flagged = register(
        b"other",
        file_name="y.safetensors",
        verification="mismatch",
        expected_sha256="ab" * 32,
        quarantine_path="q",
    )
    act(console, "verify_again", good)
    good.refresh_from_db()
    assert good.verify_requested_at is not None
    assert "does not come from" in act(console, "refresh_metadata", good)
    assert "Say why" in act(console, "accept_flagged", flagged)
    page = act(console, "accept_flagged", flagged, good, reason="Checked by hand.")
    assert "Done for 1" in page
    assert "Only a flagged asset" in page
    flagged.refresh_from_db()
    assert flagged.status == AssetStatus.ACTIVE


def test_an_asset_is_edited_by_its_service(console: Client, register: Register) -> None:
    asset = register()
    values = {
        "name": "Better",
        "asset_type": "lora",
        "base_model": "Pony",
        "trigger_words": '["a", "a"]',
        "description": "<script>x</script>",
        "tags": "[]",
        **{
            f"{prefix}-{name}": 0
            for prefix in ("previews", "companions")
            for name in ("TOTAL_FORMS", "INITIAL_FORMS")
        },
    }
    page = url("asset_change", asset.pk)
    assert console.post(page, values).status_code == 302
    asset.refresh_from_db()
    assert (asset.name, asset.base_model_family) == ("Better", "SDXL")
    assert asset.trigger_words == ["a"]
    assert asset.description == ""
    assert "name" in asset.edited_fields
    refused = console.post(page, {**values, "trigger_words": '{"a": 1}'})
    assert refused.context["adminform"].form.errors["trigger_words"]


def test_deleting_in_the_console_moves_the_file(console: Client, register: Register) -> None:
    first, second = register(b"1"), register(b"2", file_name="y.safetensors")
    console.post(url("asset_delete", first.pk), {"post": "yes"})
    act(console, "delete_selected", second, post="yes")
    assert not Asset.objects.exists()
    assert AuditEvent.objects.filter(action="asset.deleted").count() == 2


def test_an_asset_in_use_is_not_deleted_and_said(console: Client, register: Register) -> None:
    def refuse(asset: Asset) -> None:
        raise AssetInUse("A worker copies it now.")

    asset = register()
    hooks.before_delete(refuse)
    try:
        response = console.post(url("asset_delete", asset.pk), {"post": "yes"}, follow=True)
        page = act(console, "delete_selected", asset, post="yes")
    finally:
        hooks.forget(refuse)
    assert "A worker copies it now." in response.content.decode()
    assert "A worker copies it now." in page
    assert Asset.objects.filter(pk=asset.pk, status=AssetStatus.ACTIVE).exists()


def test_staff_without_rights_sees_nothing(register: Register) -> None:
    client = Client()
    client.force_login(make_user("staff", is_staff=True))
    for page in (url("asset_changelist"), url("placementrule_preview"), url("root_changelist")):
        assert client.get(page).status_code == 403
