"""Every page, in both themes, on a phone and on a desk: nothing for axe to find, nothing cut off."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import axe_playwright_python
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from downloads.states import DownloadStatus
from registry.models import Asset
from tests.browser.conftest import SignIn
from tests.factories import make_asset, make_download
from tokens.models import ApiToken
from tokens.services import create_api_key

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
LONG = "A_name_that_nobody_would_give_to_a_model_but_somebody_did_" * 3


@pytest.fixture
def asset(user: User) -> Asset:
    """Something of everything, so that each page has its parts."""
    for status in DownloadStatus:
        make_download(status, initiated_by=user, warnings=["odd"], error_code="token_required")
    make_download(DownloadStatus.FAILED, initiated_by=user, model_name=LONG, error_message=LONG)
    bundle = make_download(
        "downloading", initiated_by=user, is_bundle=True, owner="", lease_expires_at=None
    )
    make_download("queued", initiated_by=user, parent=bundle, bundle_path=f"a/{LONG}")
    make_asset("Missing one", status="missing", safety="suspicious")
    ApiToken.objects.create(
        user=user, service_name="civitai", encrypted_token=b"x", key_id="k", validity="valid"
    )
    create_api_key(user=user, name="render farm")
    flagged = make_asset(LONG, status="flagged", trigger_words=["one", LONG], blake3="b" * 64)
    make_download(DownloadStatus.COMPLETED, initiated_by=user, asset=flagged)
    return flagged


def paths(asset: Asset) -> list[str]:
    return [
        "/?open=" + str(asset.downloads.get().pk),
        "/library",
        "/library?view=grid",
        f"/library/{asset.pk}",
        "/settings",
        "/settings/placement",
        "/downloads/limits",
        "/no-such-page",
    ]


def findings(page: Page) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


#: What reaches beyond the right edge, for the message of a failure.
BEYOND = """(() => {
    const width = document.documentElement.clientWidth;
    const beyond = document.documentElement.scrollWidth - width;
    if (beyond <= 0) return [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ALL);
    const wide = [];
    while (walker.nextNode() && wide.length < 4) {
        const range = document.createRange();
        range.selectNode(walker.currentNode);
        const isWide = range.getBoundingClientRect().right > width + 1;
        const node = walker.currentNode;
        if (isWide) wide.push((node.outerHTML ?? node.parentNode.outerHTML).slice(0, 160));
    }
    return [`${beyond} px`, ...wide];
})()"""


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing_and_nothing_is_cut_off(
    open_page: SignIn, asset: Asset, theme: str, width: int
) -> None:
    page = open_page("/", theme=theme, width=width, reduced_motion="reduce")
    for path in paths(asset):
        page.goto(path)
        assert findings(page) == [], path
        assert page.evaluate(BEYOND) == [], path


def test_the_other_theme_of_the_densest_pages_has_no_findings_either(
    open_page: SignIn, asset: Asset
) -> None:
    page = open_page("/", theme="dark", reduced_motion="reduce")
    assert findings(page) == []
    page = open_page("/", theme="light", width=390, reduced_motion="reduce")
    assert findings(page) == []


def test_axe_finds_nothing_in_what_opens(open_page: SignIn, asset: Asset) -> None:
    page = open_page("/", reduced_motion="reduce")
    page.locator("#group-done .menu summary").first.click()
    assert findings(page) == []
    page.get_by_role("button", name="Review Model").click()
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add a token").first.click()
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.locator("#link").press("Escape")
    page.keyboard.press("?")
    assert findings(page) == []


def test_axe_finds_nothing_before_signing_in(open_page: SignIn) -> None:
    page = open_page("/login", reduced_motion="reduce")
    page.context.clear_cookies()
    page.goto("/login")
    expect(page.get_by_label("User name")).to_be_focused()
    assert findings(page) == []


def test_at_200_percent_nothing_is_cut_off(open_page: SignIn, asset: Asset) -> None:
    """A browser at 200 % has half the width to give: 1440 pixels become 720, 780 become 390."""
    page = open_page("/", width=720, height=450, device_scale_factor=2)
    for path in paths(asset):
        page.goto(path)
        assert page.evaluate(BEYOND) == [], path


def test_the_theme_follows_the_system_until_it_is_chosen(open_page: SignIn, user: User) -> None:
    page = open_page("/library", theme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Switch between light and dark").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light
    assert page.complaints == []  # type: ignore[attr-defined]


def test_every_control_shows_its_focus(open_page: SignIn, user: User) -> None:
    later = timezone.now() + timedelta(hours=1)
    make_download(DownloadStatus.DOWNLOADING, initiated_by=user, progress_at=later)
    page = open_page("/")
    page.locator("#link").press("Escape")
    seen = 0
    for _ in range(25):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
                const here = document.activeElement;
                if (here === document.body) return "none yet";
                const style = getComputedStyle(here);
                const around = here.closest(".linkbox") ? "solid" : style.outlineStyle;
                return `${here.tagName} ${around}`;
            }"""
        )
        if outline != "none yet":
            assert not outline.endswith(" none"), outline
            seen += 1
    assert seen > 10
