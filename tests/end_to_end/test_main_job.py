"""The whole product as real processes brings models of every source to where they belong."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.end_to_end.harness import Running
from tests.origin import Origin
from tests.origin import made_civitai as made
from tests.origin import made_huggingface as hub
from tests.origin.content import Content
from tests.product import wait_for

pytestmark = [
    pytest.mark.processes,
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.timeout(180),
]


def assert_arrived(product: Running, row: dict[str, Any], content: Content) -> dict[str, Any]:
    """The file is where the row says, byte for byte, and its asset says the same."""
    path = product.path_of(row)
    assert path.stat().st_size == content.size_bytes
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == content.sha256
    assert row["actual_hash"] == content.sha256
    assert (row["downloaded_bytes"], row["progress"]) == (content.size_bytes, 1.0)
    asset = product.asset(row["asset_id"])
    assert asset["status"] == "active"
    assert asset["checksum_sha256"] == content.sha256
    assert asset["file_size_bytes"] == content.size_bytes
    return asset


def test_a_civitai_checkpoint_as_recorded(product: Running, sources: Origin) -> None:
    row = product.enqueue(f"{sources.civitai_url}/models/86303/realism")
    row = product.wait(row["id"], "completed")
    asset = assert_arrived(product, row, sources.civitai.file(63240))
    assert (row["hash_verified"], row["hash_mismatch"], row["verification"]) == (
        True, False, "verified",
    )  # fmt: skip
    assert row["target_path"].startswith("/models/")
    assert row["target_path"].endswith("/realism_v10.safetensors")
    assert (asset["name"], asset["asset_type"], asset["base_model"]) == (
        "realism", "checkpoint", "SD 1.5",
    )  # fmt: skip
    assert asset["base_model_family"] == "SD 1.5"
    assert (asset["source_type"], asset["source_model_id"], asset["source_version_id"]) == (
        "civitai", "86303", "91766",
    )  # fmt: skip
    assert asset["creator"] == "jinwenleng163com728"
    assert "photorealistic" in asset["tags"]


def test_a_civitai_lora_behind_a_token(product: Running, sources: Origin) -> None:
    row = product.enqueue(sources.links.lora_with_token)
    refused = product.wait_until(row["id"], lambda row: row["status"] == "failed")
    assert refused["error_code"] == "token_required", refused["error_message"]
    token = product.save_token("civitai", sources.civitai.token)
    assert sources.civitai.token not in str(token)
    product.command("retry", row["id"])
    row = product.wait(row["id"], "completed")
    asset = assert_arrived(product, row, sources.civitai.file(made.TOKEN_LORA_FILE))
    assert (asset["asset_type"], asset["base_model_family"]) == ("lora", "SDXL")
    assert asset["trigger_words"] == ["made style"]
    with_token = sources.log.find(match="/api/download/models/*", site="civitai", status=307)
    assert with_token[-1].authorization == f"Bearer {sources.civitai.token}"
    assert not [entry for entry in sources.log.find(site="cdn") if entry.authorization]


def test_previews_of_an_asset_are_kept(product: Running, sources: Origin) -> None:
    row = product.enqueue(sources.links.checkpoint)
    row = product.wait(row["id"], "completed")
    assert_arrived(product, row, sources.civitai.file(made.CHECKPOINT_FILE))
    asset_id = row["asset_id"]
    pictures = product.data_dir / "previews" / str(asset_id)
    (path,) = wait_for(lambda: list(pictures.glob("*.webp")), "a preview on disk")
    head = path.read_bytes()[:12]
    assert (head[:4], head[8:]) == (b"RIFF", b"WEBP")


def test_a_file_of_the_hub(product: Running, sources: Origin) -> None:
    row = product.enqueue(sources.links.hub_file)
    row = product.wait(row["id"], "completed")
    content = sources.huggingface.file(hub.SINGLE, "made_sdxl_lora.safetensors")
    asset = assert_arrived(product, row, content)
    assert (row["verification"], asset["asset_type"]) == ("verified", "lora")
    assert asset["source_version_id"] == sources.huggingface.repos[hub.SINGLE]["sha"]


def test_a_snapshot_of_the_hub_is_a_bundle(product: Running, sources: Origin) -> None:
    bundle = product.enqueue(sources.links.hub_snapshot)
    assert bundle["is_bundle"] is True
    bundle = product.wait(bundle["id"], "completed", timeout_s=60)
    children = product.children(bundle["id"])
    assert {child["status"] for child in children} == {"completed"}
    folder = "/made--tiny-sdxl-diffusers/"
    paths = {child["target_path"].partition(folder)[2]: child for child in children}
    assert {
        "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    } <= paths.keys()  # fmt: skip
    assert not [path for path in paths if path.endswith((".bin", ".fp16.safetensors"))]
    for path, child in paths.items():
        content = sources.huggingface.file(hub.SNAPSHOT, path)
        assert product.path_of(child).read_bytes() == content.read()
        # Small files have no SHA-256 at the source; their git digest is compared instead.
        assert child["verification"] == "verified", child
    assert bundle["downloaded_bytes"] == sum(child["downloaded_bytes"] for child in children)
    weights = [child for child in children if child["file_role"] == "weights"]
    assert all(product.asset(child["asset_id"])["status"] == "active" for child in weights)


def test_a_private_file_of_the_hub_comes_with_the_token(product: Running, sources: Origin) -> None:
    product.save_token("huggingface", sources.huggingface.token)
    row = product.enqueue(
        f"{sources.huggingface_url}/{hub.PRIVATE}/blob/main/made_private_lora.safetensors"
    )
    row = product.wait(row["id"], "completed")
    content = sources.huggingface.file(hub.PRIVATE, "made_private_lora.safetensors")
    assert_arrived(product, row, content)


def test_a_direct_link(product: Running, sources: Origin) -> None:
    row = product.enqueue(sources.links.direct, model_type="lora", base_model="SDXL 1.0")
    row = product.wait(row["id"], "completed")
    asset = assert_arrived(product, row, sources.direct.file("made_direct_lora_sdxl.safetensors"))
    assert (row["hash_verified"], row["verification"]) == (False, "unverified")
    assert (asset["asset_type"], asset["base_model_family"]) == ("lora", "SDXL")


def test_a_direct_link_whose_query_is_a_secret(product: Running, sources: Origin) -> None:
    row = product.enqueue(sources.links.secret_direct, model_type="lora")
    row = product.wait(row["id"], "completed")
    assert_arrived(product, row, sources.direct.file("made_secret_lora_sdxl.safetensors"))
    assert sources.direct.key not in str(row)


def test_the_same_link_again_is_linked_without_a_byte(product: Running, sources: Origin) -> None:
    first = product.wait(product.enqueue(sources.links.checkpoint)["id"], "completed")
    sources.log.clear()
    again = product.wait(product.enqueue(sources.links.checkpoint)["id"], "completed")
    assert again["asset_id"] == first["asset_id"]
    assert again["id"] != first["id"]
    assert sources.log.find(site="cdn") == []
