"""The preview of a link and what it offers, against the origin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from downloads import cards
from downloads.models import Download
from registry import services as registry_services
from registry.models import Asset
from tests.factories import make_asset
from tests.origin import Origin
from tokens.models import ApiToken

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


def look_up(visitor: Client, url: str, **form: Any) -> str:
    response = visitor.post(reverse("downloads:resolve"), {"url": url, **form}, **HTMX)
    assert response.status_code == 200
    return str(response.content.decode())


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_card_says_what_would_come_and_where_it_goes(visitor: Client, wired: Origin) -> None:
    html = look_up(visitor, wired.links.checkpoint)
    for fact in (
        "Made: checkpoint",
        "v1.0",
        "Checkpoint",
        "SDXL 1.0",
        "fp16",
        "made_creator",
        "SHA-256 published",
        "made style",
        "/models/checkpoints/sdxl/madeCheckpoint_v10.safetensors",
        "priority",
        "commercial use",
    ):
        assert fact in words(html), fact
    assert "/api/previews?token=" in html
    assert wired.civitai_url not in re.findall(r'src="([^"]*)"', html)


def test_a_link_becomes_a_row_without_a_script(visitor: Client, wired: Origin) -> None:
    page = visitor.post(reverse("downloads:resolve"), {"url": wired.links.direct})
    assert "data-start" in page.content.decode()
    answer = visitor.post(reverse("downloads:add"), {"url": wired.links.direct, "review": "yes"})
    assert answer.headers["Location"] == "/"
    row = Download.objects.get()
    assert (row.review, row.status) == (True, "queued")
    assert "is on its way" in visitor.get("/").content.decode()


def test_several_lines_make_several_cards(visitor: Client, wired: Origin) -> None:
    html = look_up(visitor, f"{wired.links.direct}\r\n\r\n{wired.links.checkpoint}\nnonsense\n")
    assert html.count("<article") == 3
    assert "reference_not_understood" in html


def test_started_from_a_card_the_queue_is_told(visitor: Client, wired: Origin) -> None:
    answer = visitor.post(reverse("downloads:add"), {"url": wired.links.direct}, **HTMX)
    assert answer.content == b""
    assert "queue-changed" in answer.headers["HX-Trigger"]


def test_only_what_differs_from_the_source_is_an_edit(visitor: Client, wired: Origin) -> None:
    form = {
        "url": wired.links.checkpoint,
        "model_name": "My own name",
        "was_model_name": "Made: checkpoint",
        "model_type": "lora",
        "was_model_type": "checkpoint",
        "base_model": "SDXL 1.0",
        "was_base_model": "SDXL 1.0",
        "folder": "mine/own",
    }
    html = look_up(visitor, form.pop("url"), **form)
    assert "/models/mine/own/" in html
    assert 'value="My own name"' in html
    visitor.post(reverse("downloads:add"), {"url": wired.links.checkpoint, **form}, **HTMX)
    row = Download.objects.get()
    assert (row.model_name, row.model_type, row.target_folder) == (
        "My own name",
        "lora",
        "mine/own",
    )


def test_a_folder_outside_is_refused_beside_the_card(visitor: Client, wired: Origin) -> None:
    form = {"url": wired.links.checkpoint, "folder": "../../etc"}
    answer = visitor.post(reverse("downloads:add"), form, **HTMX)
    assert answer.status_code == 400
    assert "folder" in words(answer.content.decode())
    assert not Download.objects.exists()


def test_a_missing_token_is_asked_for_right_there(
    visitor: Client, creator: User, wired: Origin
) -> None:
    url = wired.links.lora_with_token
    html = look_up(visitor, url)
    assert 'type="password"' in html
    assert "data-start" not in html
    form = {"url": url, "service": "civitai", "token": "wrong-token-wrong"}
    refused = visitor.post(reverse("downloads:link_token"), form, **HTMX).content.decode()
    assert "refuses this token" in refused
    assert "wrong-token-wrong" not in refused
    form["token"] = wired.civitai.token
    answer = visitor.post(reverse("downloads:link_token"), form, **HTMX).content.decode()
    assert "data-start" in answer
    assert wired.civitai.token not in answer
    assert ApiToken.objects.get().user == creator


def test_early_access_can_start_by_itself(visitor: Client, wired: Origin) -> None:
    assert "Start by itself then" in look_up(visitor, wired.links.early_access)
    visitor.post(reverse("downloads:add"), {"url": wired.links.early_access}, **HTMX)
    assert Download.objects.get().status == "parked"
    assert "starts by itself" in visitor.get("/").content.decode()


def test_files_can_be_chosen(visitor: Client, wired: Origin) -> None:
    html = look_up(visitor, wired.links.bundle)
    offered = re.findall(r'name="files"\s+value="([^"]+)"', html)
    assert len(offered) == 3
    assert "in 3 files" in words(html)
    one = look_up(visitor, wired.links.bundle, files=offered[:1])
    assert "in 3 files" not in words(one)
    visitor.post(
        reverse("downloads:add"), {"url": wired.links.bundle, "files": offered[:1]}, **HTMX
    )
    assert not Download.objects.get().is_bundle


@pytest.fixture
def here(wired: Origin, visitor: Client) -> Asset:
    visitor.post(reverse("downloads:add"), {"url": wired.links.checkpoint}, **HTMX)
    row = Download.objects.get()
    sha256 = row.expected_hash
    row.delete()
    return make_asset("The one that is here", checksum_sha256=sha256, asset_type="checkpoint")


def test_what_is_here_already_offers_four_ways(visitor: Client, wired: Origin, here: Asset) -> None:
    html = look_up(visitor, wired.links.checkpoint)
    assert "Already here" in html
    assert reverse("asset", args=[here.pk]) in html
    assert re.findall(r'name="on_duplicate"\s+value="(\w+)"', html) == [
        "link",
        "overwrite",
        "keep",
        "skip",
    ]


@pytest.mark.parametrize(
    ("choice", "status"),
    [("link", "completed"), ("skip", "cancelled"), ("keep", "queued"), ("overwrite", "queued")],
)
def test_each_way_does_what_it_says(
    visitor: Client, wired: Origin, here: Asset, choice: str, status: str
) -> None:
    form = {"url": wired.links.checkpoint, "on_duplicate": choice}
    visitor.post(reverse("downloads:add"), form, **HTMX)
    row = Download.objects.get()
    assert (row.status, row.on_duplicate) == (status, choice)


def test_a_source_that_is_down_can_be_asked_again(visitor: Client, settings: Any) -> None:
    settings.CIVITAI_ENDPOINT = "http://127.0.0.1:1"
    html = look_up(visitor, "https://civitai.com/models/1")
    assert "source_unavailable" in html
    assert "Try again" in html


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "http://127.0.0.1:1/x.safetensors",
        "http://[::1]/x",
        "file:///etc/passwd",
        '"><script>alert(1)</script>',
        "https://civitai.com/images/1",
        "\u202e\u0000 \ufeff",
        "x" * 5000,
    ],
)
def test_a_hostile_link_is_refused_in_words(visitor: Client, link: str) -> None:
    response = visitor.post(reverse("downloads:resolve"), {"url": link}, **HTMX)
    assert response.status_code in {200, 400}
    html = response.content.decode()
    assert "<script>" not in html
    assert 'href="javascript:' not in html
    assert "data-start" not in html


def test_how_much_room_is_missing_is_said(tmp_path: Any) -> None:
    assert cards._missing_space(tmp_path, 10) == ""
    assert cards._missing_space(tmp_path, None) == ""
    assert cards._missing_space(tmp_path, 10**18).endswith("PB")


def test_a_description_of_a_stranger_is_harmless(visitor: Client, wired: Origin) -> None:
    html = look_up(visitor, f"{wired.civitai_url}/models/5414?modelVersionId=6297")
    prose = html[html.index('class="prose"') :]
    assert "<p>" in prose
    assert re.search(r"<(script|img|iframe|style|form)\b", prose.split("</details>")[0]) is None


def test_the_reason_of_the_rule_is_the_registrys(visitor: Client, wired: Origin) -> None:
    reason = registry_services.preview_placement(
        model_type="checkpoint", base_model="SDXL 1.0", file_name="x.safetensors"
    ).reason
    assert reason in words(look_up(visitor, wired.links.checkpoint))


def test_an_edit_is_still_an_edit_after_the_card_was_made_again(
    visitor: Client, wired: Origin
) -> None:
    form = {"model_type": "lora", "was_model_type": "checkpoint"}
    html = look_up(visitor, wired.links.checkpoint, **form)
    assert re.search(r'name="was_model_type"\s+value="checkpoint"', html)
    assert re.search(r'value="lora"\s+selected', html)


def test_what_nobody_changed_is_no_edit(visitor: Client, wired: Origin) -> None:
    html = look_up(visitor, wired.links.hub_snapshot)
    was = re.search(r'name="was_model_type"\s+value="(\w+)"', html)
    shown = re.search(r'<option value="(\w+)"\s+selected', html)
    assert was is not None
    assert shown is not None
    assert was[1] == shown[1]
