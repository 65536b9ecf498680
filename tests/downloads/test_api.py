"""The API of the queue against the origin: shapes, refusals, and who sees what."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from downloads.models import Download, Priority
from downloads.states import DownloadStatus as S
from tests.downloads.driving import work_off
from tests.factories import make_asset, make_download, make_user
from tests.origin import Origin

pytestmark = pytest.mark.django_db

SHA256 = "ab" * 32


def client_of(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


@pytest.fixture
def api(user: User) -> APIClient:
    return client_of(user)


def post(client: APIClient, path: str, body: Any = None) -> Any:
    return client.post(f"/api/downloads{path}", body or {}, format="json")


def test_resolve_says_what_a_link_means_and_where_it_goes(api: APIClient, wired: Origin) -> None:
    answer = post(api, "/resolve", {"url": wired.links.checkpoint})
    assert answer.status_code == 200, answer.data
    resolved, duplicate = answer.data["resolved"], answer.data["duplicate"]
    assert (resolved["source_type"], resolved["model_type"]) == ("civitai", "checkpoint")
    assert resolved["target_path"].startswith("/models/checkpoints/")
    assert [file["file_id"] for file in resolved["files"] if file["chosen"]] == [
        resolved["file_id"]
    ]
    assert resolved["expected_hash"]
    assert resolved["target_reason"]
    assert duplicate["is_duplicate"] is False
    assert duplicate["existing_asset"] is None
    assert not Download.objects.exists()


def test_resolve_tells_of_an_asset_that_is_here_already(api: APIClient, wired: Origin) -> None:
    first = post(api, "/resolve", {"url": wired.links.checkpoint}).data["resolved"]
    asset = make_asset("Here Already", checksum_sha256=first["expected_hash"])
    duplicate = post(api, "/resolve", {"url": wired.links.checkpoint}).data["duplicate"]
    assert duplicate["is_duplicate"] is True
    assert duplicate["reason"] == "same_hash"
    assert duplicate["existing_asset"] == {
        "asset_id": asset.pk,
        "asset_name": "Here Already",
        "file_path": f"/models/{asset.relative_path}",
        "status": "active",
    }
    assert "Here Already" in duplicate["message"]


def test_a_download_is_queued_with_the_columns_of_the_requirements(
    api: APIClient, wired: Origin
) -> None:
    answer = post(api, "", {"url": wired.links.checkpoint, "model_name": "Mine", "priority": 3})
    assert answer.status_code == 202, answer.data
    row = answer.data
    assert (row["status"], row["model_name"], row["priority"]) == ("queued", "Mine", 3)
    assert (row["downloaded_bytes"], row["hash_verified"], row["hash_mismatch"]) == (
        0,
        False,
        False,
    )
    assert all(row[name] for name in ("expected_hash", "file_size_bytes", "target_path"))
    assert (row["error_message"], row["error_code"], row["eta_seconds"]) == (None, "", None)
    detail = api.get(f"/api/downloads/{row['id']}").data
    assert detail["source_metadata"]["name"]
    assert detail["queue_position"] == 1


@pytest.mark.django_db(transaction=True)
def test_a_completed_download_names_its_asset(api: APIClient, wired: Origin) -> None:
    row = post(api, "", {"url": wired.links.checkpoint}).data
    work_off()
    row = api.get(f"/api/downloads/{row['id']}").data
    assert (row["status"], row["error_message"]) == ("completed", None)
    assert (row["progress"], row["verification"]) == (1.0, "verified")
    assert row["actual_hash"] == row["expected_hash"]
    assert row["asset_id"]


@pytest.mark.django_db(transaction=True)
def test_a_second_request_links_to_the_file_that_is_here(api: APIClient, wired: Origin) -> None:
    first = post(api, "", {"url": wired.links.checkpoint}).data
    work_off()
    second = post(api, "", {"url": wired.links.checkpoint})
    assert second.status_code == 202
    assert second.data["status"] == "completed"
    assert second.data["id"] != first["id"]
    assert second.data["asset_id"] == api.get(f"/api/downloads/{first['id']}").data["asset_id"]


def test_a_bundle_lists_its_files(api: APIClient, wired: Origin) -> None:
    row = post(api, "", {"url": wired.links.hub_snapshot}).data
    assert row["is_bundle"] is True
    children = api.get(f"/api/downloads/{row['id']}/children").data["results"]
    assert len(children) > 1
    assert {child["parent_id"] for child in children} == {row["id"]}
    listed = api.get("/api/downloads").data["results"]
    assert [item["id"] for item in listed] == [row["id"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": "   "}, "url"),
        ({"url": None}, "url"),
        ({"url": ["https://civitai.com/models/1"]}, "url"),
        ({"url": "x" * 3000}, "url"),
        ({"url": "https://civitai.com/models/1\x00"}, "url"),
        ({"url": "owner/name", "status": "completed"}, "status"),
        ({"url": "owner/name", "initiated_by": 1}, "initiated_by"),
        ({"url": "owner/name", "target_path": "/etc/passwd"}, "target_path"),
        ({"url": "owner/name", "model_type": "spaceship"}, "model_type"),
        ({"url": "owner/name", "on_duplicate": "explode"}, "on_duplicate"),
        ({"url": "owner/name", "priority": 1}, "priority"),
        ({"url": "owner/name", "priority": 10**12}, "priority"),
        ({"url": "owner/name", "priority": True}, "priority"),
        ({"url": "owner/name", "review": "perhaps"}, "review"),
        ({"url": "owner/name", "files": []}, "files"),
        ({"url": "owner/name", "files": "all"}, "files"),
        ({"url": "owner/name", "files": ["a"], "file_id": "a"}, "files"),
        ({"url": "owner/name", "expected_hash": "ab" * 31}, "expected_hash"),
        ({"url": "owner/name", "expected_hash": "zz" * 32}, "expected_hash"),
        ({"url": "owner/name", "expected_hash": "0" * 64}, "expected_hash"),
        ({"url": "owner/name", "expected_hash": 5}, "expected_hash"),
        ({"url": "owner/name", "model_name": "x" * 301}, "model_name"),
    ],
)
def test_a_bad_field_is_refused_by_name(api: APIClient, body: Any, field: str) -> None:
    answer = post(api, "", body)
    assert answer.status_code == 400, answer.data
    assert answer.data["code"] == "invalid"
    assert field in answer.data["details"]
    assert not Download.objects.exists()


def test_what_is_not_understood_names_the_accepted_forms(api: APIClient) -> None:
    for path in ("", "/resolve"):
        answer = post(api, path, {"url": "https://civitai.com/images/12345"})
        assert answer.status_code == 400
        assert answer.data["code"] == "reference_not_understood"
        assert "civitai.com/models/" in answer.data["message"]
        assert "url" in answer.data["details"]


def test_a_link_that_leads_elsewhere_is_refused_by_its_field(api: APIClient, wired: Origin) -> None:
    forbidden = "http://127.0.0.1:9/x.safetensors"
    for url, code in (
        (forbidden, "url_not_allowed"),
        (f"{wired.direct_url}/to?url={forbidden}", "redirect_refused"),
    ):
        answer = post(api, "/resolve", {"url": url})
        assert (answer.status_code, answer.data["code"]) == (400, code)
        assert answer.data["details"]["url"] == [answer.data["message"]]


@pytest.mark.parametrize("name", ["pause", "resume", "cancel", "retry"])
def test_a_command_answers_202_with_the_row(api: APIClient, user: User, name: str) -> None:
    before = {"pause": S.QUEUED, "resume": S.PAUSED, "cancel": S.QUEUED, "retry": S.FAILED}[name]
    after = {"pause": S.PAUSED, "resume": S.QUEUED, "cancel": S.CANCELLED, "retry": S.QUEUED}[name]
    download = make_download(before, initiated_by=user)
    for _again in range(2):
        answer = post(api, f"/{download.pk}/{name}")
        assert (answer.status_code, answer.data["status"]) == (202, after)


@pytest.mark.parametrize("name", ["pause", "cancel", "retry", "finalize", "verify"])
def test_an_illegal_command_is_a_conflict_that_names_the_status(
    api: APIClient, user: User, name: str
) -> None:
    download = make_download(S.VERIFYING, initiated_by=user)
    answer = post(api, f"/{download.pk}/{name}")
    assert (answer.status_code, answer.data["code"]) == (409, "illegal_transition")
    assert answer.data["details"]["status"] == "verifying"


def test_other_peoples_rows_are_not_found(user: User) -> None:
    download = make_download(S.QUEUED, initiated_by=user)
    other = client_of(make_user("otto", "downloads.request_content"))
    assert other.get("/api/downloads").data["results"] == []
    assert other.get(f"/api/downloads/{download.pk}").status_code == 404
    assert other.get(f"/api/downloads/{download.pk}/children").status_code == 404
    for name in ("pause", "resume", "cancel", "retry", "verify", "finalize"):
        assert post(other, f"/{download.pk}/{name}").status_code == 404
    assert other.patch(f"/api/downloads/{download.pk}", {}, format="json").status_code == 404
    download.refresh_from_db()
    assert download.status == S.QUEUED


def test_a_user_without_the_permission_may_look_and_not_ask(wired: Origin) -> None:
    reader = client_of(make_user("rita"))
    assert reader.get("/api/downloads").status_code == 200
    assert post(reader, "", {"url": wired.links.checkpoint}).status_code == 403
    assert post(reader, "/resolve", {"url": wired.links.checkpoint}).status_code == 403


def test_an_id_longer_than_the_database_s_is_not_found(api: APIClient) -> None:
    assert api.get(f"/api/downloads/{10**17}").status_code == 404
    assert api.get(f"/api/downloads/{10**30}").status_code == 404


def test_a_waiting_download_is_moved_to_the_front(api: APIClient, user: User) -> None:
    rows = [make_download(S.QUEUED, initiated_by=user) for _ in range(3)]
    answer = api.patch(f"/api/downloads/{rows[2].pk}", {"position": 0}, format="json")
    assert answer.status_code == 202, answer.data
    order = list(Download.objects.in_queue_order().values_list("pk", flat=True))
    assert order == [rows[2].pk, rows[0].pk, rows[1].pk]
    api.patch(f"/api/downloads/{rows[2].pk}", {"priority": 3}, format="json")
    rows[2].refresh_from_db()
    assert rows[2].priority == Priority.EXPANSION


@pytest.mark.parametrize("body", [{}, {"position": -1}, {"position": "x"}, {"priority": 1}])
def test_a_bad_place_is_refused(api: APIClient, user: User, body: Any) -> None:
    download = make_download(S.QUEUED, initiated_by=user)
    answer = api.patch(f"/api/downloads/{download.pk}", body, format="json")
    assert (answer.status_code, answer.data["code"]) == (400, "invalid")


@pytest.mark.parametrize("field", ["expected_hash", "hash", "sha256"])
def test_a_duplicate_is_found_by_hash_in_any_case(api: APIClient, field: str) -> None:
    asset = make_asset(checksum_sha256=SHA256)
    answer = post(api, "/check-duplicate", {field: SHA256.upper()})
    assert answer.status_code == 200, answer.data
    assert answer.data["existing_asset"]["asset_id"] == asset.pk
    assert post(api, "/check-duplicate", {field: "cd" * 32}).data["is_duplicate"] is False


@pytest.mark.parametrize("body", [{}, {"hash": SHA256, "url": "a/b"}, {"hash": "12"}])
def test_a_duplicate_check_needs_one_way_to_look(api: APIClient, body: Any) -> None:
    assert post(api, "/check-duplicate", body).status_code == 400


def test_status_counts_files_and_sums_speed(api: APIClient, user: User) -> None:
    make_download(S.QUEUED, initiated_by=user)
    make_download(
        S.DOWNLOADING,
        initiated_by=user,
        file_size_bytes=1000,
        downloaded_bytes=400,
        download_speed_bps=50,
    )
    make_download(S.QUEUED)
    data = api.get("/api/downloads/status").data
    assert (data["counts"]["queued"], data["counts"]["downloading"]) == (1, 1)
    assert (data["active"], data["waiting"]) == (1, 1)
    assert (data["speed_bps"], data["remaining_bytes"]) == (50, 600)


def test_limits_say_what_is_used(api: APIClient, user: User) -> None:
    make_download(S.QUEUED, initiated_by=user)
    limits = {item["name"]: item for item in api.get("/api/downloads/limits").data}
    assert limits["queue_size"]["used"] == 1
    assert limits["requests_per_day"]["maximum"] == 100


@pytest.mark.parametrize("query", ["status=nonsense", "model_type=spaceship", "cursor=!!!"])
def test_junk_in_a_query_is_refused_or_not_found(api: APIClient, query: str) -> None:
    assert api.get(f"/api/downloads?{query}").status_code in {400, 404}


def test_lists_filter_by_status_and_text(api: APIClient, user: User) -> None:
    make_download(S.QUEUED, initiated_by=user, model_name="Alpha")
    make_download(S.FAILED, initiated_by=user, model_name="Beta 100%")
    found = api.get("/api/downloads?status=failed&status=paused").data["results"]
    assert [row["model_name"] for row in found] == ["Beta 100%"]
    assert len(api.get("/api/downloads?search=%25").data["results"]) == 1


def test_a_list_costs_the_same_however_long_it_is(
    api: APIClient, user: User, django_assert_max_num_queries: Any
) -> None:
    for _ in range(30):
        make_download(S.QUEUED, initiated_by=user)
    with django_assert_max_num_queries(6):
        assert len(api.get("/api/downloads").data["results"]) == 30
