"""Answers that nobody here recorded, from a server that can do little: pull them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from registry.models import Asset
from tests.acceptance import bodies
from tests.acceptance.naive import COMMIT, Reply, World, recorded, sha256
from tests.downloads.driving import model_files

Pull = Callable[..., dict[str, Any]]

TINY = bodies.safetensors()
CONFIG = b"model:\n  target: x\n"
VAE = {"body": bodies.torch(v=1), "name": "m.vae.pt", "type": "VAE"}
MAIN = {"body": TINY, "name": "m.safetensors", "primary": True}


def summary(answer: dict[str, Any]) -> tuple[Any, ...]:
    return answer["exit_code"], answer.get("model_type"), answer.get("target_path")


# --- CivitAI --------------------------------------------------------------------------------------
@pytest.mark.parametrize("routes", ["both", "model", "version"])
@pytest.mark.parametrize("redirect", [True, False])
def test_either_of_the_two_answers_is_enough(
    world: World, pull: Pull, models_dir: Path, routes: str, redirect: bool
) -> None:
    link = world.model([MAIN], routes=routes, redirect=redirect)
    answer = pull(link)
    assert summary(answer) == (0, "lora", "/models/loras/sdxl/m.safetensors")
    assert (answer["hash_verified"], answer["verification"]) == (True, "verified")
    assert (models_dir / "loras/sdxl/m.safetensors").read_bytes() == TINY
    # One byte to see who may have it, and the file.
    assert world.civitai.asked.count("/api/download/models/601") == 2


@pytest.mark.parametrize(
    ("kind", "base", "file_and_path"),
    [
        ("DoRA", "Pony", ({"body": TINY, "name": "d.safetensors"}, "loras/sdxl/d.safetensors")),
        ("LoCon", "SD 1.5 LCM", ({"body": TINY, "name": "l.safetensors"}, "loras/sd15/l.safetensors")),
        ("Checkpoint", "Flux.1 Krea", ({"body": bodies.gguf(), "name": "k.gguf"}, "checkpoints/flux/k.gguf")),
        ("VAE", "SD 1.5", ({"body": bodies.torch(v=1), "name": "v.pt"}, "vae/v.pt")),
        ("Upscaler", "Other", ({"body": bodies.torch(v=1), "name": "4x.pth"}, "upscale_models/4x.pth")),
        ("Workflows", "Other", ({"body": b'{"nodes":[]}', "name": "w.json", "type": "Workflow"}, "workflows/w.json")),
        ("Wildcards", "Other", ({"body": b"red\nblue\n", "name": "w.txt"}, "wildcards/w.txt")),
        ("Other", "Other", ({"body": bodies.zipped({"a.txt": b"x"}), "name": "o.zip", "type": "Archive"}, "other/o.zip")),
        ("LORA", "SDXL 1.0", ({"body": TINY, "name": "Detailer v1.5"}, "loras/sdxl/Detailer v1.5.safetensors")),
        ("LORA", "Brand New 9", ({"body": TINY, "name": "n.safetensors"}, "loras/n.safetensors")),
    ],
)  # fmt: skip
def test_every_kind_finds_its_folder(
    world: World, pull: Pull, kind: str, base: str, file_and_path: tuple[dict[str, Any], str]
) -> None:
    file, path = file_and_path
    answer = pull(world.model([{**file, "primary": True}], kind=kind, base=base))
    assert (answer["exit_code"], answer["target_path"]) == (0, f"/models/{path}")
    assert answer["base_model"] == base


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ([VAE, MAIN], "m.safetensors"),
        ([VAE, {**MAIN, "primary": False}], "m.safetensors"),
        ([{**VAE, "type": "Model", "primary": True}, MAIN], "m.safetensors"),
        ([{"body": b"PK", "name": "t.zip", "type": "Training Data", "primary": True}, MAIN], "m.safetensors"),
        ([{"body": CONFIG, "name": "m.yaml", "type": "Config"}, {**MAIN, "metadata": None}], "m.safetensors"),
        ([VAE], "m.vae.pt"),
    ],
    ids=["a VAE first", "no primary", "two primaries", "training data", "a config first", "only a VAE"],
)  # fmt: skip
def test_the_main_file_is_found(
    world: World, pull: Pull, files: list[dict[str, Any]], name: str
) -> None:
    answer = pull(world.model(files, kind="Checkpoint"))
    assert (answer["exit_code"], answer["file_name"]) == (0, name), answer["message"]


def test_what_is_missing_stays_unknown(world: World, pull: Pull) -> None:
    file = {**MAIN, "hashes": {}, "sizeKB": None, "metadata": None, "scannedAt": None}
    nothing = dict.fromkeys(("trainedWords", "stats", "images", "description", "baseModelType"))
    answer = pull(world.model([file], base="", paidAccess=None, licensingFee=None, **nothing))
    assert summary(answer) == (0, "lora", "/models/loras/m.safetensors")
    assert (answer["hash_verified"], answer["verification"]) == (False, "unverified")


def test_bytes_that_are_not_the_recorded_ones(world: World, pull: Pull, models_dir: Path) -> None:
    answer = pull(world.model([{**MAIN, "hashes": {"SHA256": "AB" * 32}, "sizeKB": 18829.1}]))
    assert (answer["exit_code"], answer["status"]) == (6, "completed")
    assert (answer["hash_verified"], answer["hash_mismatch"]) == (True, True)
    assert Asset.objects.get().status == "flagged"
    assert model_files(models_dir) == []


@pytest.mark.parametrize(
    ("status", "body", "end"),
    [
        (401, {"message": "The creator of this asset requires you to be logged in to download it"},
         (3, "token_required")),
        (401, {"message": "The creator has disabled downloads on this file"}, (4, "not_downloadable")),
        (403, {"error": "Early Access", "message": "paid"}, (3, "early_access")),
        (410, {"error": "Model archived, not available for download"}, (4, "not_downloadable")),
        (200, {"error": "Something broke"}, (6, "not_a_model_file")),
    ],
)  # fmt: skip
def test_refusals_of_the_download_route(
    world: World, pull: Pull, status: int, body: dict[str, str], end: tuple[int, str]
) -> None:
    link = world.model([MAIN])
    world.refuse_download(status, **body)
    answer = pull(link)
    assert (answer["exit_code"], answer.get("error_code") or answer["code"]) == end


def test_early_access_waits_for_its_moment(world: World, pull: Pull) -> None:
    ends = (timezone.now() + timedelta(days=2)).isoformat()
    answer = pull(world.model([MAIN], paidAccess={"permanent": False, "endsAt": ends}))
    assert (answer["exit_code"], answer["status"]) == (3, "parked")


# --- The Hub --------------------------------------------------------------------------------------
PIPELINE = {
    "model_index.json": b'{"_class_name": "StableDiffusionXLPipeline"}',
    "README.md": b"# A model\n\nMade for nobody.",
    "text_encoder/model.safetensors": TINY,
    "unet/config.json": b'{"a": 1}',
    "unet/diffusion_pytorch_model.safetensors": TINY,
    "unet/diffusion_pytorch_model.bin": bodies.torch(v=1),
    "vae/diffusion_pytorch_model.safetensors": TINY,
}


def test_a_pipeline_lies_whole_in_one_folder(world: World, pull: Pull, models_dir: Path) -> None:
    link = world.repo("some/pipe", PIPELINE, tags=["diffusers:StableDiffusionXLPipeline"])
    answer = pull(link)
    assert answer["exit_code"] == 0
    assert answer["message"].startswith("5 files of some/pipe are in ")
    folder = models_dir / "checkpoints/sdxl/some--pipe"
    wanted = {path for path in PIPELINE if not path.endswith((".md", ".bin"))}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == wanted
    # Equal bytes in two places are two assets, each with the type of its part.
    types = set(Asset.objects.values_list("relative_path", "asset_type"))
    assert {kind for _path, kind in types} == {"diffusion_model", "vae", "text_encoder"}
    assert len(types) == 3


@pytest.mark.parametrize(
    ("files", "fields", "end"),
    [
        ({"adapter_model.safetensors": TINY, "adapter_config.json": b"{}"}, {"library_name": "peft"}, ("", ("lora", "/models/loras/adapter_model.safetensors"))),
        ({"style.safetensors": bodies.safetensors("lora_unet_x.lora_up.weight")}, {}, ("", ("lora", "/models/loras/style.safetensors"))),
        ({"a-Q2_K.gguf": bodies.gguf("a"), "a-Q8_0.gguf": bodies.gguf("b")}, {}, (":Q8_0", ("diffusion_model", "/models/diffusion_models/a-Q8_0.gguf"))),
        ({"v1-5-pruned.ckpt": bodies.torch(v=1), "c.yaml": CONFIG}, {}, ("", ("checkpoint", "/models/checkpoints/sd15/v1-5-pruned.ckpt"))),
        ({"split/vae/a.safetensors": TINY, "b.txt": b"x"}, {"blobs": False}, ("/blob/main/split/vae/a.safetensors", ("vae", "/models/vae/a.safetensors"))),
        ({"x y é.safetensors": TINY}, {"tags": ["lora"], "revision": "main"}, ("", ("lora", "/models/loras/x y é.safetensors"))),
    ],
    ids=["adapter", "untagged", "quant", "ckpt", "names only", "no commits"],
)  # fmt: skip
def test_repositories(
    world: World, pull: Pull, files: dict[str, bytes], fields: dict[str, Any], end: Any
) -> None:
    link, expected = end
    page = world.repo("some/repo", files, **fields)
    answer = pull(f"{page}{link}")
    assert summary(answer) == (0, *expected), answer["message"]
    assert answer["verification"] == "verified"


@pytest.mark.parametrize(
    ("refusal", "where", "exit_code"),
    [
        ((404, "RepoNotFound"), "/api/models/some/repo", 4),
        ((401, ""), "/api/models/some/repo", 3),
        ((403, "GatedRepo"), "/api/models/some/repo", 3),
        ((401, "GatedRepo"), f"/some/repo/resolve/{COMMIT}/m.safetensors", 3),
        ((404, "EntryNotFound"), f"/some/repo/resolve/{COMMIT}/m.safetensors", 4),
    ],
)
def test_refusals_of_the_hub(
    world: World, pull: Pull, refusal: tuple[int, str], where: str, exit_code: int
) -> None:
    status, code = refusal
    link = world.repo("some/repo", {"m.safetensors": TINY})
    headers = {"X-Error-Code": code} if code else {}
    world.hub.routes[where] = Reply(b'{"error": "no"}', status, headers)
    answer = pull(link)
    assert answer["exit_code"] == exit_code
    assert "/" not in answer["message"].replace("https://huggingface.co/some/repo", "")


def test_a_recorded_repository_with_other_bytes_is_an_integrity_failure(
    world: World, pull: Pull, models_dir: Path
) -> None:
    info = recorded("huggingface/model_stabilityai_sdxl-turbo_blobs_2023")
    world.hub.routes[f"/api/models/{info['id']}"] = info
    path = f"/{info['id']}/resolve/{info['sha']}/sd_xl_turbo_1.0.safetensors"
    world.hub.routes[path] = TINY
    answer = pull(info["id"])
    assert (answer["exit_code"], answer["status"]) == (6, "failed")
    assert answer["error_code"] == "size_mismatch"
    assert model_files(models_dir) == []


def test_pages_of_a_tree_are_followed(world: World, pull: Pull) -> None:
    files = {f"{number}.json": b"{}" for number in range(3)} | {"z.safetensors": TINY}
    link = world.repo("some/repo", files, blobs=False)
    path = f"/api/models/some/repo/tree/{COMMIT}"
    tree: Any = world.hub.routes[path]
    info: Any = world.hub.routes["/api/models/some/repo"]
    del info["siblings"]

    def page(asked: str) -> Reply:
        number = int(asked.partition("cursor=")[2] or 0)
        following = f'<https://huggingface.co{path}?recursive=true&cursor={number + 1}>; rel="next"'
        headers = {"Link": following} if number + 1 < len(tree) else {}
        return Reply(json.dumps(tree[number : number + 1]).encode(), headers=headers)

    world.hub.routes[path] = page
    assert pull(link)["file_name"] == "z.safetensors"


# --- Plain links ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("route", "exit_code", "code"),
    [
        (Reply(TINY, sizeless=True), 0, ""),
        (Reply(b"<html>Log in", headers={"Content-Type": "text/html"}), 6, "not_a_model_file"),
        (Reply(TINY[:-3]), 6, "not_a_model_file"),
        (Reply(b""), 6, "not_a_model_file"),
        (Reply(status=403), 3, "token_required"),
        (Reply(status=410), 4, "not_found_at_source"),
        (Reply(status=302, headers={"Location": "http://10.0.0.1/x"}), 2, "redirect_refused"),
    ],
)
def test_plain_links(world: World, pull: Pull, route: Reply, exit_code: int, code: str) -> None:
    world.files.routes["/x.safetensors"] = route
    answer = pull(f"{world.files.url}/x.safetensors")
    assert answer["exit_code"] == exit_code, answer["message"]
    assert (answer.get("error_code") or answer.get("code", "")) == code


# --- What a person says ---------------------------------------------------------------------------
def test_duplicates_as_they_are_wanted(world: World, pull: Pull, models_dir: Path) -> None:
    link = world.model([MAIN])
    first = pull(link)
    place = "loras/sdxl/m.safetensors"
    assert pull(link, on_duplicate="link")["asset_id"] == first["asset_id"]
    assert pull(link, on_duplicate="skip")["status"] == "cancelled"
    assert pull(link, on_duplicate="overwrite")["asset_id"] == first["asset_id"]
    assert model_files(models_dir) == [place]
    assert pull(link, on_duplicate="keep")["target_path"].endswith("/m-2.safetensors")
    assert pull(link, expected_hash=sha256(TINY))["exit_code"] == 0
    assert pull(link, expected_hash="ab" * 32)["exit_code"] == 6


def test_a_type_that_a_person_says_needs_no_check(world: World, pull: Pull) -> None:
    world.files.routes["/x.safetensors"] = TINY
    link = f"{world.files.url}/x.safetensors"
    assert "check the type" in pull(link)["warnings"][0]
    assert pull(link, model_type="vae", on_duplicate="keep")["warnings"] == []


def test_words_of_a_person_beat_the_source(world: World, pull: Pull) -> None:
    link = world.model([MAIN, {**VAE, "primary": False}])
    answer = pull(link, model_type="embedding", base_model="Pony", model_name="Ünïcode 🔥 / x")
    assert summary(answer) == (0, "embedding", "/models/embeddings/m.safetensors")
    assert Asset.objects.get().name == "Ünïcode 🔥 / x"
    assert summary(pull(link, files=["7002"])) == (0, "vae", "/models/vae/m.vae.pt")
    assert pull(link, files=["1"])["exit_code"] == 2
    assert pull(link, review=True, on_duplicate="keep")["status"] == "review"
