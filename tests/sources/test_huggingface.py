"""Every recorded answer of the Hub, and which files of a repository make up the model."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from sources.errors import (
    LicenceRequired,
    NotDownloadable,
    NotFound,
    SourceFormat,
    SourceUnavailable,
    TokenRejected,
    TokenRequired,
    TooLargeForHttp,
)
from sources.huggingface import readme_html
from sources.parse import parse_reference
from sources.refs import Endpoints
from sources.resolution import FileRole, ModelType, Resolution
from tests.sources.fakes import HUB, FakeClient, Reply, recorded, resolver

COMMIT = "a" * 40
TOKEN = Endpoints().credential("huggingface", "canary-token")


def repo(
    *paths: str, sizes: dict[str, int] | None = None, name: str = "o/n", **fields: Any
) -> dict[str, Any]:
    """A repository's info with these files, as `blobs=true` gives it."""
    siblings = [
        {
            "rfilename": path,
            "size": (sizes or {}).get(path, 1000),
            "blobId": hashlib.sha1(path.encode()).hexdigest(),
            "lfs": {
                "sha256": hashlib.sha256(path.encode()).hexdigest(),
                "size": (sizes or {}).get(path, 1000),
            },
        }
        for path in paths
    ]
    return {"id": name, "sha": COMMIT, "siblings": siblings, **fields}


def resolve(
    link: str,
    info: dict[str, Any] | None = None,
    routes: dict[str, Any] | None = None,
    credential: Any = None,
) -> Resolution:
    known = {f"{HUB}/api/models/{info['id']}": info} if info else {}
    client = FakeClient(known | (routes or {}))
    return resolver(client).resolve(parse_reference(link, Endpoints()), credential=credential)


def of_recording(name: str) -> Resolution:
    info = recorded(f"huggingface/{name}.json")
    return resolve(info["id"], info)


SHARDS = tuple(f"model-{n:05}-of-00004.safetensors" for n in range(1, 5))
RECORDED = [
    (
        "model_HuggingFaceH4_zephyr-7b-beta_sharded_2025",
        "other",
        "mistralai/Mistral-7B-v0.1",
        "",
        True,
        "model-00001-of-00008.safetensors",
        16,
        "mit",
    ),
    (
        "model_google_flan-t5-xxl_sharded_2025",
        "text_encoder",
        "",
        "",
        True,
        "model-00001-of-00005.safetensors",
        12,
        "apache-2.0",
    ),
    (
        "model_meta-llama_Llama-3.1-8B-Instruct_gated_manual_2025",
        "other",
        "meta-llama/Llama-3.1-8B",
        "",
        True,
        SHARDS[0],
        10,
        "llama3.1",
    ),
    (
        "model_InvokeAI-test_textual_inversion_blobs_2024",
        "embedding",
        "SDXL 1.0",
        "SDXL",
        False,
        "learned_embeds-steps-1000.safetensors",
        1,
        "creativeml-openrail-m",
    ),
    (
        "model_mcpotato_42-eicar-street_revision_blobs",
        "checkpoint",
        "",
        "",
        False,
        "pytorch_model.bin",
        1,
        "",
    ),
    (
        "model_stabilityai_sdxl-turbo_blobs_2023",
        "checkpoint",
        "SDXL Turbo",
        "SDXL",
        False,
        "sd_xl_turbo_1.0.safetensors",
        1,
        "sai-nc-community",
    ),
    (
        "model_stabilityai_stable-diffusion-2-1_diffusers_2025",
        "checkpoint",
        "SD 2.1",
        "SD 2",
        False,
        "v2-1_768-ema-pruned.safetensors",
        1,
        "openrail++",
    ),
    (
        "model_wzshiming_test_revision_private_redacted_2026",
        "other",
        "",
        "",
        False,
        "regression/ref-lfs.bin",
        1,
        "",
    ),
]


@pytest.mark.parametrize("row", RECORDED, ids=[row[0] for row in RECORDED])
def test_a_recorded_repository_resolves(row: tuple[Any, ...]) -> None:
    name, kind, base, family, is_snapshot, main, count, licence = row
    info = recorded(f"huggingface/{name}.json")

    found = resolve(info["id"], info)

    assert found.name == info["id"]
    assert (found.model_type, found.base_model, found.base_model_family) == (kind, base, family)
    assert found.is_snapshot is is_snapshot
    assert found.folder == (info["id"].replace("/", "--") if is_snapshot else "")
    assert (found.chosen[0], len(found.chosen)) == (main, count)
    assert found.licence.name == licence
    assert found.version_id == info["sha"]
    assert found.reference == f"{HUB}/{info['id']}/tree/{info['sha']}"
    assert all(f"/resolve/{info['sha']}/" in file.url for file in found.files)
    assert Resolution.from_dict(found.as_dict()) == found


def test_sizes_and_digests_come_from_the_blobs() -> None:
    found = of_recording("model_stabilityai_sdxl-turbo_blobs_2023")

    main = found.file("sd_xl_turbo_1.0.safetensors")
    assert main.size_bytes == 13875761366
    assert main.hashes.sha256 == "2e58e3704b4c0831bf848e0507c9b5ff2cd8d007b8d0719dba3874156f631050"
    assert main.hashes.git_sha1 == ""  # that would be the pointer's
    config = found.file("unet/config.json")
    assert config.hashes.sha256 == ""
    assert config.hashes.git_sha1 == "220d7ae3e59ce3484c7eeb47ef2ac9db5097e29a"
    assert config.role is FileRole.COMPANION
    assert found.licence.link.endswith("/LICENSE.TXT")
    assert found.creator == "test_author"
    assert found.stats == {"downloads": 588989, "likes": 1297}


def test_names_alone_are_completed_by_the_tree() -> None:
    info = recorded("huggingface/model_wzshiming_test_revision_private_redacted_2026.json")
    tree = recorded("huggingface/tree_wzshiming_test_recursive_lfs_xet_2026.json")
    routes = {f"{HUB}/api/models/wzshiming/test/tree/{info['sha']}": tree}

    found = resolve("wzshiming/test:regression/ref-lfs.bin", info, routes)

    main = found.file("regression/ref-lfs.bin")
    assert main.size_bytes == 1048576
    assert main.hashes.sha256 == "cd44947308b4b22228767cab8addd523d1de22abd9b23a10808e5fc295202e4f"
    regular = found.file("regression/ref-regular.txt")
    assert regular.hashes.git_sha1 == "e5698f9a721147f2090edf7da4892e23da00d5be"
    assert regular.hashes.sha256 == ""
    assert "private" in found.needs_token


def test_an_answer_without_files_is_completed_by_the_tree() -> None:
    info = recorded("huggingface/model_ByteDance_SDXL-Lightning_expand_2025.json")
    tree = recorded("huggingface/tree_ggerganov_whisper.cpp_main_trimmed_2026.json")

    found = resolve(info["id"], info, {f"{HUB}/api/models/{info['id']}/tree/main": tree})

    assert found.chosen == ("ggml-large-v3-turbo.bin",)
    assert found.base_model == "SDXL Lightning"
    assert found.file("ggml-large-v3-turbo.bin").size_bytes == 1624555275


def test_every_page_of_a_tree_is_read_at_the_configured_host() -> None:
    info = {"id": "o/n", "sha": COMMIT}
    tree = f"{HUB}/api/models/o/n/tree/{COMMIT}"
    entry = {"type": "file", "oid": "b" * 40, "size": 5}
    routes = {
        f"{tree}?recursive=true": Reply(
            [{**entry, "path": "a/x.txt"}],
            headers={
                "Link": f'<https://elsewhere.example/api/models/o/n/tree/{COMMIT}?cursor=2>; rel="next"'
            },
        ),
        f"{tree}?cursor=2": Reply(
            [{**entry, "path": "model.safetensors"}],
            headers={"Link": f'<{tree}?cursor=2>; rel="next"'},
        ),
        f"{HUB}/api/models/o/n": info,
    }
    client = FakeClient(routes)

    found = resolver(client).resolve(parse_reference("o/n", Endpoints()), credential=TOKEN)

    assert found.chosen == ("model.safetensors",)
    assert all(url.startswith(HUB) for url, _ in client.asked)


def test_a_tree_that_fails_leaves_the_sizes_unknown() -> None:
    info = recorded("huggingface/model_meta-llama_Llama-3.1-8B-Instruct_gated_manual_2025.json")
    found = resolve(info["id"], info)
    assert found.file(SHARDS[0]).size_bytes is None
    assert "licence" in found.needs_token


def test_a_renamed_repository_is_kept_under_its_new_id() -> None:
    info = repo("model.safetensors", name="google-bert/bert-base-uncased")

    found = resolve(
        "https://huggingface.co/bert-base-uncased",
        routes={f"{HUB}/api/models/bert-base-uncased": info},
    )

    assert found.model_id == "google-bert/bert-base-uncased"
    assert (
        found.file("model.safetensors").url
        == f"{HUB}/google-bert/bert-base-uncased/resolve/{COMMIT}/model.safetensors"
    )


def test_a_revision_is_asked_for_and_pinned() -> None:
    info = repo("model.safetensors")
    routes = {f"{HUB}/api/models/o/n/revision/refs%2Fpr%2F1": info}

    found = resolve("https://huggingface.co/o/n/tree/refs%2Fpr%2F1", routes=routes)

    assert found.reference == f"{HUB}/o/n/tree/{COMMIT}"
    assert found.version_name == "refs/pr/1"
    assert found.source_url == f"{HUB}/o/n/tree/refs%2Fpr%2F1"


DIFFUSERS = (
    *("model_index.json", "README.md", "logo.png", "model.onnx", "sd.ckpt"),
    *("unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
    *("unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin"),
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    *("vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors"),
    *(
        "text_encoder/config.json",
        "text_encoder/pytorch_model.bin",
        "text_encoder/flax_model.msgpack",
    ),
    *(
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
    ),
    *(
        "text_encoder_2/model.safetensors.index.json",
        "text_encoder_2/model.fp16.safetensors.index.json",
    ),
    *(
        "vae_decoder/model.onnx",
        "vae_decoder/config.json",
        "tokenizer/vocab.json",
        "scheduler/scheduler_config.json",
    ),
)


def test_a_snapshot_has_every_part_once() -> None:
    found = resolve("o/n", repo(*DIFFUSERS, tags=["diffusers:FluxPipeline"]))

    weights = [i for i in found.chosen if found.file(i).role is FileRole.WEIGHTS]
    assert weights == [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
    ]
    assert [i for i in found.chosen if i not in weights] == [
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "text_encoder_2/model.safetensors.index.json",
        "tokenizer/vocab.json",
        "scheduler/scheduler_config.json",
    ]
    assert (found.model_type, found.base_model_family) == (ModelType.CHECKPOINT, "Flux")
    assert found.is_snapshot
    assert found.folder == "o--n"
    assert (
        found.file("unet/diffusion_pytorch_model.safetensors").path
        == "unet/diffusion_pytorch_model.safetensors"
    )
    assert (
        found.file("unet/diffusion_pytorch_model.safetensors").model_type
        is ModelType.DIFFUSION_MODEL
    )
    assert (
        found.file("text_encoder_2/model-00001-of-00002.safetensors").model_type
        is ModelType.TEXT_ENCODER
    )
    assert [preview.url for preview in found.previews] == [f"{HUB}/o/n/resolve/{COMMIT}/logo.png"]


CHOICES = [
    # link, files, chosen, is_snapshot
    (
        "o/n",
        ["a.safetensors", "b.safetensors", "unet/c.safetensors", "model_index.json"],
        ["b.safetensors"],
        False,
    ),
    ("o/n", ["a.ckpt", "b.safetensors"], ["b.safetensors"], False),
    ("o/n", ["a.ckpt", "b.pth", "c.bin"], ["a.ckpt"], False),
    ("o/n", ["pytorch_model.bin", "optimizer.pt", "config.json"], ["pytorch_model.bin"], False),
    (
        "o/n",
        ["x-Q4_K_M.gguf", "x-Q8_0.gguf", "x-Q2_K.gguf", "mmproj-F16.gguf"],
        ["x-Q4_K_M.gguf"],
        False,
    ),
    ("o/n", ["flux1-dev-Q2_K.gguf", "flux1-dev-Q8_0.gguf"], ["flux1-dev-Q8_0.gguf"], False),
    ("hf.co/o/n:Q8_0", ["x-Q4_K_M.gguf", "x.Q8_0.gguf"], ["x.Q8_0.gguf"], False),
    ("hf.co/o/n:q2_k", ["x-Q4_K_M.gguf", "x-Q2_K.gguf"], ["x-Q2_K.gguf"], False),
    ("hf.co/o/n:latest", ["x-Q4_K_M.gguf", "x-Q2_K.gguf"], ["x-Q4_K_M.gguf"], False),
    (
        "hf.co/o/n:Q6_K",
        ["Q6_K/x-Q6_K-00002-of-00002.gguf", "Q6_K/x-Q6_K-00001-of-00002.gguf", "x-Q4_K_M.gguf"],
        ["Q6_K/x-Q6_K-00001-of-00002.gguf", "Q6_K/x-Q6_K-00002-of-00002.gguf"],
        True,
    ),
    ("hf.co/o/n:x-Q2_K.gguf", ["x-Q4_K_M.gguf", "x-Q2_K.gguf"], ["x-Q2_K.gguf"], False),
    ("o/n:vae/m.safetensors", ["a.safetensors", "vae/m.safetensors"], ["vae/m.safetensors"], False),
    (
        "https://huggingface.co/o/n/tree/main/vae",
        ["a.safetensors", "vae/m.safetensors", "vae/config.json"],
        ["vae/m.safetensors"],
        False,
    ),
    ("o/n", ["deep/er/m.safetensors", "README.md"], ["deep/er/m.safetensors"], False),
    (
        "o/n",
        ["a/m.safetensors", "b/m.safetensors", "b/config.json"],
        ["a/m.safetensors", "b/m.safetensors", "b/config.json"],
        True,
    ),
    (
        "o/n",
        [
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
            "config.json",
        ],
        [
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
            "config.json",
        ],
        True,
    ),
    (
        "o/n",
        [
            "model.fp16-00001-of-00001.safetensors",
            "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
            "model.safetensors.index.fp16.json",
        ],
        [
            "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
            "model.safetensors.index.fp16.json",
        ],
        True,
    ),
]


@pytest.mark.parametrize(
    ("link", "paths", "chosen", "is_snapshot"), CHOICES, ids=range(len(CHOICES))
)
def test_which_files_make_up_the_model(
    link: str, paths: list[str], chosen: list[str], is_snapshot: bool
) -> None:
    sizes = {path: 1000 + number for number, path in enumerate(paths)}

    found = resolve(link, repo(*paths, sizes=sizes))

    assert list(found.chosen) == chosen
    assert found.is_snapshot is is_snapshot
    assert {file.path for file in found.files} == (
        {""} if not is_snapshot else {file.file_id for file in found.files}
    )


def test_a_missing_part_is_said() -> None:
    found = resolve("o/n", repo("m-00001-of-00003.safetensors", "m-00003-of-00003.safetensors"))
    assert found.warnings == ("The repository holds only 2 of 3 parts.",)


def test_one_part_by_name_is_that_part_with_a_warning() -> None:
    found = resolve(
        "o/n:m-00001-of-00003.safetensors",
        repo("m-00001-of-00003.safetensors", "m-00002-of-00003.safetensors"),
    )
    assert found.chosen == ("m-00001-of-00003.safetensors",)
    assert found.warnings == ("This is one part of 3.",)


@pytest.mark.parametrize(
    ("link", "error", "words"),
    [
        ("o/n:nope.safetensors", NotFound, "model.safetensors"),
        ("hf.co/o/n:Q4_K_M", NotFound, "no GGUF files"),
        ("https://huggingface.co/o/n/tree/main/nope", NotFound, "model.safetensors"),
    ],
)
def test_what_is_not_in_the_repository_names_what_is(
    link: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        resolve(link, repo("model.safetensors"))


def test_a_repository_without_models_says_so() -> None:
    tree = recorded("huggingface/tree_google_magenta-realtime_main_2025.json")
    info = {"id": "google/magenta-realtime", "sha": COMMIT}
    routes = {f"{HUB}/api/models/google/magenta-realtime/tree/{COMMIT}": tree}

    with pytest.raises(NotDownloadable, match=r"notebook\.ipynb"):
        resolve("google/magenta-realtime", info, routes)


@pytest.mark.parametrize("size", [50_000_000_001, 5 * 10**12])
def test_files_over_fifty_gigabytes_are_refused_with_a_code(size: int) -> None:
    with pytest.raises(TooLargeForHttp) as caught:
        resolve("o/n", repo("model.safetensors", sizes={"model.safetensors": size}))

    assert caught.value.code == "too_large_for_http"
    assert resolve(
        "o/n:small.safetensors",
        repo("model.safetensors", "small.safetensors", sizes={"model.safetensors": size}),
    )


def test_hidden_and_climbing_paths_are_not_offered() -> None:
    found = resolve(
        "o/n",
        repo(
            "model.safetensors",
            ".gitattributes",
            "../x.bin",
            "/abs.bin",
            "a\\b.bin",
            "a\x00.bin",
            "a//b.bin",
        ),
    )
    assert [file.file_id for file in found.files] == ["model.safetensors"]


def test_many_files_are_offered_up_to_a_bound_and_the_chosen_first() -> None:
    paths = [f"f{number:05}.txt" for number in range(3000)]
    found = resolve("o/n", repo(*paths, "z.safetensors"))
    assert len(found.files) == 2000
    assert found.files[0].file_id == "z.safetensors"


INFERRED = [
    ({"tags": ["lora", "text-to-image"], "pipeline_tag": "text-to-image"}, "x.safetensors", "lora"),
    (
        {"tags": ["base_model:adapter:stabilityai/stable-diffusion-xl-base-1.0"]},
        "x.safetensors",
        "lora",
    ),
    ({"library_name": "peft"}, "adapter_model.safetensors", "lora"),
    ({"tags": ["textual_inversion"]}, "x.safetensors", "embedding"),
    ({"tags": ["textual-inversion"]}, "x.safetensors", "embedding"),
    ({"tags": ["controlnet"]}, "x.safetensors", "controlnet"),
    ({"config": {"diffusers": {"_class_name": "AutoencoderKL"}}}, "x.safetensors", "vae"),
    ({"config": {"diffusers": {"_class_name": "ControlNetModel"}}}, "x.safetensors", "controlnet"),
    (
        {"config": {"diffusers": {"_class_name": "FluxTransformer2DModel"}}},
        "x.safetensors",
        "diffusion_model",
    ),
    ({"tags": ["diffusers:StableDiffusionPipeline"]}, "x.safetensors", "checkpoint"),
    ({}, "ae_vae.safetensors", "vae"),
    ({}, "4x-UltraSharp.pth", "upscaler"),
    ({}, "RealESRGAN_x4plus.pth", "upscaler"),
    ({}, "clip_l.safetensors", "text_encoder"),
    ({}, "t5xxl_fp16.safetensors", "text_encoder"),
    ({}, "face_yolov8n.pt", "detection"),
    ({}, "flux1-dev-Q4_0.gguf", "diffusion_model"),
    ({"pipeline_tag": "text-generation"}, "model.safetensors", "other"),
    ({"pipeline_tag": "automatic-speech-recognition"}, "ggml.bin", "other"),
    ({"config": {"model_type": "t5"}}, "model.safetensors", "text_encoder"),
    ({"tags": None, "config": None, "pipeline_tag": None}, "model.safetensors", "checkpoint"),
]


@pytest.mark.parametrize(
    ("fields", "path", "kind"), INFERRED, ids=[f"{row[1]}-{row[2]}" for row in INFERRED]
)
def test_the_type_is_inferred(fields: dict[str, Any], path: str, kind: str) -> None:
    assert resolve("o/n", repo(path, **fields)).model_type == kind


def header(*names: str) -> bytes:
    text = json.dumps(
        {name: {"dtype": "F16", "shape": [4, 2048], "data_offsets": [0, 0]} for name in names}
    ).encode()
    return len(text).to_bytes(8, "little") + text


LORA = header("lora_unet_a_attn2_to_k.lora_down.weight")


@pytest.mark.parametrize(
    ("fields", "path", "kind", "base"),
    [
        ({}, "mine.safetensors", "lora", "SDXL 1.0"),
        (
            {"tags": ["base_model:runwayml/stable-diffusion-v1-5"]},
            "a.safetensors",
            "lora",
            "SD 1.5",
        ),
        # What somebody has said is left to the check of the bytes.
        ({"tags": ["vae"]}, "mine.safetensors", "vae", ""),
        ({}, "checkpoints/mine.safetensors", "checkpoint", ""),
        ({"gated": "auto"}, "mine.safetensors", "checkpoint", ""),
    ],
)
def test_where_nobody_tells_the_type_the_file_s_own_header_does(
    fields: dict[str, Any], path: str, kind: str, base: str
) -> None:
    routes = {f"{HUB}/o/n/resolve/{COMMIT}/{path}": Reply(LORA, 206)}

    found = resolve("o/n", repo(path, **fields), routes)

    assert (found.model_type, found.base_model) == (kind, base)
    assert found.file(path).model_type == kind


def test_the_main_part_of_a_snapshot_comes_first() -> None:
    paths = ("model_index.json", "safety_checker/a.safetensors", "text_encoder/a.safetensors",
             "transformer/a.safetensors", "vae/a.safetensors")  # fmt: skip
    assert resolve("o/n", repo(*paths)).chosen[0] == "transformer/a.safetensors"


@pytest.mark.parametrize(
    ("fields", "base", "family"),
    [
        ({"tags": ["base_model:black-forest-labs/FLUX.1-dev"]}, "Flux.1 D", "Flux"),
        (
            {"tags": ["base_model:adapter:stabilityai/stable-diffusion-xl-base-1.0"]},
            "SDXL 1.0",
            "SDXL",
        ),
        ({"cardData": {"base_model": "runwayml/stable-diffusion-v1-5"}}, "SD 1.5", "SD 1.5"),
        (
            {"cardData": {"base_model": ["stabilityai/stable-diffusion-2-1", "x/y"]}},
            "SD 2.1",
            "SD 2",
        ),
        ({"cardData": {"base_model": "some/thing"}}, "some/thing", ""),
        ({"cardData": {"base_model": "old/name"}, "tags": ["base_model:new/name"]}, "new/name", ""),
        ({"tags": ["diffusers:StableDiffusionXLPipeline"]}, "SDXL 1.0", "SDXL"),
        ({"cardData": {"base_model": {"x": 1}}}, "", ""),
    ],
)
def test_the_base_model_is_inferred(fields: dict[str, Any], base: str, family: str) -> None:
    found = resolve("o/n", repo("m.safetensors", **fields))
    assert (found.base_model, found.base_model_family) == (base, family)


def test_the_card_gives_trigger_words_and_pictures() -> None:
    card = {
        "instance_prompt": "TOK style",
        "widget": [
            {"output": {"url": "images/a b.png"}},
            {"output": {"url": "https://x.example/b.webp"}},
            {"output": {"url": "../../c.png"}},
        ],
        "license": "other",
        "license_name": "flux-dev",
    }
    found = resolve(
        "o/n", repo("m.safetensors", cardData=card, tags=["not-for-all-audiences", "anime"])
    )

    assert found.trigger_words == ("TOK style",)
    assert [preview.url for preview in found.previews] == [
        f"{HUB}/o/n/resolve/{COMMIT}/images/a%20b.png",
        "https://x.example/b.webp",
    ]
    assert found.licence.name == "flux-dev"
    assert found.nsfw
    assert found.tags == ("not-for-all-audiences", "anime")


def test_the_readme_becomes_harmless_paragraphs() -> None:
    info = repo("m.safetensors", "README.md")
    text = b"---\nlicense: mit\n---\n# Title\n\nSome **bold** [link](javascript:x) <script>x</script>\n\n```\ncode\n```\n"

    found = resolve("o/n", info, {f"{HUB}/o/n/resolve/{COMMIT}/README.md": text})

    assert found.description == "<p>Title</p>\n<p>Some bold link x</p>"
    assert readme_html("a & <b>\n\n" + "x " * 50_000).startswith("<p>a &amp;</p>")


@pytest.mark.parametrize(
    ("reply", "credential", "error"),
    [
        (Reply({"error": "Invalid username or password."}, 401), None, TokenRequired),
        (Reply({"error": "Invalid username or password."}, 401), TOKEN, TokenRejected),
        (Reply({"error": "x"}, 401, {"X-Error-Code": "GatedRepo"}), None, TokenRequired),
        (Reply({"error": "x"}, 403, {"X-Error-Code": "GatedRepo"}), TOKEN, LicenceRequired),
        (
            Reply(
                {
                    "error": "Access to model x/y is restricted and you are not in the authorized list."
                },
                403,
            ),
            TOKEN,
            LicenceRequired,
        ),
        (Reply({"error": "x"}, 403), TOKEN, TokenRejected),
        (
            Reply({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"}),
            TOKEN,
            NotFound,
        ),
        (
            Reply({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"}),
            None,
            NotFound,
        ),
        (Reply("Entry not found", 404, {"X-Error-Code": "EntryNotFound"}), None, NotFound),
        (Reply({"error": "x"}, 429, {"RateLimit": '"api";r=0;t=201'}), None, SourceUnavailable),
        (Reply({"error": "x"}, 504), None, SourceUnavailable),
        (Reply({"error": "x"}, 400), None, SourceFormat),
        (Reply({"error": "x"}, 451), None, NotDownloadable),
        (Reply([]), None, SourceFormat),
        (Reply({"id": "o/n", "disabled": True}), None, NotDownloadable),
    ],
)
def test_refusals_have_their_own_meanings(
    reply: Reply, credential: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        resolve("o/n", routes={f"{HUB}/api/models/o/n": reply}, credential=credential)

    assert "canary" not in str(caught.value)


def test_a_gated_repository_is_tried_with_the_token() -> None:
    info = repo("m.safetensors", gated="manual")
    refusal = Reply({"error": "x"}, 403, {"X-Error-Code": "GatedRepo"})
    file_url = f"{HUB}/o/n/resolve/{COMMIT}/m.safetensors"

    with pytest.raises(LicenceRequired, match=r"huggingface\.co/o/n") as caught:
        resolve("o/n", info, {file_url: refusal}, credential=TOKEN)

    assert caught.value.details["page_url"] == f"{HUB}/o/n"
    assert "licence" in resolve("o/n", info, {file_url: b"x"}, credential=TOKEN).needs_token
    assert "licence" in resolve("o/n", info, {file_url: refusal}).needs_token


def test_a_file_of_a_data_set_has_its_own_links() -> None:
    info = repo("a.safetensors", "b.txt")
    found = resolve(
        "https://huggingface.co/datasets/o/n/blob/main/a.safetensors",
        routes={f"{HUB}/api/datasets/o/n": info},
    )
    assert found.file("a.safetensors").url == f"{HUB}/datasets/o/n/resolve/{COMMIT}/a.safetensors"
    assert found.reference == f"{HUB}/datasets/o/n/blob/{COMMIT}/a.safetensors"


def test_a_file_is_located_anew_at_the_pinned_commit() -> None:
    info = repo("m.safetensors")
    routes = {f"{HUB}/api/models/o/n/revision/{COMMIT}": info}

    file = resolver(FakeClient(routes)).locate(
        parse_reference(f"{HUB}/o/n/tree/{COMMIT}", Endpoints()), file_id="m.safetensors"
    )

    assert file.url == f"{HUB}/o/n/resolve/{COMMIT}/m.safetensors"
