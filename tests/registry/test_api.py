from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from ops.models import AuditEvent
from registry.models import Asset, AssetPreview, AssetStatus, PlacementRule
from registry.previews import previews_dir, signed_preview_url
from registry.roots import root_path
from tests.factories import make_user
from tests.registry.test_previews import Pictures, picture, pictures
from tests.registry.test_registering import RESOLUTION

pytestmark = pytest.mark.django_db
__all__ = ["pictures"]

Register = Callable[..., Asset]


@pytest.fixture
def creator() -> User:
    return make_user("creator", "downloads.request_content")


@pytest.fixture
def api(admin_user: User) -> APIClient:
    return client_of(admin_user)


def client_of(user: User | None) -> APIClient:
    client = APIClient()
    if user is not None:
        client.force_authenticate(user)
    return client


def get(client: APIClient, path: str, **query: Any) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content
    return response.json()


def ids(answer: Any) -> list[int]:
    return [row["id"] for row in answer["results"]]


# --- Reading ---------------------------------------------------------------------------------------


def test_an_asset_shows_its_virtual_path_and_never_the_machines(
    api: APIClient, register: Register, tmp_path: Path
) -> None:
    asset = register(resolution=RESOLUTION, verification="verified")
    for path in ("/api/assets", f"/api/assets/{asset.pk}"):
        body = api.get(path).content.decode()
        assert "/models/loras/sdxl/x.safetensors" in body
        assert str(tmp_path) not in body
    row = get(api, f"/api/assets/{asset.pk}")
    assert row["file_path"] == "/models/loras/sdxl/x.safetensors"
    assert row["checksum_sha256"] == asset.checksum_sha256
    assert row["trigger_words"] == ["detail", "sharp"]
    assert row["metadata"]["source_metadata"]["version_id"] == "7"


def test_everybody_signed_in_sees_the_registry(register: Register, creator: User) -> None:
    register()
    assert len(get(client_of(creator), "/api/assets")["results"]) == 1
    assert client_of(None).get("/api/assets").status_code in {401, 403}


def test_filters_and_search(api: APIClient, register: Register) -> None:
    lora = register(
        b"1", resolution=RESOLUTION, name="Detail Tweaker", file_name="detail.safetensors"
    )
    pony = register(
        b"2", name="Horse", base_model="Pony", base_model_family="SDXL", file_name="p.safetensors"
    )
    vae = register(
        b"3", name="Sharp VAE", model_type="vae", base_model="", file_name="v.safetensors"
    )
    Asset.objects.filter(pk=vae.pk).update(status=AssetStatus.MISSING)
    for query, expected in (
        ({"type": "vae"}, [vae]),
        ({"status": "missing"}, [vae]),
        ({"base_model": "sdxl"}, [pony, lora]),
        ({"base_model": "pony"}, [pony]),
        ({"source": "civitai"}, [lora]),
        ({"search": "detail tweak"}, [lora]),
        ({"search": "somebody"}, [lora]),
        ({"search": "v.safetensors"}, [vae]),
        ({"search": "%_"}, []),
        ({"search": "horse vae"}, []),
    ):
        assert ids(get(api, "/api/assets", **query)) == [a.pk for a in expected], query


@pytest.mark.parametrize(
    "query",
    [
        {"type": "song"},
        {"status": "gone"},
        {"search": "x" * 201},
        {"search": "a\x00b"},
        {"page_size": "-1"},
        {"cursor": "junk"},
    ],
)
def test_junk_in_queries_is_named(api: APIClient, query: dict[str, str]) -> None:
    response = api.get("/api/assets", query)
    assert response.status_code == 400
    assert response.json()["code"] in {"invalid", "bad_request"}


def test_pages_follow_cursors(api: APIClient, register: Register) -> None:
    made = [register(str(n).encode(), file_name=f"{n}.safetensors").pk for n in range(5)]
    page = get(api, "/api/assets", page_size=2)
    seen = ids(page)
    while page["next"]:
        page = api.get(page["next"]).json()
        seen += ids(page)
    assert seen == made[::-1]


@pytest.mark.parametrize("path", ["/api/assets/99999999", f"/api/assets/{10**17}", "/api/assets/0"])
def test_unknown_ids_are_not_found(api: APIClient, path: str) -> None:
    response = api.get(path)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_by_hash_knows_every_digest(api: APIClient, register: Register) -> None:
    asset = register()
    Asset.objects.filter(pk=asset.pk).update(
        git_sha1="ab" * 20, blake3="cd" * 32, autov3="ef" * 6, crc32="0a" * 4
    )
    sha256 = asset.checksum_sha256
    for digest in (sha256, sha256.upper(), sha256[:10], "ab" * 20, "cd" * 32, "ef" * 6, "0A" * 4):
        assert get(api, f"/api/assets/by-hash/{digest}")["id"] == asset.pk
    assert api.get(f"/api/assets/by-hash/{'00' * 32}").status_code == 404


@pytest.mark.parametrize("digest", ["x", "g" * 64, "a" * 63, "a" * 65, "..", "'; --"])
def test_by_hash_refuses_what_is_no_digest(api: APIClient, digest: str) -> None:
    response = api.get(f"/api/assets/by-hash/{digest}")
    assert response.status_code == 400
    assert response.json()["details"]


def test_by_hash_prefers_an_active_asset(api: APIClient, register: Register) -> None:
    first = register(b"same", file_name="a.safetensors")
    second = register(b"same", file_name="b.safetensors")
    Asset.objects.filter(pk=first.pk).update(status=AssetStatus.MISSING)
    assert get(api, f"/api/assets/by-hash/{first.checksum_sha256}")["id"] == second.pk


# --- Changing --------------------------------------------------------------------------------------


def test_editing(api: APIClient, register: Register) -> None:
    asset = register()
    response = api.patch(
        f"/api/assets/{asset.pk}",
        {"name": "Better", "tags": ["a"], "description": "<b onclick=x>hi</b>"},
        format="json",
    )
    assert response.status_code == 200
    row = response.json()
    assert (row["name"], row["tags"], row["description"]) == ("Better", ["a"], "<b>hi</b>")
    assert row["edited_fields"] == ["description", "name", "tags"]


@pytest.mark.parametrize(
    "body",
    [
        {"status": "active"},
        {"checksum_sha256": "00" * 32},
        {"relative_path": "../x"},
        {"added_by": 1},
        {"name": ""},
        {"name": "x" * 301},
        {"name": ["x"]},
        {"asset_type": "song"},
        {"trigger_words": "one"},
        {"trigger_words": [{"a": 1}]},
        {"tags": ["x"] * 201},
    ],
)
def test_unknown_and_wrong_fields_are_refused(
    api: APIClient, register: Register, body: dict[str, Any]
) -> None:
    asset = register()
    response = api.patch(f"/api/assets/{asset.pk}", body, format="json")
    assert response.status_code == 400
    assert set(response.json()["details"]) == set(body)


COMMANDS = [
    ("patch", "", {"name": "x"}),
    ("delete", "", None),
    ("post", "/refresh", {}),
    ("post", "/preview", {}),
    ("post", "/verify", {}),
    ("post", "/accept", {"reason": "x"}),
]


@pytest.mark.parametrize(("method", "path", "body"), COMMANDS)
def test_changes_need_the_right(
    register: Register, creator: User, method: str, path: str, body: Any
) -> None:
    asset = register(resolution=RESOLUTION)
    address = f"/api/assets/{asset.pk}{path}"
    refused = getattr(client_of(creator), method)(address, body, format="json")
    assert refused.status_code == 403
    assert getattr(client_of(None), method)(address, body, format="json").status_code in {401, 403}
    editor = client_of(make_user("editor", "registry.change_asset"))
    assert getattr(editor, method)(address, body, format="json").status_code in {200, 202, 204, 409}


def test_commands_answer_with_the_row(api: APIClient, register: Register) -> None:
    asset = register(resolution=RESOLUTION)
    for command in ("verify", "refresh", "preview"):
        response = api.post(f"/api/assets/{asset.pk}/{command}", {}, format="json")
        assert response.status_code == 202, response.content
        assert response.json()["id"] == asset.pk
        assert (
            api.post(
                f"/api/assets/{asset.pk}/{command}", {"force": True}, format="json"
            ).status_code
            == 400
        )
    asset.refresh_from_db()
    assert asset.verify_requested_at is not None
    assert asset.refresh_requested_at is not None


def test_refreshing_a_direct_link_is_a_conflict(api: APIClient, register: Register) -> None:
    response = api.post(f"/api/assets/{register().pk}/refresh", {}, format="json")
    assert response.status_code == 409
    assert response.json()["code"] == "asset_state"


def test_refreshing_many(api: APIClient, register: Register) -> None:
    first = register(b"1", resolution=RESOLUTION, file_name="a.safetensors")
    register(b"2", resolution=RESOLUTION, file_name="b.safetensors")
    register(b"3", file_name="c.safetensors")
    assert api.post("/api/assets/refresh", {"ids": [first.pk]}, format="json").json() == {
        "requested": 1
    }
    assert api.post("/api/assets/refresh", {}, format="json").json() == {"requested": 2}
    for ids_ in ([0], ["x"], [10**20], [1] * 1001, "all"):
        response = api.post("/api/assets/refresh", {"ids": ids_}, format="json")
        assert response.status_code == 400


def test_accepting_a_flagged_asset(api: APIClient, register: Register) -> None:
    asset = register(verification="mismatch", expected_sha256="ab" * 32, quarantine_path="q")
    address = f"/api/assets/{asset.pk}/accept"
    for body in ({}, {"reason": ""}, {"reason": "x" * 1001}, {"reason": "x", "force": 1}):
        assert api.post(address, body, format="json").status_code == 400
    response = api.post(address, {"reason": "Known good."}, format="json")
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["verification"]) == ("active", "accepted")
    assert (root_path(asset.root) / asset.relative_path).exists()
    again = api.post(address, {"reason": "Known good."}, format="json")
    assert again.status_code == 409
    assert again.json()["details"]["status"] == "active"


def test_deleting(api: APIClient, register: Register) -> None:
    asset = register()
    assert api.delete(f"/api/assets/{asset.pk}").status_code == 204
    assert api.delete(f"/api/assets/{asset.pk}").status_code == 404
    assert AuditEvent.objects.filter(action="asset.deleted").count() == 1


# --- Pictures --------------------------------------------------------------------------------------


def test_pictures_are_served_from_our_own_path(api: APIClient, register: Register) -> None:
    asset = register()
    AssetPreview.objects.create(
        asset=asset, source_url="https://x/1", status="ready", file_name="a.webp"
    )
    previews_dir(asset.pk).mkdir(parents=True)
    (previews_dir(asset.pk) / "a.webp").write_bytes(b"RIFF")
    address = get(api, f"/api/assets/{asset.pk}")["previews"][0]["url"]
    assert address == f"/api/assets/{asset.pk}/previews/0"
    response = api.get(address, HTTP_ACCEPT="image/avif,image/webp")
    assert response.status_code == 200
    assert response["Content-Type"] == "image/webp"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert api.get(f"/api/assets/{asset.pk}/previews/7").status_code == 404
    assert client_of(None).get(address).status_code in {401, 403}


def test_thumbnails_need_a_signature(api: APIClient, pictures: Pictures) -> None:
    url = pictures.add("/a.png", picture())
    response = api.get(signed_preview_url(url), HTTP_ACCEPT="image/*")
    assert response.status_code == 200
    assert response["Content-Type"] == "image/webp"
    pictures.asked.clear()
    for token in ("", url, "x:y:z"):
        refused = api.get("/api/previews", {"token": token})
        assert refused.status_code == 404
        assert refused.json()["code"] == "preview_unavailable"
    assert client_of(None).get(signed_preview_url(url)).status_code in {401, 403}
    assert pictures.asked == []


# --- Placement rules -------------------------------------------------------------------------------

RULES = "/api/admin/placement-rules"


def test_rules_are_listed_made_changed_and_deleted(api: APIClient, admin_user: User) -> None:
    assert len(get(api, RULES, page_size=200)["results"]) == PlacementRule.objects.count()
    made = api.post(
        RULES,
        {"model_type": "lora", "base_model": "Pony", "target_directory": "loras//pony"},
        format="json",
    )
    assert made.status_code == 201
    rule = made.json()
    assert rule["target_directory"] == "/models/loras/pony/"
    address = f"{RULES}/{rule['id']}"
    changed = api.patch(address, {"priority": 20, "is_active": False}, format="json")
    assert (changed.status_code, changed.json()["priority"]) == (200, 20)
    assert get(api, address)["is_active"] is False
    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == [
        "placement_rule.created",
        "placement_rule.changed",
        "placement_rule.deleted",
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model_type": "song", "target_directory": "/models/x/"}, "model_type"),
        ({"model_type": "lora"}, "target_directory"),
        ({"model_type": "lora", "target_directory": "/etc"}, "target_directory"),
        ({"model_type": "lora", "target_directory": "/models/../x"}, "target_directory"),
        ({"model_type": "lora", "target_directory": "/models/{x}"}, "target_directory"),
        ({"model_type": "lora", "target_directory": "a\\b"}, "target_directory"),
        ({"model_type": "lora", "target_directory": "x", "priority": 10**12}, "priority"),
        ({"model_type": "lora", "target_directory": "x", "priority": "high"}, "priority"),
        ({"model_type": "lora", "target_directory": "x", "id": 1}, "id"),
    ],
)
def test_bad_rules_are_refused_by_field(api: APIClient, body: dict[str, Any], field: str) -> None:
    response = api.post(RULES, body, format="json")
    assert response.status_code == 400
    assert field in response.json()["details"]


def test_preview_says_which_rule_won_and_why(api: APIClient) -> None:
    question = {"model_type": "lora", "base_model": "Pony", "file_name": "x.safetensors"}
    answer = api.post(f"{RULES}/preview", question, format="json").json()
    assert answer["target_path"] == "/models/loras/sdxl/x.safetensors"
    assert "SDXL" in answer["reason"]
    won = [candidate for candidate in answer["candidates"] if candidate["won"]]
    assert [candidate["match"] for candidate in won] == ["family"]
    assert won[0]["rule"]["id"] == answer["rule_id"]
    assert all(candidate["reason"] for candidate in answer["candidates"])


def test_only_who_may_sees_and_changes_rules(creator: User) -> None:
    rule = PlacementRule.objects.all()[0]
    for client in (client_of(creator), client_of(None)):
        for method, path in (
            ("get", RULES),
            ("post", RULES),
            ("get", f"{RULES}/{rule.pk}"),
            ("patch", f"{RULES}/{rule.pk}"),
            ("delete", f"{RULES}/{rule.pk}"),
            ("post", f"{RULES}/preview"),
        ):
            assert getattr(client, method)(path).status_code in {401, 403}
    watcher = client_of(make_user("watcher", "registry.view_placementrule"))
    assert watcher.get(RULES).status_code == 200
    assert watcher.patch(f"{RULES}/{rule.pk}", {"priority": 1}, format="json").status_code == 403


def test_the_digest_of_what_is_served_is_the_registered_one(register: Register) -> None:
    asset = register()
    path = root_path(asset.root) / asset.relative_path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == asset.checksum_sha256
