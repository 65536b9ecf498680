"""A30, A36, A37: texts of strangers in pages, consoles, terminals and logs, and files we serve."""

from __future__ import annotations

import html
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from rich.console import Console

from config.logging import configure
from config.middleware import POLICY
from downloads.management.commands.pull import Command
from registry.models import AssetPreview
from registry.previews import signed_preview_url
from tests.factories import make_admin
from tests.hostile.doors import Doors
from tests.hostile.markup import active_markup
from tests.hostile.stage import LORA, Stage, answer_json, served
from tests.origin import files
from tests.product import ROOT

#: One text that breaks out of attributes, elements, scripts, templates, terminals and lines.
PARTS = [
    "\"'><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src=//evil.example></iframe>",
    "<a href='javascript:alert(1)'>click</a>",
    "<a href='&#106;avascript:alert(1)'>click</a>",
    "<math><mtext><style><img src=x onerror=alert(1)>",
    "</textarea></title></script><script>alert(1)</script>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<form action=//evil.example><input name=password>",
    "{{ 7*7 }}{% debug %}${7*7}#{7*7}",
    "' onmouseover='alert(1)",
    "[red]markup[/red]",
    "\x1b]0;title\x07\x1b[2J",
    '\r\n{"level": "info", "event": "forged"}',
]
PAYLOAD = " ".join(PARTS)


@pytest.fixture
def poisoned(wired: Stage) -> list[str]:
    """Links whose sources say it in every text field there is."""
    texts = dict.fromkeys(("name", "description", "mode", "availability"), PAYLOAD)
    version = dict.fromkeys(
        ("name", "baseModel", "baseModelType", "description", "status"), PAYLOAD
    )
    file = {
        "name": PAYLOAD + ".safetensors",
        "pickleScanMessage": PAYLOAD,
        "virusScanMessage": PAYLOAD,
        "pickleScanResult": PAYLOAD,
        "metadata": {"format": "SafeTensor", "fp": PAYLOAD, "size": PAYLOAD},
    }
    body = files.safetensors(
        "poisoned",
        {"lora_unet_x.lora_down.weight": ("F16", [2, 320])},
        {"modelspec.title": PAYLOAD, "modelspec.author": PAYLOAD, "ss_output_name": PAYLOAD,
         "modelspec.trigger_phrase": PAYLOAD, "modelspec.description": PAYLOAD},
    )  # fmt: skip
    civitai = wired.civitai(
        1,
        body,
        model=texts | {"tags": PARTS, "creator": {"username": PAYLOAD}, "allowCommercialUse": PARTS},
        version=version | {
            "trainedWords": PARTS,
            "images": [{"url": f"https://evil.example/{PAYLOAD}", "type": "image", "hash": PAYLOAD}],
        },
        file=file,
    )  # fmt: skip
    readme = f"# {PAYLOAD}\n\n{PAYLOAD}\n".encode()
    card = dict.fromkeys(("license", "license_name", "license_link", "base_model", "instance_prompt",
                          "language"), PAYLOAD)  # fmt: skip
    hub = wired.hub(
        "made/poisoned",
        {"x_lora.safetensors": LORA, "README.md": readme},
        {"cardData": card, "author": PAYLOAD, "tags": PARTS, "pipeline_tag": PAYLOAD,
         "library_name": PAYLOAD},
    )  # fmt: skip
    disposition = "attachment; filename*=UTF-8''" + "".join(
        f"%{byte:02x}" for byte in f"{PAYLOAD[:200]}.safetensors".encode()
    )
    link = wired.file(
        "/get",
        served(body, content_disposition=disposition, content_type="x/y"),
    )
    return [civitai, hub, link]


def assert_harmless_page(answer: Any, where: str) -> None:
    assert answer.status_code == 200, (where, answer.content[:300])
    page = answer.content.decode()
    assert active_markup(page) == [], where
    policy = answer.headers["Content-Security-Policy"]
    assert policy == POLICY
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    if "7*7" in page:
        assert "{{ 7*7 }}" in html.unescape(page), where


def test_a36_the_preview_of_a_link_holds_no_active_markup(
    doors: Doors, poisoned: list[str]
) -> None:
    for url in poisoned:
        assert doors.post("/resolve", url=url).status_code == 200, url
        assert_harmless_page(
            doors.page.post("/downloads/resolve", {"url": url}, headers={"HX-Request": "true"}), url
        )
        assert_harmless_page(doors.page.post("/downloads/resolve", {"url": url}), url)
        assert doors.post("", url=url).status_code == 202
    for address in ("/", "/downloads/queue"):
        assert_harmless_page(doors.page.get(address), address)


@pytest.mark.parametrize(
    "text", [pytest.param(part, id=f"A36-link-{n}") for n, part in enumerate(PARTS)]
)
def test_a_link_that_is_markup_is_shown_as_text(doors: Doors, text: str) -> None:
    for link in (text, f"https://huggingface.co/{text}"):
        assert_harmless_page(doors.page.post("/downloads/resolve", {"url": link}), link)
    assert_harmless_page(doors.page.get("/", {"link": text}), text)


def test_a36_asset_pages_and_the_console_hold_no_active_markup(
    puller: Doors, poisoned: list[str]
) -> None:
    admin = make_admin('<script>alert("admin")</script>')
    console = Client()
    console.force_login(admin)
    assets = []
    for url in poisoned:
        pulled = puller.pull(
            url, model_name=PAYLOAD.partition("\x1b")[0][:300], model_type="lora", base_model="<b>x"
        )
        assert pulled.exit_code in {0, 6}, pulled
        assets.append(pulled.values["asset_id"])
        for path in (f"/api/downloads/{pulled.values['id']}", f"/api/assets/{assets[-1]}"):
            answer = puller.api.get(path)
            assert answer.headers["Content-Type"].startswith("application/json")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        said = puller.api.get(f"/api/assets/{assets[-1]}").data
        assert not re.search(
            r"<script|<iframe|javascript:|onerror", said["description"], re.IGNORECASE
        )
    for pk in assets:
        assert_harmless_page(console.get(f"/library/{pk}"), f"asset {pk}")
    for address in ("/library", "/", "/settings/placement", "/settings"):
        assert_harmless_page(console.get(address), address)
    for model in (
        "downloads_download",
        "registry_asset",
        "registry_assetpreview",
        "ops_auditevent",
        "auth_user",
    ):
        listing = console.get(
            reverse(f"admin:{model}_changelist"),
            {"q": PAYLOAD[:50]} if model == "auth_user" else {},
        )
        assert_harmless_page(listing, model)
    for model, pk in (("registry_asset", assets[0]), ("auth_user", admin.pk)):
        assert_harmless_page(console.get(reverse(f"admin:{model}_change", args=[pk])), model)


def test_a36_names_of_people_and_rules_are_text(doors: Doors, wired: Stage) -> None:
    admin = make_admin("<img src=x onerror=alert(1)>")
    client = Client()
    client.force_login(admin)
    for address in ("/", "/settings", "/library", reverse("admin:index")):
        assert_harmless_page(client.get(address), address)
    answer = client.post("/settings/placement/rules", {"model_type": "lora", "base_model": PAYLOAD[:90], "target_directory": PAYLOAD[:200], "priority": 1})  # fmt: skip
    assert answer.status_code == 400
    assert active_markup(answer.content.decode()) == []


@pytest.mark.parametrize("status", [pytest.param(s, id=f"A36-error-page-{s}") for s in (400, 404)])
def test_pages_of_errors_hold_no_text_of_the_address(doors: Doors, status: int) -> None:
    path = {404: "/library/<script>alert(1)</script>", 400: "/?x=%00<script>alert(1)</script>"}[
        status
    ]
    answer = doors.page.get(path)
    assert answer.status_code == status
    assert active_markup(answer.content.decode()) == []
    assert "alert(1)" not in answer.content.decode()


# --- A30: lines and terminals -----------------------------------------------------------------------


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """The log as the product writes it."""
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    output = io.StringIO()
    configure({"level": "DEBUG"})
    (handler,) = [
        one for one in root.handlers if isinstance(one, logging.StreamHandler) and one.formatter
    ]
    handler.setStream(output)
    yield output
    root.handlers[:] = kept
    configure(django_settings.LOGGING)


def test_a30_no_text_of_a_source_makes_a_line_of_the_log(
    log_lines: io.StringIO, doors: Doors, poisoned: list[str]
) -> None:
    for url in [*poisoned, *PARTS, f"https://huggingface.co/{PARTS[-1]}"]:
        doors.post("", url=url)
    doors.page.get("/x\r\nforged", headers={"User-Agent": PARTS[-1], "X-Request-Id": PARTS[-1]})
    lines = log_lines.getvalue().splitlines()
    assert lines
    for line in lines:
        said = json.loads(line)
        assert said["event"] != "forged"
        assert not set(line) & set("\x1b\x07\r")


def test_a30_what_the_terminal_prints_has_no_command_for_it(
    doors: Doors, poisoned: list[str]
) -> None:
    output = io.StringIO()
    command = Command()
    command.console = Console(file=output, force_terminal=False, width=200)
    command.as_json = False
    for url in poisoned:
        answer = doors.post("/resolve", url=url).data
        command._say_preview(answer)
    command._say(PAYLOAD)
    assert "[red]markup[/red]" in output.getvalue()
    assert not set(output.getvalue()) & set("\x1b\x07\r")


# --- A37: what is served ----------------------------------------------------------------------------


def test_a37_pictures_are_ours_and_nothing_else(puller: Doors, wired: Stage) -> None:
    address = wired.file("/1.png", files.picture("1.png"), "stranger")
    page = wired.file(
        "/2.png", served(b"<html><script>alert(1)</script>", content_type="text/html"), "stranger"
    )
    images = [{"url": one, "type": "image"} for one in (address, page)]
    pulled = puller.pull(wired.civitai(version={"images": images}))
    preview = AssetPreview.objects.get(asset=pulled.values["asset_id"], status="ready")
    row = pulled.values["id"]
    for path in (
        f"/api/assets/{preview.asset_id}/previews/{preview.position}",
        signed_preview_url(address),
        f"/downloads/{row}/picture",
    ):
        answer = puller.page.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.content[:4] == b"RIFF"
    assert puller.page.get(signed_preview_url(page)).status_code == 404


def test_a37_no_route_serves_a_file_of_the_models_directory(
    puller: Doors, wired: Stage, models_dir: Path
) -> None:
    pulled = puller.pull(wired.civitai(name="x.html.safetensors"))
    name = Path(pulled.values["path"]).relative_to(models_dir)
    for address in (f"/models/{name}", f"/_files/{name}", f"/static/../{name}", f"/static/%2e%2e/{name}",
                    f"/api/assets/{pulled.values['asset_id']}/previews/0"):  # fmt: skip
        assert puller.page.get(address).status_code == 404, address


def test_a37_the_proxy_serves_model_files_as_nothing_to_run() -> None:
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    (block,) = re.findall(r"location /_files/ \{(.*?)\n        \}", text, re.DOTALL)
    for line in ("internal;", "types {}", "default_type application/octet-stream;",
                 "add_header X-Content-Type-Options nosniff always;", "sandbox"):  # fmt: skip
        assert line in block


def test_a36_the_description_of_a_source_keeps_its_words(doors: Doors, wired: Stage) -> None:
    text = (
        "<p>Good <strong>words</strong><script>bad()</script> <a href='https://x.org'>link</a></p>"
    )
    url = wired.civitai(model={"description": text})
    description = doors.post("/resolve", url=url).data["resolved"]["description"]
    assert "<strong>words</strong>" in description
    assert "bad()" not in description
    assert 'rel="' in description
    assert answer_json({}).status == 200
