"""From a pasted link to a row, against the origin."""

from __future__ import annotations

from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from downloads.models import Download
from tests.browser.conftest import SignIn
from tests.factories import make_asset
from tests.origin import Origin
from tokens.models import ApiToken


def paste(page: Page, text: str) -> None:
    """As a person does it, not letter by letter."""
    page.locator("#link").evaluate(
        """(box, text) => {
            box.focus();
            const data = new DataTransfer();
            data.setData("text/plain", text);
            if (box.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}))) {
                document.execCommand("insertText", false, text);
            }
        }""",
        text,
    )


def test_the_source_is_recognised_while_typing(open_page: SignIn, user: User) -> None:
    page = open_page()
    mark = page.locator("#link-source")
    for text, source in (
        ("hello", "none"),
        ("civitai.com/models/1", "civitai"),
        ("urn:air:sdxl:lora:civitai:1@2", "civitai"),
        ("https://hf.co/a/b", "huggingface"),
        ("https://example.org/x.safetensors", "direct"),
    ):
        page.locator("#link").fill(text)
        assert mark.get_attribute("data-is") == source, text


def test_pasting_is_enough_and_enter_starts(open_page: SignIn, user: User, wired: Origin) -> None:
    page = open_page()
    paste(page, wired.links.checkpoint)
    card = page.locator("article.card")
    expect(card).to_contain_text("Made: checkpoint")
    expect(card).to_contain_text("/models/checkpoints/sdxl/madeCheckpoint_v10.safetensors")
    expect(page.locator("#link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#group-waiting")).to_contain_text("Made: checkpoint")
    expect(page.locator("#link")).to_have_value("")
    expect(card).to_have_count(0)
    assert page.complaints == []  # type: ignore[attr-defined]


def test_several_lines_make_several_requests(open_page: SignIn, user: User, wired: Origin) -> None:
    page = open_page()
    paste(page, f"{wired.links.direct}\n{wired.links.checkpoint}\n{wired.links.lora_with_token}")
    expect(page.locator("#cards-count")).to_have_text("3 links, 2 ready")
    page.get_by_role("button", name="Download all").click()
    expect(page.locator("#group-waiting .row")).to_have_count(2)
    expect(page.locator("article.card")).to_have_count(1)
    expect(page.locator("#link")).to_have_value(wired.links.lora_with_token)


def test_the_token_field_is_right_there(open_page: SignIn, user: User, wired: Origin) -> None:
    page = open_page()
    paste(page, wired.links.lora_with_token)
    field = page.get_by_label("Your API token")
    field.fill("wrong-token-wrong-token")
    page.get_by_role("button", name="Save and go on").click()
    expect(page.locator("article.card .error-text")).to_contain_text("refuses this token")
    field.fill(wired.civitai.token)
    page.get_by_role("button", name="Save and go on").click()
    expect(page.locator("article.card [data-start]")).to_be_visible()
    assert ApiToken.objects.get().is_valid
    assert wired.civitai.token not in page.content()


def test_a_changed_type_moves_the_target_and_keeps_the_place(
    open_page: SignIn, user: User, wired: Origin
) -> None:
    page = open_page()
    paste(page, wired.links.checkpoint)
    page.get_by_text("Name, type, folder").click()
    page.get_by_label("Type").focus()
    page.get_by_label("Type").select_option("vae")
    expect(page.locator("article.card .target")).to_contain_text("/models/vae/")
    expect(page.get_by_label("Type")).to_be_focused()
    expect(page.get_by_label("Folder")).to_be_visible()
    page.get_by_label("Folder").fill("my/own")
    page.get_by_label("Folder").press("Tab")
    expect(page.locator("article.card .target")).to_contain_text("/models/my/own/")
    page.locator("article.card [data-start]").click()
    expect(page.locator("#group-waiting")).to_contain_text("Made: checkpoint")
    row = Download.objects.get()
    assert (row.model_type, row.target_folder) == ("vae", "my/own")


def test_other_files_can_be_taken(open_page: SignIn, user: User, wired: Origin) -> None:
    page = open_page()
    paste(page, wired.links.bundle)
    page.get_by_text("Other files").click()
    boxes = page.locator("article.card [name=files]")
    expect(boxes).to_have_count(3)
    boxes.nth(1).uncheck()
    expect(page.locator("article.card")).to_contain_text("in 2 files")
    expect(boxes.nth(2)).to_be_visible()


def test_what_is_here_already_has_four_buttons(
    open_page: SignIn, user: User, wired: Origin
) -> None:
    page = open_page()
    paste(page, wired.links.checkpoint)
    page.locator("article.card [data-start]").click()
    expect(page.locator("#group-waiting .row")).to_have_count(1)
    row = Download.objects.get()
    make_asset("Here already", checksum_sha256=row.expected_hash)
    paste(page, wired.links.checkpoint)
    for name in ("Use it", "Replace", "Keep both", "Skip"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#group-done")).to_contain_text("it was already here")


def test_a_link_without_a_script(open_page: SignIn, user: User, wired: Origin) -> None:
    page = open_page(script=False)
    page.locator("#link").fill(wired.links.direct)
    page.get_by_role("button", name="Look up").click()
    page.locator("article.card [data-start]").click()
    expect(page.locator("#messages")).to_contain_text("is on its way")
    expect(page.locator("#group-waiting .row")).to_have_count(1)


def test_an_example_is_tried_with_one_click(open_page: SignIn, user: User, wired: Origin) -> None:
    page = open_page()
    page.get_by_text("Detail Tweaker XL").click()
    expect(page.locator("#link")).to_have_value(
        "https://civitai.com/models/122359/detail-tweaker-xl"
    )
    expect(page.locator("article.card .notice.failed")).to_be_visible()
