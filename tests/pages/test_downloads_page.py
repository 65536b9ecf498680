from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from downloads.board import Look, board_of
from downloads.models import Download
from downloads.states import DownloadStatus
from tests.factories import make_asset, make_download, make_user

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


def text_of(response: Any) -> str:
    return str(response.content.decode())


def groups(user: User, **look: Any) -> dict[str, list[int]]:
    board = board_of(user, Look(**look))
    return {group.key: [row.pk for row in group.rows] for group in board.groups}


def test_the_queue_stands_in_groups_with_counts(visitor: Client, creator: User) -> None:
    rows = {status: make_download(status, initiated_by=creator) for status in DownloadStatus}
    assert groups(creator) == {
        "attention": [rows[DownloadStatus.REVIEW].pk, rows[DownloadStatus.FAILED].pk],
        "running": [
            rows[status].pk
            for status in (
                DownloadStatus.DOWNLOADING,
                DownloadStatus.VERIFYING,
                DownloadStatus.REGISTERING,
            )
        ],
        "waiting": [
            rows[status].pk
            for status in (
                DownloadStatus.QUEUED,
                DownloadStatus.RETRY_WAITING,
                DownloadStatus.PARKED,
                DownloadStatus.PAUSED,
            )
        ],
        "done": [rows[DownloadStatus.CANCELLED].pk, rows[DownloadStatus.COMPLETED].pk],
    }
    page = text_of(visitor.get("/"))
    assert re.search(r"Needs you</h2>\s*<span class=\"count\">2<", page)
    assert "tries again in" in page


def test_somebody_elses_downloads_are_not_shown_and_not_touched(
    visitor: Client, creator: User
) -> None:
    other = make_download(DownloadStatus.DOWNLOADING, initiated_by=make_user("other"))
    assert groups(creator) == {}
    for url in (
        reverse("downloads:act", args=[other.pk, "cancel"]),
        reverse("downloads:finalize", args=[other.pk]),
        reverse("downloads:token", args=[other.pk]),
    ):
        assert visitor.post(url).status_code == 404
    assert visitor.get(reverse("downloads:picture", args=[other.pk])).status_code == 404
    visitor.post(reverse("downloads:act_selected", args=["cancel"]), {"ids": [other.pk]})
    visitor.post(reverse("downloads:act_all", args=["pause"]))
    other.refresh_from_db()
    assert other.status == DownloadStatus.DOWNLOADING


def test_who_may_see_figures_sees_whose_download_it_is(client: Client) -> None:
    client.force_login(make_user("operator", "ops.view_analytics"))
    make_download(DownloadStatus.QUEUED, initiated_by=make_user("someone-else"))
    assert "someone-else" in text_of(client.get("/"))


def test_without_the_permission_there_is_no_box_and_no_button(client: Client) -> None:
    user = make_user("reader")
    row = make_download(DownloadStatus.QUEUED, initiated_by=user)
    client.force_login(user)
    page = text_of(client.get("/"))
    assert 'id="linkbox"' not in page
    assert "formaction" not in page
    for url in (
        reverse("downloads:resolve"),
        reverse("downloads:add"),
        reverse("downloads:act", args=[row.pk, "pause"]),
        reverse("downloads:act_all", args=["pause"]),
        reverse("downloads:act_selected", args=["pause"]),
    ):
        assert client.post(url).status_code == 403


def test_an_anonymous_htmx_request_is_sent_to_the_login_page(client: Client) -> None:
    response = client.get(reverse("downloads:queue"), **HTMX)
    assert response.headers["HX-Redirect"] == "/login"
    assert client.get("/").headers["Location"] == "/login?next=/"


@pytest.mark.parametrize("name", ["add", "resolve", "link_token"])
def test_nothing_happens_on_get(visitor: Client, name: str) -> None:
    assert visitor.get(reverse(f"downloads:{name}")).status_code == 405


def test_a_forged_form_is_refused(creator: User) -> None:
    row = make_download(DownloadStatus.QUEUED, initiated_by=creator)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(creator)
    response = strict.post(reverse("downloads:act", args=[row.pk, "cancel"]))
    assert response.status_code == 403
    assert "Nothing was changed" in text_of(response)
    row.refresh_from_db()
    assert row.status == DownloadStatus.QUEUED


def test_buttons_work_without_a_script(visitor: Client, creator: User) -> None:
    row = make_download(DownloadStatus.QUEUED, initiated_by=creator)
    for action, status in (
        ("pause", DownloadStatus.PAUSED),
        ("resume", DownloadStatus.QUEUED),
        ("cancel", DownloadStatus.CANCELLED),
        ("retry", DownloadStatus.QUEUED),
    ):
        response = visitor.post(reverse("downloads:act", args=[row.pk, action]))
        assert response.headers["Location"] == "/"
        row.refresh_from_db()
        assert row.status == status


def test_a_refused_command_says_why(visitor: Client, creator: User) -> None:
    row = make_download(DownloadStatus.COMPLETED, initiated_by=creator)
    url = reverse("downloads:act", args=[row.pk, "pause"])
    assert "cannot become paused" in text_of(visitor.post(url, follow=True))
    answer = visitor.post(url, **HTMX)
    assert answer.status_code == 409
    assert "cannot become paused" in text_of(answer)
    assert visitor.post(reverse("downloads:act", args=[row.pk, "explode"])).status_code == 404


def test_trying_now_does_not_wait_for_the_due_time(visitor: Client, creator: User) -> None:
    row = make_download(DownloadStatus.RETRY_WAITING, initiated_by=creator)
    visitor.post(reverse("downloads:act", args=[row.pk, "now"]))
    row.refresh_from_db()
    assert (row.status, row.retry_at) == (DownloadStatus.QUEUED, None)


def test_all_and_selected(visitor: Client, creator: User) -> None:
    rows = [make_download(DownloadStatus.QUEUED, initiated_by=creator) for _ in range(3)]
    visitor.post(reverse("downloads:act_all", args=["pause"]))
    assert set(Download.objects.values_list("status", flat=True)) == {"paused"}
    visitor.post(
        reverse("downloads:act_selected", args=["resume"]),
        {"ids": [rows[0].pk, "x", "٣", rows[2].pk]},
    )
    statuses = dict(Download.objects.values_list("pk", "status"))
    assert [statuses[row.pk] for row in rows] == ["queued", "paused", "queued"]
    assert visitor.post(reverse("downloads:act_all", args=["cancel"])).status_code == 404


def test_a_finished_row_leaves_the_list_for_good(visitor: Client, creator: User) -> None:
    done = make_download(DownloadStatus.FAILED, initiated_by=creator)
    running = make_download(DownloadStatus.QUEUED, initiated_by=creator)
    visitor.post(reverse("downloads:act", args=[done.pk, "dismiss"]))
    refused = visitor.post(reverse("downloads:act", args=[running.pk, "dismiss"]), follow=True)
    page = text_of(refused)
    assert f'id="row-{done.pk}"' not in page
    assert f'id="row-{running.pk}"' in page
    assert Download.objects.filter(pk=done.pk).exists()


def test_a_review_is_finished_in_the_queue(visitor: Client, creator: User, settings: Any) -> None:
    row = make_download(DownloadStatus.REVIEW, initiated_by=creator, model_name="raw name")
    assert re.search(r'name="model_name"\s+value="raw name"', text_of(visitor.get("/")))
    url = reverse("downloads:finalize", args=[row.pk])
    bad = visitor.post(url, {"model_name": " ", "model_type": "lora"}, **HTMX)
    assert bad.status_code == 400
    assert "must not be empty" in text_of(bad)
    good = {"model_name": "Nice", "model_type": "vae", "base_model": "SD 1.5", "folder": "mine"}
    visitor.post(url, good, **HTMX)
    row.refresh_from_db()
    assert (row.model_name, row.model_type, row.target_folder) == ("Nice", "vae", "mine")
    assert row.status == DownloadStatus.REGISTERING


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus=alert(1) autofocus='",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "</textarea></title><svg/onload=alert(1)>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_and_messages_of_strangers_are_text(
    visitor: Client, creator: User, text: str
) -> None:
    for status in (DownloadStatus.FAILED, DownloadStatus.REVIEW, DownloadStatus.DOWNLOADING):
        make_download(
            status,
            initiated_by=creator,
            model_name=text,
            file_name=text,
            base_model=text,
            error_message=text,
            error_code="token_required",
            target_path=text,
            warnings=[text],
            source_metadata={"version_name": text},
        )
    page = text_of(visitor.get("/"))
    assert text not in page
    assert "<img src=x" not in page
    assert " onfocus=" not in page.replace("&#x27; onfocus=", "")
    assert re.findall(r"<script(?! src=\")", page) == []


def test_a_poll_costs_the_same_few_queries_however_long_the_queue(creator: User) -> None:
    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            board_of(creator, Look())
        return len(queries)

    def fill(times: int) -> None:
        for _ in range(times):
            for status in DownloadStatus:
                make_download(
                    status,
                    initiated_by=creator,
                    asset=make_asset(),
                    source_metadata={"previews": []},
                )
            bundle = make_download(
                "downloading", initiated_by=creator, is_bundle=True, owner="", lease_expires_at=None
            )
            for _ in range(3):
                make_download("queued", initiated_by=creator, parent=bundle)

    board_of(creator, Look())
    fill(1)
    first = cost()
    fill(6)
    # Outlines, rows, files of bundles, the line; and one question about the person's permissions.
    assert cost() == first <= 5


def test_a_poll_prints_only_what_may_have_changed(creator: User) -> None:
    old = timezone.now() - timedelta(minutes=5)
    quiet = make_download(DownloadStatus.PAUSED, initiated_by=creator)
    moving = make_download(DownloadStatus.DOWNLOADING, initiated_by=creator)
    changed = make_download(DownloadStatus.FAILED, initiated_by=creator)
    Download.objects.filter(pk__in=[quiet.pk, moving.pk]).update(updated_at=old)
    board = board_of(creator, Look(since=timezone.now() - timedelta(minutes=1)))
    fresh = {row.pk: row.fresh for group in board.groups for row in group.rows}
    assert fresh == {quiet.pk: False, moving.pk: True, changed.pk: True}


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (DownloadStatus.DOWNLOADING, {}, 1000),
        (DownloadStatus.QUEUED, {}, 2000),
        (DownloadStatus.PAUSED, {}, 0),
        (DownloadStatus.COMPLETED, {}, 0),
        (DownloadStatus.FAILED, {}, 0),
        (DownloadStatus.PARKED, {}, 30_000),
    ],
)
def test_the_page_asks_again_only_while_something_moves(
    creator: User, status: str, fields: dict[str, Any], expected: int
) -> None:
    make_download(status, initiated_by=creator, **fields)
    assert board_of(creator, Look()).next_ms == expected


def test_the_page_asks_again_when_a_retry_is_due(creator: User) -> None:
    make_download(
        DownloadStatus.RETRY_WAITING,
        initiated_by=creator,
        retry_at=timezone.now() + timedelta(seconds=10),
    )
    assert 9_000 < board_of(creator, Look()).next_ms <= 10_500


def test_yesterday_is_not_today(creator: User) -> None:
    make_download(
        DownloadStatus.COMPLETED,
        initiated_by=creator,
        completed_at=timezone.now() - timedelta(days=1, minutes=1),
    )
    assert groups(creator) == {}


def test_a_flagged_model_waits_for_somebody(creator: User) -> None:
    row = make_download(
        DownloadStatus.COMPLETED,
        initiated_by=creator,
        asset=make_asset(status="flagged"),
        hash_mismatch=True,
    )
    assert groups(creator) == {"attention": [row.pk]}


def test_a_bundle_unfolds(visitor: Client, creator: User) -> None:
    bundle = make_download(
        "downloading", initiated_by=creator, is_bundle=True, owner="", lease_expires_at=None
    )
    child = make_download(
        "queued", initiated_by=creator, parent=bundle, bundle_path="vae/model.safetensors"
    )
    folded = text_of(visitor.get("/"))
    assert "0 of 1 files" in folded
    assert f'id="row-{child.pk}"' not in folded
    assert "vae/model.safetensors" in text_of(visitor.get("/", {"open": bundle.pk}))


def test_a_long_group_is_cut_and_can_be_shown_whole(visitor: Client, creator: User) -> None:
    for _ in range(53):
        make_download(DownloadStatus.PAUSED, initiated_by=creator)
    assert "3 more." in text_of(visitor.get("/"))
    assert text_of(visitor.get("/?show=waiting")).count('class="row ') == 53


@pytest.mark.parametrize("since", ["", "yesterday", "2026-13-45T99:00:00Z", "2026-01-01T00:00:00"])
def test_a_bad_stamp_gives_the_whole_queue(visitor: Client, creator: User, since: str) -> None:
    make_download(DownloadStatus.PAUSED, initiated_by=creator)
    response = visitor.get(
        reverse("downloads:queue"), {"since": since, "open": ["-1", "x", "9" * 40]}
    )
    assert response.status_code == 200
    assert "paused" in text_of(response)


def test_no_script_and_no_style_stands_inside_the_page(visitor: Client, creator: User) -> None:
    make_download(DownloadStatus.DOWNLOADING, initiated_by=creator)
    for path in ("/", "/library", "/settings", "/downloads/limits"):
        response = visitor.get(path)
        page = text_of(response)
        assert re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page) is None, path
        assert (
            re.search(r"(?:src|href)=\"(?:https?:)?//(?!civitai\.com|huggingface\.co)", page)
            is None
        )
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_the_limits_are_said(visitor: Client, creator: User) -> None:
    make_download(DownloadStatus.QUEUED, initiated_by=creator)
    assert "1 of 200" in text_of(visitor.get(reverse("downloads:limits")))
