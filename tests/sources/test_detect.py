"""What safetensors headers say: trainers' words, tensors' names and shapes, and nonsense."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.detect import Detected, detect_safetensors


def header(shapes: dict[str, list[int]], **metadata: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = {
        name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in shapes.items()
    }
    return {"__metadata__": metadata, **tensors} if metadata else tensors


SD1_UNET = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
SDXL_UNET = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
KOHYA = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight"

KEYS = [
    (
        {SD1_UNET: [320, 768], "first_stage_model.encoder.conv_in.weight": [128, 3, 3, 3]},
        "checkpoint",
        "SD 1.5",
    ),
    ({SD1_UNET: [320, 1024], "cond_stage_model.model.x": [1]}, "checkpoint", "SD 2.1"),
    ({SDXL_UNET: [640, 2048], "conditioner.embedders.1.model.x": [1]}, "checkpoint", "SDXL 1.0"),
    ({SDXL_UNET: [640, 2048]}, "diffusion_model", "SDXL 1.0"),
    (
        {"double_blocks.0.img_attn.qkv.weight": [1], "guidance_in.in_layer.weight": [1]},
        "diffusion_model",
        "Flux.1 D",
    ),
    ({"double_blocks.0.img_attn.qkv.weight": [1]}, "diffusion_model", "Flux.1 S"),
    (
        {
            "model.diffusion_model.double_blocks.0.x": [1],
            "model.diffusion_model.guidance_in.x": [1],
            "vae.decoder.x": [1],
        },
        "checkpoint",
        "Flux.1 D",
    ),
    (
        {"double_blocks.0.x": [1], "double_stream_modulation_img.lin.weight": [1]},
        "diffusion_model",
        "Flux.2 D",
    ),
    ({"model.diffusion_model.joint_blocks.0.context_block.x": [1]}, "diffusion_model", "SD 3"),
    ({"joint_blocks.37.x_block.x": [1]}, "diffusion_model", "SD 3.5 Large"),
    ({"joint_blocks.1.x_block.attn2.x": [1]}, "diffusion_model", "SD 3.5 Medium"),
    (
        {"blocks.0.cross_attn.k.weight": [1], "blocks.0.self_attn.q.weight": [1]},
        "diffusion_model",
        "Wan Video",
    ),
    (
        {
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": [640, 2048],
            "conv_in.weight": [320, 4, 3, 3],
            "time_embedding.linear_1.weight": [1],
        },
        "diffusion_model",
        "SDXL 1.0",
    ),
    ({KOHYA: [16, 2048]}, "lora", "SDXL 1.0"),
    ({KOHYA: [16, 768]}, "lora", "SD 1.5"),
    ({"lora_te2_text_model_x.lora_down.weight": [16, 1280]}, "lora", "SDXL 1.0"),
    ({"unet.down_blocks.1.attn2.to_k.lora_A.weight": [4, 2048]}, "lora", "SDXL 1.0"),
    ({"unet.mid.attn2.processor.to_k_lora.down.weight": [4, 768]}, "lora", "SD 1.5"),
    (
        {"lora_unet_x_attn2_to_k.hada_w1_b": [4, 768], "lora_unet_x_attn2_to_k.hada_w1_a": [4, 4]},
        "lora",
        "SD 1.5",
    ),
    ({"lora_unet_x.lokr_w1": [4, 4]}, "lora", ""),
    (
        {"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": [4, 3072]},
        "lora",
        "Flux.1 D",
    ),
    ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": [4, 3072]}, "lora", "Flux.1 D"),
    ({"diffusion_model.blocks.0.cross_attn.k.lora_A.weight": [4, 5120]}, "lora", "Wan Video"),
    ({"emb_params": [8, 768]}, "embedding", "SD 1.5"),
    ({"emb_params": [8, 1024]}, "embedding", "SD 2.1"),
    ({"clip_g": [8, 1280], "clip_l": [8, 768]}, "embedding", "SDXL 1.0"),
    ({"<cat-toy>": [768]}, "embedding", "SD 1.5"),
    (
        {"decoder.conv_in.weight": [512, 4, 3, 3], "encoder.conv_in.weight": [128, 3, 3, 3]},
        "vae",
        "",
    ),
    ({"decoder.conv_in.weight": [512, 16, 3, 3]}, "vae", "Flux.1 D"),
    ({"first_stage_model.decoder.conv_in.weight": [512, 4, 3, 3]}, "vae", ""),
    (
        {
            "control_model.input_hint_block.0.weight": [16, 3, 3, 3],
            "control_model.x.attn2.to_k.weight": [320, 768],
        },
        "controlnet",
        "SD 1.5",
    ),
    ({"controlnet_cond_embedding.conv_in.weight": [16, 3, 3, 3]}, "controlnet", ""),
    ({"down_blocks.0.motion_modules.0.x": [1]}, "motion_module", ""),
    ({"text_model.encoder.layers.0.x": [1, 1, 1]}, "text_encoder", ""),
    ({"encoder.block.0.layer.0.SelfAttention.k.weight": [1, 1, 1]}, "text_encoder", ""),
    ({"vision_model.encoder.layers.0.x": [1, 1, 1]}, "clip_vision", ""),
    ({"body.0.rdb1.conv1.weight": [1, 1, 1]}, "upscaler", ""),
    ({"something.else": [1, 1, 1]}, None, ""),
    ({}, None, ""),
]


@pytest.mark.parametrize(("shapes", "kind", "base"), KEYS, ids=range(len(KEYS)))
def test_tensors_tell_type_and_base_model(
    shapes: dict[str, list[int]], kind: str | None, base: str
) -> None:
    found = detect_safetensors(header(shapes))
    assert (found.model_type, found.base_model) == (kind, base)


@pytest.mark.parametrize(
    ("metadata", "base"),
    [
        ({"ss_base_model_version": "sd_v1"}, "SD 1.5"),
        ({"ss_base_model_version": "sd_v2_768_v"}, "SD 2.1 768"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL 1.0"),
        ({"ss_base_model_version": "sdxl_base_v0-9"}, "SDXL 0.9"),
        ({"ss_base_model_version": "flux1"}, "Flux.1 D"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL 1.0"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "Flux.1 D"),
        ({"modelspec.architecture": "SD-XL"}, "SDXL 1.0"),
        ({"ss_base_model_version": "noobai-xl-vpred"}, "NoobAI"),
        ({"ss_sd_model_name": "ponyDiffusionV6XL.safetensors"}, "Pony"),
        ({"ss_v2": "True"}, "SD 2.1"),
        ({"ss_base_model_version": "something"}, ""),
        ({"ss_base_model_version": 7, "modelspec.architecture": None}, ""),
    ],
)
def test_trainers_words_tell_the_base_model(metadata: dict[str, Any], base: str) -> None:
    assert (
        detect_safetensors(header({"lora_unet_x.lora_up.weight": [1]}, **metadata)).base_model
        == base
    )


def test_tensors_beat_a_word_of_another_family_and_are_refined_by_one_of_their_own() -> None:
    shapes = {KOHYA: [16, 2048]}
    assert (
        detect_safetensors(header(shapes, ss_base_model_version="sd_v1")).base_model == "SDXL 1.0"
    )
    assert (
        detect_safetensors(header(shapes, ss_sd_model_name="illustriousXL")).base_model
        == "Illustrious"
    )


def test_a_trained_lora_tells_everything_it_was_told() -> None:
    found = detect_safetensors(
        header(
            {KOHYA: [16, 2048]},
            ss_network_module="networks.lora",
            ss_network_dim="16",
            ss_tag_frequency=json.dumps(
                {"10_ppstorybook style": {"1girl": 5, "bunny": 9}, "reg": {"x": "y"}}
            ),
            ss_output_name="pp",
            ss_resolution="(1024, 1024)",
        )
    )

    assert found.trigger_words == ("ppstorybook style",)
    assert found.family == "SDXL"
    assert found.details["network_dim"] == "16"
    assert found.details["title"] == "pp"
    assert found.details["precision"] == "fp16"
    assert found.details["parameters"] == 16 * 2048
    assert found.details["frequent_tags"] == ["bunny", "1girl"]


def test_the_declared_trigger_phrase_wins() -> None:
    found = detect_safetensors(
        header({}, **{"modelspec.trigger_phrase": "a, b ,a", "ss_dataset_dirs": '{"1_c": {}}'})
    )
    assert found.trigger_words == ("a", "b")


def test_inpainting_is_seen() -> None:
    shapes = {"model.diffusion_model.input_blocks.0.0.weight": [320, 9, 3, 3]}
    assert detect_safetensors(header(shapes)).details["inpainting"] is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=12,
)
known_names = st.sampled_from(
    ["__metadata__", KOHYA, SD1_UNET, "emb_params", "decoder.conv_in.weight", "clip_g"]
)
known_keys = st.sampled_from(
    ["ss_tag_frequency", "modelspec.trigger_phrase", "ss_dataset_dirs", "ss_network_module"]
)
entries = json_values | st.fixed_dictionaries(
    {"dtype": json_values, "shape": json_values | st.lists(st.integers(), max_size=9)}
)
metadata = st.dictionaries(
    known_keys | st.text(max_size=9), json_values | st.just("[" * 2000), max_size=5
)


@given(st.dictionaries(known_names | st.text(max_size=30), entries | metadata, max_size=8))
def test_any_header_gives_an_answer(value: dict[str, Any]) -> None:
    found = detect_safetensors(value)
    assert isinstance(found, Detected)
    json.dumps(found.details)
