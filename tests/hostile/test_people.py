"""A17-A22, A26, A40: what one person may do to another, to the queue, and unseen."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import get_resolver
from pytest_django import Settings
from rest_framework.test import APIClient

from downloads.models import Download
from downloads.states import DownloadStatus as S
from ops import audit
from ops.models import AuditEvent
from registry.models import PlacementRule
from registry.roots import default_root
from tests.canaries import canary, traces
from tests.downloads.driving import model_files
from tests.factories import make_admin, make_asset, make_download, make_user
from tests.hostile.doors import Doors, is_queued
from tests.hostile.stage import LORA, Stage, served
from tests.origin.listener import Request, Response
from tests.product import ROOT
from tokens.models import ApiToken


def client_of(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


# --- A17: other people's rows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="A17-list"),
        pytest.param("?search=Secret", id="A17-search"),
        pytest.param("?status=queued", id="A17-filter"),
        pytest.param("?initiated_by=mara&initiated_by_id=1&user=1", id="A17-owner-filter"),
        pytest.param("?ordering=initiated_by__password", id="A17-order"),
        pytest.param("?page_size=200", id="A17-large-page"),
    ],
)
def test_lists_counts_and_pages_of_another_user_are_empty(doors: Doors, query: str) -> None:
    row = make_download(S.QUEUED, initiated_by=doors.user, model_name="Secret model")
    other = client_of(make_user("otto", "downloads.request_content"))
    assert other.get(f"/api/downloads{query}").data["results"] == []
    assert sum(other.get("/api/downloads/status").data["counts"].values()) == 0
    page = Client()
    page.force_login(User.objects.get(username="otto"))
    for address in ("/", "/downloads/queue", f"/downloads/queue?open={row.pk}&show=waiting"):
        assert "Secret model" not in page.get(address).content.decode()


def test_a17_an_id_of_another_user_is_as_if_it_were_not_there(doors: Doors) -> None:
    row = make_download(S.QUEUED, initiated_by=doors.user)
    other = client_of(make_user("otto", "downloads.request_content"))
    for path in (f"/api/downloads/{row.pk}", f"/api/downloads/{row.pk}/children"):
        theirs, nobodys = other.get(path), other.get(path.replace(str(row.pk), "99999999"))
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.data == nobodys.data


# --- A18: rights that end while the work goes on ----------------------------------------------------


def disable(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def take_the_right(user: User) -> None:
    user.user_permissions.clear()


@pytest.mark.parametrize(
    "lose",
    [pytest.param(disable, id="A18-disabled"), pytest.param(take_the_right, id="A18-right-taken")],
)
def test_who_loses_the_right_in_the_middle_gets_no_file(
    puller: Doors, wired: Stage, models_dir: Path, lose: Any
) -> None:
    def served_after(_request: Request) -> Response:
        if is_queued():
            lose(puller.user)
            connection.close()
        return served(LORA)

    url = wired.civitai(download=served_after)
    pulled = puller.pull(url)
    assert pulled.values["error_code"] == "user_not_permitted", pulled
    assert pulled.exit_code == 2
    assert model_files(models_dir) == []
    assert puller.post("", url=url).status_code in {401, 403}


# --- A19, A20: thin doors, and fields that are not anybody's to write -------------------------------

FIELDS = ("status", "initiated_by", "initiated_by_id", "owner", "target_path", "file_name", "actual_hash",
          "hash_verified", "asset_id", "downloaded_bytes", "source_secret", "publish_path", "is_bundle",
          "id", "pk", "parent_id", "is_staff", "is_superuser", "__class__", "attempt")  # fmt: skip


@pytest.mark.parametrize("field", [pytest.param(field, id=f"A20-{field}") for field in FIELDS])
def test_no_other_field_can_be_written(doors: Doors, field: str) -> None:
    row = make_download(S.QUEUED, initiated_by=doors.user)
    review = make_download(S.REVIEW, initiated_by=doors.user)
    before = Download.objects.order_by("pk").values_list()
    known = list(before)
    for method, path, body in (
        ("post", "/api/downloads", {"url": "owner/name"}),
        ("post", "/api/downloads/resolve", {"url": "owner/name"}),
        ("patch", f"/api/downloads/{row.pk}", {"position": 0}),
        ("post", f"/api/downloads/{row.pk}/pause", {}),
        ("post", f"/api/downloads/{review.pk}/finalize", {}),
        ("post", "/api/user/api-tokens", {"service_name": "civitai", "token": "abcdefghijkl"}),
        ("post", "/api/user/api-keys", {"name": "x"}),
    ):
        answer = getattr(doors.api, method)(path, {**body, field: 1}, format="json")
        assert (answer.status_code, answer.data["code"]) == (400, "invalid"), (path, answer.data)
        assert field in answer.data["details"], path
    assert list(Download.objects.order_by("pk").values_list()) == known


def test_a20_forms_of_the_page_write_nothing_else(doors: Doors) -> None:
    row = make_download(S.QUEUED, initiated_by=doors.user)
    doors.page.post(
        f"/downloads/{row.pk}/pause",
        {"status": "completed", "initiated_by": 1, "asset_id": 1, "priority": 0},
    )
    row.refresh_from_db()
    assert (row.status, row.initiated_by, row.asset_id) == (S.PAUSED, doors.user, None)


@pytest.mark.parametrize(
    "setting", [pytest.param("DEFAULT_PERMISSION_CLASSES", id="A19-default-is-to-refuse")]
)
def test_a_view_without_a_decision_is_closed(setting: str) -> None:
    (name,) = django_settings.REST_FRAMEWORK[setting]
    assert name.endswith("IsAuthenticated")


# --- A21: forged requests ---------------------------------------------------------------------------

TYPES = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/json",
         "application/xml", "application/json, text/plain", "")  # fmt: skip


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"A21-{kind or 'none'}") for kind in TYPES])
def test_only_json_is_read(doors: Doors, kind: str) -> None:
    row = make_download(S.QUEUED, initiated_by=doors.user)
    for path in ("/api/downloads", "/api/downloads/resolve", f"/api/downloads/{row.pk}/cancel"):
        answer = doors.api.generic("POST", path, b'{"url": "owner/name"}', content_type=kind)
        assert answer.status_code in {400, 415}, (path, answer.data)
    row.refresh_from_db()
    assert row.status == S.QUEUED


def test_a21_a_session_needs_its_token_for_every_change(doors: Doors) -> None:
    """Every route of the pages that changes something, and those of the API."""
    row = make_download(S.QUEUED, initiated_by=doors.user)
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(make_admin())
    paths = [
        "/downloads/add", "/downloads/resolve", "/downloads/token", "/downloads/all/pause",
        "/downloads/selected/cancel", f"/downloads/{row.pk}/cancel", "/settings/keys", "/theme",
        "/settings/tokens/civitai/save", "/settings/tokens/civitai/delete", "/settings/placement/rules",
        "/logout", "/admin/downloads/download/add/", "/admin/auth/user/add/",
    ]  # fmt: skip
    for path in paths:
        answer = forged.post(
            path, {"url": "owner/name"}, headers={"Origin": "https://evil.example"}
        )
        assert answer.status_code == 403, path
    api = APIClient(enforce_csrf_checks=True)
    api.force_login(doors.user)
    for path in ("/api/downloads", f"/api/downloads/{row.pk}/cancel", "/api/user/api-keys"):
        answer = api.post(path, {"url": "owner/name"}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    row.refresh_from_db()
    assert row.status == S.QUEUED


@pytest.mark.parametrize(
    "method", [pytest.param(m, id=f"A21-{m.lower()}") for m in ("GET", "HEAD", "OPTIONS", "TRACE")]
)
def test_looking_changes_nothing(doors: Doors, wired: Stage, method: str) -> None:
    row = make_download(S.QUEUED, initiated_by=doors.user)
    default_root()
    before = Download.objects.values().get(pk=row.pk)
    for path in ("/api/downloads?url=owner/name", "/api/downloads/resolve?url=owner/name", "/downloads/add?url=x",
                 f"/api/downloads/{row.pk}/cancel", f"/downloads/{row.pk}/cancel", "/downloads/all/cancel",
                 "/logout", "/settings/keys", f"/?link={wired.url('files', '/x')}", "/theme"):  # fmt: skip
        answer = doors.page.generic(method, path)
        assert answer.status_code < 500, path
    assert Download.objects.values().get(pk=row.pk) == before
    assert doors.page.get("/api/downloads").status_code == 200  # still signed in
    assert wired.log.entries == []


# --- A22: floods ------------------------------------------------------------------------------------


def test_a22_requests_at_once_do_not_slip_past_the_limit(
    puller: Doors, wired: Stage, settings: Settings
) -> None:
    settings.USER_MAX_QUEUE_SIZE = 3
    links = [wired.civitai(number) for number in range(1, 9)]

    def ask(url: str) -> int:
        try:
            return int(
                client_of(puller.user)
                .post("/api/downloads", {"url": url}, format="json")
                .status_code
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(ask, links))
    assert statuses == [202] * 3 + [429] * 5
    assert Download.objects.count() == 3
    answer = puller.post("", url=links[0])
    assert (answer.status_code, answer.data["code"]) == (429, "queue_full")
    assert puller.pull(links[0]).exit_code in {0, 2}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b'{"url": "' + b"x" * 2_000_000 + b'"}', 413, id="A22-large"),
        pytest.param(b"[" * 500_000, 400, id="A22-deep"),
        pytest.param(b'{"files": [' + b'"x",' * 100_000 + b'"x"], "url": "o/n"}', 400, id="A22-many-files"),
        pytest.param(b"{" + b",".join(b'"k%d": 1' % n for n in range(50_000)) + b"}", 400, id="A22-many-fields"),
        pytest.param(b'{"url": ' + b"9" * 100_000 + b"}", 400, id="A22-long-number"),
    ],
)  # fmt: skip
def test_a_flood_in_one_request_is_refused_briefly(doors: Doors, body: bytes, status: int) -> None:
    answer = doors.api.generic("POST", "/api/downloads", body, content_type="application/json")
    assert answer.status_code == status, answer.content[:200]
    assert len(answer.content) < 5000
    assert not Download.objects.exists()


@pytest.mark.parametrize("field", [pytest.param("url", id="A22-page-form")])
def test_a_large_form_of_the_page_is_refused(doors: Doors, field: str) -> None:
    answer = doors.page.post("/downloads/resolve", {field: "x" * 3_000_000})
    assert answer.status_code in {400, 413}
    many = {f"f{n}": "x" for n in range(2000)}
    assert doors.page.post("/downloads/resolve", many).status_code == 400


# --- A26: what is open ------------------------------------------------------------------------------

OPEN = {"/healthz": 200, "/login": 200}
CLOSED = ("/metrics", "/admin/", "/admin/downloads/download/", "/admin/login/", "/api/schema", "/api/docs",
          "/api/downloads", "/api/assets", "/library", "/settings", "/", "/flower/", "/debug/",
          "/__debug__/", "/.env", "/.git/config", "/static/", "/media/", "/admin/jsi18n/")  # fmt: skip


@pytest.mark.parametrize("path", [pytest.param(path, id=f"A26-{path}") for path in CLOSED])
def test_nobody_sees_anything_without_signing_in(db: None, path: str) -> None:
    for host in ("localhost", "127.0.0.1"):
        answer = Client(raise_request_exception=False).get(path, headers={"Host": host})
        assert answer.status_code in {301, 302, 401, 403, 404}, answer.content[:200]
        if answer.status_code in {301, 302}:
            assert answer["Location"].startswith(("/login", "/admin/login"))
        page = answer.content.decode()
        assert "Traceback" not in page
        assert "DEBUG = True" not in page
        assert not re.search(r"django|python/|uvicorn", str(answer.headers), re.IGNORECASE)


def test_a26_the_health_check_tells_names_and_nothing_else(db: None) -> None:
    said = json.loads(Client().get("/healthz").content)
    text = json.dumps(said)
    assert not re.search(r"/|\\|postgres|redis://|version|\d+\.\d+", text, re.IGNORECASE), text


def test_a26_nothing_of_a_debugger_is_installed() -> None:
    assert django_settings.DEBUG is False
    routes = " ".join(str(pattern.pattern) for pattern in get_resolver().url_patterns)
    assert "debug" not in routes
    assert not any("debug" in app for app in django_settings.INSTALLED_APPS)


def test_a26_flower_and_the_stores_are_not_open() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    flower = compose["services"]["flower"]
    assert flower["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")
    assert all(port.startswith("127.0.0.1:") for port in flower["ports"])
    for name in ("postgres", "redis", "web"):
        assert "ports" not in compose["services"][name]


# --- A40: what admins do ----------------------------------------------------------------------------


def test_a40_what_an_admin_changes_is_noted_without_a_secret(
    doors: Doors, wired: Stage, settings: Settings
) -> None:
    admin = make_admin()
    client = client_of(admin)
    row = make_download(S.QUEUED, initiated_by=doors.user)
    flagged = make_asset(root=default_root(), status="active")
    wired.file("/api/v1/me", Response(200, [("Content-Type", "application/json")], b'{"username": "x"}'), "civitai")  # fmt: skip
    steps = [
        ("post", "/api/admin/placement-rules", {"model_type": "lora", "target_directory": "/models/audited/"}),
        ("post", f"/api/downloads/{row.pk}/cancel", {}),
        ("patch", f"/api/assets/{flagged.pk}", {"name": "Another"}),
        ("post", "/api/user/api-tokens", {"service_name": "civitai", "token": canary("audited")}),
        ("delete", "/api/user/api-tokens/civitai", {}),
        ("post", "/api/user/api-keys", {"name": "robot"}),
    ]  # fmt: skip
    for method, path, body in steps:
        answer = getattr(client, method)(path, body, format="json")
        assert answer.status_code < 300, (path, answer.data)
    noted = AuditEvent.objects.filter(actor=admin).exclude(action="login")
    assert noted.count() == len(steps), list(noted.values_list("action", flat=True))
    assert traces(json.dumps(list(noted.values()), default=str)) == []
    assert audit.verify().is_whole
    # Nobody takes an entry away.
    console = Client()
    console.force_login(admin)
    entry = noted.first()
    assert entry is not None
    for path in ("delete", "change"):
        assert (
            console.post(f"/admin/ops/auditevent/{entry.pk}/{path}/", {"post": "yes"}).status_code
            == 403
        )
    assert PlacementRule.objects.filter(target_directory="/models/audited/").exists()


def test_a40_a_token_can_be_replaced_and_never_read(doors: Doors, wired: Stage) -> None:
    wired.file("/api/v1/me", Response(200, [("Content-Type", "application/json")], b'{"username": "x"}'), "civitai")  # fmt: skip
    token = canary("write-only")
    saved = doors.api.post(
        "/api/user/api-tokens", {"service_name": "civitai", "token": token}, format="json"
    )
    assert saved.status_code in {200, 201}, saved.data
    admin = Client()
    admin.force_login(make_admin())
    pages = [doors.api.get("/api/user/api-tokens"), doors.page.get("/settings"), doors.page.get("/"),
             admin.get("/admin/tokens/apitoken/")]  # fmt: skip
    row = ApiToken.objects.get(user=doors.user)
    pages.append(admin.get(f"/admin/tokens/apitoken/{row.pk}/change/"))
    for answer in pages:
        assert answer.status_code == 200
        assert traces(answer.content) == []
    assert token[-4:] in json.dumps(doors.api.get("/api/user/api-tokens").json())
