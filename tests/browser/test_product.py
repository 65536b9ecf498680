"""The page of the whole product, started as its users start it, against the origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_linkbox import paste
from tests.origin import Origin
from tests.product import Product

pytestmark = pytest.mark.processes
ARRIVES_MS = 30_000


@pytest.fixture
def product(origin: Origin, tmp_path: Path) -> Iterator[Product]:
    with Product(tmp_path / "var", environ=origin.env()) as running:
        yield running.wait_until_ready()


def signed_in(product: Product, new_context: Callable[..., BrowserContext]) -> Page:
    page = new_context(base_url=product.url).new_page()
    page.goto("/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(product.password or "")
    page.get_by_role("button", name="Sign in").click()
    return page


def test_a_pasted_link_arrives_and_a_pause_holds_it(
    product: Product, origin: Origin, new_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(product, new_context)
    paste(page, origin.links.checkpoint)
    expect(page.locator("article.card")).to_contain_text("Made: checkpoint")
    page.keyboard.press("Enter")
    done = page.locator("#group-done")
    expect(done).to_contain_text("Made: checkpoint", timeout=ARRIVES_MS)
    expect(done).to_contain_text("verified")
    page.get_by_role("link", name="Library").click()
    page.get_by_role("link", name="Made: checkpoint").click()
    expect(page.locator("main")).to_contain_text(
        "/models/checkpoints/sdxl/madeCheckpoint_v10.safetensors"
    )

    origin.faults.slow("/cdn/*", 100_000)
    page.goto("/")
    paste(page, origin.links.large)
    expect(page.locator("article.card [data-start]")).to_be_visible()
    page.keyboard.press("Enter")
    row = page.locator(".row", has_text="downloading")
    expect(row.locator("progress")).to_be_visible(timeout=ARRIVES_MS)
    row.get_by_role("button", name="Pause").click()
    page.mouse.move(1, 1)
    paused = page.locator("#group-waiting .row")
    expect(paused).to_contain_text("paused")
    origin.faults.clear()
    paused.get_by_role("button", name="Resume").click()
    page.mouse.move(1, 1)
    expect(done.locator(".row")).to_have_count(2, timeout=ARRIVES_MS)
    expect(done.locator(".row").first).to_contain_text("verified")
