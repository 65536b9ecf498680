"""Repositories that nobody recorded: the shape is that of 2026, the content is made up.

Owners are `made` or those that the recorded redirects lead to.
"""

from __future__ import annotations

import hashlib
from typing import Any

SINGLE = "made/sdxl-lora"
SNAPSHOT = "made/tiny-sdxl-diffusers"
SHARDED = "made/sharded-language-model"
GATED = "made/gated-checkpoint"
GATED_AUTO = "made/gated-auto"
PRIVATE = "made/private-lora"
GGUF = "made/flux-gguf"
MALICIOUS = "made/malicious-pickle"
MANY_FILES = "made/many-files"
HUGE = "made/too-big-for-http"
#: A branch with a slash that `SINGLE` has beside `main`.
SLASH_REVISION = "refs/pr/1"
#: Old name → new name; the first two are recorded.
RENAMED = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "meta-llama/Meta-Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "made/old-name": SINGLE,
}


def repositories() -> list[dict[str, Any]]:
    """Model information with `siblings` that carry the names only."""
    diffusers = [
        "model_index.json", "README.md",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt", "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin",
    ]  # fmt: skip
    shards = [f"model-{n:05}-of-00003.safetensors" for n in (1, 2, 3)]
    many = [f"extra/wildcards_{n:03}.txt" for n in range(1, 61)]
    return [
        information(
            SINGLE, ["made_sdxl_lora.safetensors", "README.md", "preview.png"],
            ["lora", "diffusers", "base_model:adapter:stabilityai/stable-diffusion-xl-base-1.0"],
            card={
                "base_model": "stabilityai/stable-diffusion-xl-base-1.0",
                "instance_prompt": "made style", "license": "openrail++",
            },
            pipeline="text-to-image",
        ),
        information(
            SNAPSHOT, diffusers, ["diffusers", "diffusers:StableDiffusionXLPipeline", "safetensors"],
            card={"license": "openrail++"}, pipeline="text-to-image", library="diffusers",
        ),
        information(
            SHARDED, [*shards, "model.safetensors.index.json", "config.json", "README.md"],
            ["transformers", "safetensors"], card={"license": "apache-2.0"},
            pipeline="text-generation", library="transformers",
        ),
        information(
            GATED, ["made_gated_sdxl.safetensors", "README.md"], ["diffusers"],
            card={"license": "other", "license_name": "made-licence"}, gated="manual",
        ),
        information(GATED_AUTO, ["made_gated_sd15.safetensors"], ["diffusers"], gated="auto"),
        information(
            PRIVATE, ["made_private_lora.safetensors", "README.md"], ["lora"], private=True
        ),
        information(GGUF, ["made-flux-Q4_K_S.gguf", "made-flux-Q8_0.gguf", "README.md"], ["gguf"]),
        information(MALICIOUS, ["made_malicious.ckpt"], ["stable-diffusion"]),
        information(MANY_FILES, ["made_sd15.safetensors", *many], ["stable-diffusion"]),
        information(HUGE, ["made_huge_language.safetensors"], ["transformers"]),
        information(
            "google-bert/bert-base-uncased", ["model.safetensors", "config.json", "vocab.txt"],
            ["transformers", "bert"],
        ),
    ]  # fmt: skip


def information(
    name: str, paths: list[str], tags: list[str], *, card: dict[str, Any] | None = None,
    gated: str | bool = False, private: bool = False, pipeline: str = "", library: str = "",
) -> dict[str, Any]:  # fmt: skip
    info: dict[str, Any] = {
        "_id": hashlib.sha256(name.encode()).hexdigest()[:24],
        "id": name,
        "modelId": name,
        "author": name.partition("/")[0],
        "sha": hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(),
        "lastModified": "2026-03-01T10:00:00.000Z",
        "createdAt": "2026-02-01T10:00:00.000Z",
        "private": private,
        "gated": gated,
        "disabled": False,
        "downloads": 10,
        "likes": 5,
        "tags": [*tags, "region:us"],
        "cardData": card or {},
        "siblings": [{"rfilename": path} for path in sorted(paths)],
        "usedStorage": 0,
    }
    if pipeline:
        info["pipeline_tag"] = pipeline
    if library:
        info["library_name"] = library
    return info
