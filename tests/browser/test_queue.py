"""The queue in a real browser: it moves in place, listens to the keyboard, and falls silent."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from downloads.models import Download
from downloads.states import DownloadStatus
from tests.browser.conftest import SignIn
from tests.factories import GB, make_asset, make_download


def change(row: Download, **fields: Any) -> None:
    """As a worker writes it."""
    Download.objects.filter(pk=row.pk).update(updated_at=timezone.now(), **fields)


def moving(user: User, name: str = "Juggernaut XL", **fields: Any) -> Download:
    later = timezone.now() + timedelta(hours=1)
    values = {"initiated_by": user, "model_name": name, "progress_at": later} | fields
    return make_download(DownloadStatus.DOWNLOADING, **values)


def test_a_row_moves_in_place_and_what_is_open_stays_open(open_page: SignIn, user: User) -> None:
    row = moving(user, file_size_bytes=10 * GB, downloaded_bytes=1 * GB)
    page = open_page()
    line = page.locator(f"#row-{row.pk}")
    expect(line.locator(".percent")).to_have_text("10 %")
    line.locator(".pick input").check()
    line.locator(".menu summary").click()
    line.evaluate("row => { row.same = 'the very same node' }")
    change(row, downloaded_bytes=4 * GB)
    expect(line.locator(".percent")).to_have_text("40 %")
    assert line.evaluate("row => row.same") == "the very same node"
    expect(line.locator(".menu-items")).to_be_visible()
    expect(line.locator(".pick input")).to_be_checked()
    expect(page.locator("#selection")).to_be_visible()
    assert page.complaints == []  # type: ignore[attr-defined]


def test_what_finishes_and_what_fails_is_said_once(open_page: SignIn, user: User) -> None:
    good, bad = moving(user, "Good one"), moving(user, "Bad one")
    page = open_page()
    said = page.locator("#announce")
    change(good, downloaded_bytes=2 * GB)
    expect(page.locator(f"#row-{good.pk} .meter-parts")).to_contain_text("2.0 of 6.0 GB")
    expect(said).to_be_empty()
    change(good, status="completed", completed_at=timezone.now(), verification="verified")
    expect(page.locator("#group-done")).to_contain_text("Good one")
    expect(said).to_have_text("Good one: verified")
    change(bad, status="failed", error_code="remote_gone", error_message="It is gone.")
    expect(said).to_have_text("Bad one: failed: It is gone.")
    expect(page.locator("#group-attention")).to_contain_text("Open its page")


def test_the_page_falls_silent_when_nothing_moves(open_page: SignIn, user: User) -> None:
    row = moving(user)
    page = open_page()
    asked: list[float] = []
    page.on(
        "request",
        lambda one: asked.append(time.monotonic()) if "/downloads/queue" in one.url else None,
    )
    with page.expect_request("**/downloads/queue*"):
        pass
    change(row, status="paused")
    expect(page.locator("#group-waiting")).to_contain_text("paused")
    count = len(asked)
    page.wait_for_timeout(2500)
    assert len(asked) == count
    change(row, status="downloading")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#group-running")).to_contain_text("downloading")


def test_a_lost_connection_is_a_quiet_bar(open_page: SignIn, user: User) -> None:
    row = moving(user)
    page = open_page()

    def cut(route: Route) -> None:
        route.abort("connectionrefused")

    page.route("**/downloads/queue*", cut)
    expect(page.locator("#offline")).to_be_visible()
    page.unroute("**/downloads/queue*")
    change(row, downloaded_bytes=5 * GB)
    expect(page.locator(f"#row-{row.pk} .percent")).to_have_text("83 %")
    expect(page.locator("#offline")).to_be_hidden()


def test_rows_do_not_jump_under_the_pointer(open_page: SignIn, user: User) -> None:
    first, second = moving(user, "First"), moving(user, "Second")
    page = open_page()
    page.locator(f"#row-{second.pk}").hover()
    change(first, status="completed", completed_at=timezone.now(), verification="verified")
    keep_moving = page.locator(f"#row-{second.pk}")
    expect(page.locator(f"#row-{first.pk}")).to_contain_text("verified")
    place = keep_moving.bounding_box()
    assert page.locator("#group-running .row").count() == 2
    assert place == keep_moving.bounding_box()
    page.mouse.move(1, 1)
    expect(page.locator("#group-running .row")).to_have_count(1)
    expect(page.locator("#group-done")).to_contain_text("First")


def test_everything_by_keyboard(open_page: SignIn, user: User) -> None:
    rows = [
        make_download(DownloadStatus.FAILED, initiated_by=user, error_code="interrupted"),
        moving(user),
    ]
    page = open_page()
    expect(page.locator("#link")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator(f"#row-{rows[0].pk}")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator(f"#row-{rows[1].pk}")).to_be_focused()
    page.keyboard.press(" ")
    expect(page.locator(f"#row-{rows[1].pk}")).to_contain_text("paused")
    expect(page.locator(f"#row-{rows[1].pk}")).to_be_focused()
    page.keyboard.press(" ")
    expect(page.locator(f"#row-{rows[1].pk}")).to_contain_text("waiting")
    page.keyboard.press("x")
    expect(page.locator("#selection-count")).to_have_text("1")
    page.keyboard.press("Escape")
    expect(page.locator("#selection")).to_be_hidden()
    page.keyboard.press("k")
    page.keyboard.press("r")
    expect(page.locator(f"#row-{rows[0].pk}")).to_contain_text("waiting")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#link")).to_be_focused()
    page.keyboard.type("jkx")
    expect(page.locator("#link")).to_have_value("jkx")


def test_cancelling_what_has_arrived_is_asked_first(open_page: SignIn, user: User) -> None:
    row = moving(user, downloaded_bytes=3 * GB)
    page = open_page()
    cancel = page.locator(f"#row-{row.pk} .act-cancel")
    cancel.click()
    page.get_by_role("button", name="No", exact=True).click()
    row.refresh_from_db()
    assert row.status == "downloading"
    cancel.click()
    page.get_by_role("button", name="Yes, do it").click()
    page.mouse.move(1, 1)
    expect(page.locator("#group-done")).to_contain_text("cancelled")


def test_a_bundle_unfolds_and_stays_unfolded(open_page: SignIn, user: User) -> None:
    bundle = moving(user, "snapshot", is_bundle=True, owner="", lease_expires_at=None)
    child = make_download(
        "downloading",
        initiated_by=user,
        parent=bundle,
        bundle_path="unet/model.safetensors",
        file_size_bytes=10 * GB,
        downloaded_bytes=GB,
        progress_at=timezone.now() + timedelta(hours=1),
    )
    page = open_page()
    page.get_by_role("button", name="0 of 1 files").click()
    line = page.locator(f"#row-{child.pk}")
    expect(line).to_contain_text("unet/model.safetensors")
    change(child, downloaded_bytes=6 * GB)
    expect(line.locator(".percent")).to_have_text("60 %")


def test_a_review_is_finished_in_its_pop_up(open_page: SignIn, user: User) -> None:
    row = make_download(DownloadStatus.REVIEW, initiated_by=user, model_name="raw")
    page = open_page()
    page.get_by_role("button", name="Review raw").click()
    form = page.locator(f"#review-{row.pk}")
    form.get_by_label("Name").fill("Nice name")
    form.get_by_label("Folder").fill("../outside")
    form.get_by_role("button", name="Register it").click()
    expect(form.locator(".error-text")).to_contain_text("folder")
    form.get_by_label("Folder").fill("")
    form.get_by_role("button", name="Register it").click()
    expect(page.locator("#group-running")).to_contain_text("Nice name")


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>"]
)
def test_a_strangers_name_is_never_run(open_page: SignIn, user: User, text: str) -> None:
    dialogs: list[str] = []
    row = moving(user, text, file_name=text, error_message=text)
    page = open_page()
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    change(row, status="failed", error_message=text)
    expect(page.locator("#announce")).to_contain_text(text)
    page.locator(f"#row-{row.pk} .menu summary").click()
    assert dialogs == []
    assert page.locator("main img[src=x]").count() == 0


def test_buttons_work_without_a_script(open_page: SignIn, user: User) -> None:
    row = make_download(DownloadStatus.QUEUED, initiated_by=user)
    done = make_download(DownloadStatus.COMPLETED, initiated_by=user, asset=make_asset())
    page: Page = open_page(script=False)
    page.locator(f"#row-{row.pk} .act-pause").click()
    expect(page.locator(f"#row-{row.pk}")).to_contain_text("paused")
    page.locator(f"#row-{row.pk} .pick input").check()
    page.locator("#selection").get_by_role("button", name="Resume").click()
    expect(page.locator(f"#row-{row.pk}")).to_contain_text("waiting")
    page.locator(f"#row-{done.pk} .menu summary").click()
    expect(page.locator(f"#row-{done.pk} .menu-items")).to_be_visible()
