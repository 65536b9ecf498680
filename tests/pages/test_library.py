from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from ops import audit
from registry.models import Asset, PlacementRule
from tests.factories import make_asset

pytestmark = pytest.mark.django_db


def text_of(response: Any) -> str:
    return str(response.content.decode())


@pytest.fixture
def keeper(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def test_the_list_filters_and_orders(visitor: Client) -> None:
    make_asset("Ink Wash", asset_type="lora", base_model_family="SDXL", file_size_bytes=5)
    make_asset("Big One", asset_type="checkpoint", base_model_family="Flux", file_size_bytes=9)
    make_asset("Gone", asset_type="lora", base_model_family="SDXL", status="missing")

    def names(query: str) -> list[str]:
        page = text_of(visitor.get(f"/library?{query}"))
        return re.findall(r'class="cell-name">\s*<a href="[^"]+">([^<]+)<', page)

    assert names("") == ["Gone", "Big One", "Ink Wash"]
    assert names("order=size")[1:] == ["Big One", "Ink Wash"]
    assert names("type=checkpoint") == ["Big One"]
    assert names("family=SDXL&status=missing") == ["Gone"]
    assert names("q=ink") == ["Ink Wash"]
    assert names(f"q={Asset.objects.get(name='Big One').checksum_sha256[:12]}") == ["Big One"]
    assert names("q=nothing-like-it&page=99&order=sideways") == []
    assert "Ink Wash" in text_of(visitor.get("/library?view=grid"))


def test_the_list_costs_no_query_per_row(
    visitor: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(20):
        make_asset()
    with django_assert_max_num_queries(10):
        visitor.get("/library")


def test_one_page_says_everything_of_an_asset(visitor: Client) -> None:
    asset = make_asset(
        "Ink Wash",
        trigger_words=["sumi-e"],
        blake3="b" * 64,
        creator="somebody",
        licence={"name": "OpenRAIL", "commercial_use": ["None"], "credit_required": True},
        safety="harmless_pickle",
        warnings=["The header says SD 1.5."],
    )
    page = text_of(visitor.get(reverse("asset", args=[asset.pk])))
    for fact in (
        asset.virtual_path,
        asset.checksum_sha256,
        "b" * 64,
        "sumi-e",
        "somebody",
        "OpenRAIL",
        "pickle, harmless",
        "The header says SD 1.5.",
        "verified",
    ):
        assert fact in page, fact
    assert "Delete" not in page
    assert "History" not in page


@pytest.mark.parametrize("command", ["verify", "refresh", "pictures", "accept", "edit"])
def test_only_who_may_change_assets_changes_them(visitor: Client, command: str) -> None:
    asset = make_asset(status="flagged")
    assert visitor.post(reverse("asset-command", args=[asset.pk, command])).status_code == 403
    assert visitor.post(reverse("asset-delete", args=[asset.pk])).status_code == 403
    asset.refresh_from_db()
    assert asset.status == "flagged"


def test_an_edit_is_kept_and_stands_in_the_history(keeper: Client) -> None:
    asset = make_asset("Old name", trigger_words=["old"])
    form = {
        "name": "New name",
        "asset_type": "vae",
        "base_model": "SD 1.5",
        "trigger_words": "one\r\n two \r\n\r\n",
        "tags": "a",
    }
    url = reverse("asset-command", args=[asset.pk, "edit"])
    page = text_of(keeper.post(url, form, follow=True))
    asset.refresh_from_db()
    assert (asset.name, asset.asset_type, asset.trigger_words) == (
        "New name",
        "vae",
        ["one", "two"],
    )
    assert "asset.edited" in page
    assert keeper.post(url, {"name": " "}).status_code == 400
    assert keeper.post(url, {"asset_type": "sculpture"}).status_code == 400
    assert keeper.post(reverse("asset-command", args=[asset.pk, "explode"])).status_code == 404


def test_accepting_needs_a_flag_and_a_reason(keeper: Client) -> None:
    asset = make_asset()
    url = reverse("asset-command", args=[asset.pk, "accept"])
    assert "Say why" in text_of(keeper.post(url, {"reason": " "}))
    assert "Only a flagged asset" in text_of(keeper.post(url, {"reason": "I know it"}))


def test_a_refusal_stands_on_the_page(keeper: Client) -> None:
    asset = make_asset(source_type="direct")
    answer = keeper.post(reverse("asset-command", args=[asset.pk, "refresh"]))
    assert answer.status_code == 409
    assert "no metadata to fetch" in text_of(answer)


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{% now 'Y' %}"]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_strangers_are_text(keeper: Client, text: str) -> None:
    asset = make_asset(
        text,
        relative_path=f"loras/{text}",
        version_name=text,
        creator=text,
        flag_reason=text,
        status="flagged",
        trigger_words=[text],
        tags=[text],
        description=f"<p onclick='x()'>hello</p>{text}<a href='javascript:x()'>there</a>",
        source_url="https://example.org/",
        licence={"name": text},
        warnings=[text],
        metadata={"source_metadata": {"versions": [{"name": text}, {"name": text}, "odd"]}},
    )
    audit.record("asset.edited", target=asset, reason=text)
    for path in ("/library", "/library?view=grid", reverse("asset", args=[asset.pk])):
        page = text_of(keeper.get(path))
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "javascript:" not in page
        assert "onclick" not in page


def test_rules_are_added_changed_switched_and_deleted(keeper: Client) -> None:
    PlacementRule.objects.all().delete()
    form = {"model_type": "lora", "base_model": "", "target_directory": "loras/x", "priority": "3"}
    keeper.post(reverse("rule-create"), form | {"is_active": "yes"})
    rule = PlacementRule.objects.get()
    assert (rule.target_directory, rule.base_model, rule.priority) == ("/models/loras/x/", None, 3)
    keeper.post(reverse("rule-change", args=[rule.pk, "toggle"]))
    rule.refresh_from_db()
    assert not rule.is_active
    keeper.post(reverse("rule-change", args=[rule.pk, "edit"]), form | {"base_model": "Flux"})
    rule.refresh_from_db()
    assert rule.base_model == "Flux"
    keeper.post(reverse("rule-change", args=[rule.pk, "delete"]))
    assert not PlacementRule.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_directory", "../../etc"),
        ("target_directory", "/etc/cron.d"),
        ("target_directory", "{settings.SECRET_KEY}"),
        ("target_directory", ""),
        ("model_type", "sculpture"),
        ("priority", "many"),
        ("priority", "9" * 30),
        ("base_model", "a\0b"),
    ],
)
def test_a_bad_rule_is_refused(keeper: Client, field: str, value: str) -> None:
    before = PlacementRule.objects.count()
    form = {"model_type": "lora", "base_model": "", "target_directory": "loras", "priority": "0"}
    answer = keeper.post(reverse("rule-create"), form | {field: value})
    assert answer.status_code == 400
    assert PlacementRule.objects.count() == before


def test_the_box_says_where_something_would_go(keeper: Client) -> None:
    answer = keeper.get(
        reverse("placement-where"),
        {"model_type": "lora", "base_model": "Pony", "file_name": "x.safetensors"},
    )
    assert "/models/loras/sdxl/x.safetensors" in text_of(answer)
    bad = keeper.get(reverse("placement-where"), {"model_type": "<script>"})
    assert bad.status_code == 200
    assert "<script>" not in text_of(bad)


def test_the_rules_are_for_admins(visitor: Client) -> None:
    for url in (reverse("placement"), reverse("placement-where")):
        assert visitor.get(url).status_code == 403
    assert visitor.post(reverse("rule-create")).status_code == 403
    assert "Placement rules" not in text_of(visitor.get(reverse("settings")))


def test_deleting_says_why_it_cannot(keeper: Client, settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path
    asset = make_asset()
    answer = keeper.post(reverse("asset-delete", args=[asset.pk]))
    assert answer.status_code == 503
    assert "not there" in text_of(answer)
    assert Asset.objects.filter(pk=asset.pk).exists()
