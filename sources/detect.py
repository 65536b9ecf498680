"""What a safetensors file says about itself: pure functions over its parsed header.

A header maps tensor names to `{dtype, shape, data_offsets}`, and `__metadata__` to texts. Two
things speak: what the trainer wrote (`ss_…` of kohya's scripts, `modelspec.…` of Stability), and
the names and shapes of the tensors themselves, which cannot be mistaken but say less: Pony,
Illustrious and NoobAI look exactly like SDXL. Used by the probe of a plain link and the inspection
of a file.

Facts from comfyanonymous/ComfyUI `comfy/model_detection.py`, invoke-ai/InvokeAI's model configs,
kohya-ss/sd-scripts and Stability-AI/ModelSpec. Headers are hostile input: nothing here raises.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sources.families import base_model_from_name, family_of
from sources.reading import as_dict, as_number, as_prose, as_text
from sources.resolution import ModelType

MAX_TENSORS = 200_000
MAX_NAME_LENGTH = 300
MAX_JSON_TEXT = 1_000_000


@dataclass(frozen=True, slots=True)
class Detected:
    """What is known: None and "" where the file does not say it. `is_sure` is False for a type that
    is good enough where nobody said one, and no reason to doubt what was said.

    `details` has, where present: precision, parameters, tensors, network_dim, network_alpha,
    network_module, title, author, resolution, inpainting, trained_on, frequent_tags, trained_at.
    """

    model_type: ModelType | None = None
    base_model: str = ""
    family: str = ""
    trigger_words: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    is_sure: bool = True


# The words of kohya's `ss_base_model_version` and of `modelspec.architecture`, by beginning.
_TRAINER_WORDS = (
    ("sdxl_base_v0-9", "SDXL 0.9"),
    ("sdxl", "SDXL 1.0"),
    ("sd-xl", "SDXL 1.0"),
    ("stable-diffusion-xl", "SDXL 1.0"),
    ("sd_v1", "SD 1.5"),
    ("sd1", "SD 1.5"),
    ("stable-diffusion-v1", "SD 1.5"),
    ("sd_v2_v", "SD 2.1 768"),
    ("sd_v2_768", "SD 2.1 768"),
    ("stable-diffusion-v2-768", "SD 2.1 768"),
    ("sd_v2", "SD 2.1"),
    ("sd2", "SD 2.1"),
    ("stable-diffusion-v2", "SD 2.1"),
    ("sd3.5-large", "SD 3.5 Large"),
    ("sd3.5-medium", "SD 3.5 Medium"),
    ("stable-diffusion-3.5-large", "SD 3.5 Large"),
    ("stable-diffusion-3.5-medium", "SD 3.5 Medium"),
    ("sd3", "SD 3"),
    ("stable-diffusion-3", "SD 3"),
    ("flux-1-schnell", "Flux.1 S"),
    ("flux-1-kontext", "Flux.1 Kontext"),
    ("flux2", "Flux.2 D"),
    ("flux-2", "Flux.2 D"),
    ("flux", "Flux.1 D"),
    ("stable-cascade", "Stable Cascade"),
    ("auraflow", "AuraFlow"),
    ("wan", "Wan Video"),
    ("hunyuan_video", "Hunyuan Video"),
    ("hunyuan-video", "Hunyuan Video"),
    ("lumina", "Lumina"),
    ("qwen", "Qwen"),
    ("zimage", "ZImageTurbo"),
    ("z-image", "ZImageTurbo"),
    ("hidream", "HiDream"),
    ("chroma", "Chroma"),
    ("ltx", "LTXV"),
)

_LORA = re.compile(
    r"lora_(unet|te|te1|te2|te3|transformer|controlnet|prior_unet)_|\.lora_[AB]\.|lora_(down|up)\b"
    r"|\.lora\.(down|up)\.|_lora\.(down|up)\.|\.lokr_w1|\.hada_w1_a|\.oft_blocks|\.oft_diag"
    r"|\.dora_scale|\.diff_b?$"
)
_CONTROL = re.compile(
    r"^(control_model\.|controlnet_|control_net\.)|controlnet_(cond|x)_embedder|input_hint_block"
    r"|^adapter\.body\.|^body\.0\.in_conv"
)
_CROSS_ATTENTION = re.compile(
    r"attn2[._](processor[._])?to_k([._]|_lora\.)"
    r"(weight|lora_down\.weight|lora_A\.(default\.)?weight|lora\.down\.weight|down\.weight|hada_w1_b)"
)
_EMBEDDING_NAMES = frozenset({"emb_params", "string_to_param", "clip_g", "clip_l"})
# Fewer names than any denoiser has; what is missing among so few says nothing.
_FEW_TENSORS = 50
_UPSCALER = re.compile(
    r"model\.\d+\.sub\.|body\.\d+\.(rdb|RDB)\d|RRDB_trunk\.|conv_first\.|layers\.\d+\.residual"
)
# Names that only one architecture has, in the order in which they exclude each other.
_ARCHITECTURES = (
    (r"double_stream_modulation_img", "Flux.2 D"),
    (r"distilled_guidance_layer", "Chroma"),
    (r"txt_in[._]individual_token_refiner", "Hunyuan Video"),
    (r"double_stream_blocks", "HiDream"),
    (r"(double_blocks|single_transformer_blocks|single_blocks)[._]\d", "Flux.1 D"),
    (r"joint_blocks[._]\d+[._]x_block[._]attn2", "SD 3.5 Medium"),
    (r"joint_blocks[._]37[._]", "SD 3.5 Large"),
    (r"joint_blocks[._]\d", "SD 3"),
    (r"double_layers[._]\d|single_layers[._]\d+[._]modC", "AuraFlow"),
    (r"transformer_blocks[._]\d+[._](img_mod|txt_mlp)", "Qwen"),
    (r"patchify_proj|av_ca_", "LTXV"),
    (r"clip_txt_(pooled_)?mapper|down_blocks[._]\d[._]\d+[._]channelwise", "Stable Cascade"),
    (r"(^|[._])blocks[._]\d+[._]cross_attn[._](k|q|v)([._]|$)", "Wan Video"),
    (r"noise_refiner[._]\d", "Lumina"),
    (r"[._](time_stack|time_mixer)[._]", "SVD"),
)
_COMPILED = tuple((re.compile(pattern), name) for pattern, name in _ARCHITECTURES)
_BY_WIDTH = {768: "SD 1.5", 1024: "SD 2.1", 1280: "SDXL 1.0", 2048: "SDXL 1.0"}
_NUMBERED_FOLDER = re.compile(r"^\d+_(.+)$")
_PRECISIONS = {
    "F64": "fp64",
    "F32": "fp32",
    "F16": "fp16",
    "BF16": "bf16",
    "F8_E4M3": "fp8",
    "F8_E5M2": "fp8",
    "I8": "int8",
    "U8": "int8",
}


def detect_safetensors(header: dict[str, Any]) -> Detected:
    """What the header of a safetensors file says. Total: any dict gives an answer."""
    metadata = as_dict(header.get("__metadata__"))
    tensors = {
        name: as_dict(entry)
        for name, entry in list(header.items())[:MAX_TENSORS]
        if isinstance(name, str) and name != "__metadata__" and len(name) <= MAX_NAME_LENGTH
    }
    model_type = _type_of(tensors, metadata)
    base_model = _base_model_of(tensors, metadata, model_type)
    triggers, source = _trigger_words(metadata)
    details = _details(tensors, metadata)
    if source:
        details["trigger_source"] = source
    if _is_inpainting(tensors):
        details["inpainting"] = True
    is_sure = _is_sure(tensors, model_type)
    return Detected(model_type, base_model, family_of(base_model), triggers, details, is_sure)


def _is_sure(tensors: dict[str, dict[str, Any]], model_type: ModelType | None) -> bool:
    """Not by the shape alone, and not by what is missing among a handful of tensors."""
    if model_type is ModelType.EMBEDDING:
        return bool(_EMBEDDING_NAMES & set(tensors))
    if model_type is ModelType.DIFFUSION_MODEL and _starts(tensors, "model.diffusion_model."):
        return len(tensors) >= _FEW_TENSORS
    return True


def _type_of(tensors: dict[str, dict[str, Any]], metadata: dict[str, Any]) -> ModelType | None:
    names = tuple(tensors)
    if not names:
        return None
    if as_text(metadata.get("ss_network_module")) or any(_LORA.search(name) for name in names):
        return ModelType.LORA
    if any(_CONTROL.search(name) for name in names):
        return ModelType.CONTROLNET
    if any("motion_modules." in name for name in names):
        return ModelType.MOTION_MODULE
    if _is_embedding(tensors):
        return ModelType.EMBEDDING
    return _type_of_model(names)


def _type_of_model(names: tuple[str, ...]) -> ModelType | None:
    """A whole checkpoint, or which part of one."""
    denoiser = _starts(names, "model.diffusion_model.")
    autoencoder = _starts(names, "first_stage_model.", "vae.")
    encoder = _starts(names, "cond_stage_model.", "conditioner.", "text_encoders.")
    if denoiser:
        return ModelType.CHECKPOINT if autoencoder or encoder else ModelType.DIFFUSION_MODEL
    if _is_diffusion_model(names):
        return ModelType.DIFFUSION_MODEL
    if autoencoder or _has(names, "decoder.conv_in.weight", "decoder.conv1.weight"):
        return ModelType.VAE
    return _type_of_encoder(names)


def _is_diffusion_model(names: tuple[str, ...]) -> bool:
    """FLUX and its like, and the UNets of diffusers, which have no prefix of their own."""
    if any(pattern.search(name) for name in names for pattern, _ in _COMPILED):
        return True
    return (_starts(names, "down_blocks.") and _has(names, "conv_in.weight")) and _starts(
        names, "time_embedding.", "add_embedding."
    )


def _type_of_encoder(names: tuple[str, ...]) -> ModelType | None:
    vision = _starts(names, "vision_model.", "visual.")
    text = _starts(names, "text_model.", "transformer.resblocks.", "text_projection")
    if vision and not text:
        return ModelType.CLIP_VISION
    if text and not vision:
        return ModelType.TEXT_ENCODER
    if any(re.match(r"encoder\.block\.\d+\.layer\.0\.SelfAttention", name) for name in names):
        return ModelType.TEXT_ENCODER
    if _starts(names, "image_proj.", "ip_adapter."):
        return ModelType.OTHER
    return ModelType.UPSCALER if any(_UPSCALER.match(name) for name in names) else None


def _is_embedding(tensors: dict[str, dict[str, Any]]) -> bool:
    if len(tensors) >= 10:
        return False
    if _EMBEDDING_NAMES & set(tensors):
        return True
    # diffusers names the tensor after the token itself.
    return all(
        len(_shape(entry)) in {1, 2} and _shape(entry)[-1] in {768, 1024, 1280, 4096}
        for entry in tensors.values()
    )


def _base_model_of(
    tensors: dict[str, dict[str, Any]], metadata: dict[str, Any], model_type: ModelType | None
) -> str:
    """By the tensors, refined by the trainer's word where both mean the same family."""
    by_word = _base_model_by_word(metadata)
    by_keys = _base_model_by_keys(tensors, model_type)
    if not by_keys or family_of(by_word) == family_of(by_keys):
        return by_word or by_keys
    return by_keys


def _base_model_by_word(metadata: dict[str, Any]) -> str:
    for key in ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name"):
        word = as_text(metadata.get(key)).lower()
        for start, base_model in _TRAINER_WORDS:
            if word.startswith(start):
                return base_model
        found = base_model_from_name(word) if word else ""
        if found:
            return found
    return "SD 2.1" if as_text(metadata.get("ss_v2")).lower() == "true" else ""


def _base_model_by_keys(tensors: dict[str, dict[str, Any]], model_type: ModelType | None) -> str:
    if model_type is ModelType.EMBEDDING:
        return _base_model_of_embedding(tensors)
    if model_type is ModelType.VAE:
        # Four latent channels are SD 1.5, 2 and SDXL alike.
        return "Flux.1 D" if _width(tensors, "decoder.conv_in.weight", axis=1) == 16 else ""
    for pattern, base_model in _COMPILED:
        if any(pattern.search(name) for name in tensors):
            return _flux_kind(tensors, model_type) if base_model == "Flux.1 D" else base_model
    if any("lora_te2_" in name or "conditioner.embedders.1" in name for name in tensors):
        return "SDXL 1.0"
    for name, entry in tensors.items():
        if _CROSS_ATTENTION.search(name) and len(_shape(entry)) >= 2:
            return _BY_WIDTH.get(_shape(entry)[1], "")
    return ""


def _flux_kind(tensors: dict[str, dict[str, Any]], model_type: ModelType | None) -> str:
    """Only the whole model shows it: schnell has no guidance embedder."""
    if model_type not in {ModelType.CHECKPOINT, ModelType.DIFFUSION_MODEL}:
        return "Flux.1 D"
    guided = any("guidance_in." in name or "guidance_embed" in name for name in tensors)
    return "Flux.1 D" if guided else "Flux.1 S"


def _base_model_of_embedding(tensors: dict[str, dict[str, Any]]) -> str:
    if "clip_g" in tensors:
        return "SDXL 1.0"
    widths = {_shape(entry)[-1] for entry in tensors.values() if _shape(entry)}
    if 1280 in widths:
        return "SDXL 1.0"
    return _BY_WIDTH.get(next(iter(widths)), "") if len(widths) == 1 else ""


def _is_inpainting(tensors: dict[str, dict[str, Any]]) -> bool:
    names = ("model.diffusion_model.input_blocks.0.0.weight", "conv_in.weight")
    return any(_width(tensors, name, axis=1) == 9 for name in names)


def _trigger_words(metadata: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    phrase = as_text(metadata.get("modelspec.trigger_phrase"), 1000)
    words = tuple(dict.fromkeys(word.strip() for word in phrase.split(",") if word.strip()))
    if words:
        return words[:50], "modelspec.trigger_phrase"
    # Trainers are taught a word by the folder of its pictures: `10_ppstorybook`.
    folders = {
        **_json_text(metadata, "ss_tag_frequency"),
        **_json_text(metadata, "ss_dataset_dirs"),
    }
    found = [_NUMBERED_FOLDER.match(as_text(name)) for name in list(folders)[:200]]
    words = tuple(dict.fromkeys(match[1].strip() for match in found if match and match[1].strip()))
    return words[:20], "ss_dataset_dirs" if words else ""


def _details(tensors: dict[str, dict[str, Any]], metadata: dict[str, Any]) -> dict[str, Any]:
    kinds = Counter(as_text(entry.get("dtype"), 20) for entry in tensors.values())
    main = kinds.most_common(1)[0][0] if kinds else ""
    details: dict[str, Any] = {
        "tensors": len(tensors),
        "parameters": sum(_count(entry) for entry in tensors.values()),
        "precision": _PRECISIONS.get(main, main.lower()),
        "network_dim": as_text(metadata.get("ss_network_dim"), 20),
        "network_alpha": as_text(metadata.get("ss_network_alpha"), 20),
        "network_module": as_text(metadata.get("ss_network_module")),
        "title": as_text(metadata.get("modelspec.title") or metadata.get("ss_output_name")),
        "author": as_text(metadata.get("modelspec.author")),
        "resolution": as_text(
            metadata.get("modelspec.resolution") or metadata.get("ss_resolution"), 40
        ),
        "prediction_type": as_text(metadata.get("modelspec.prediction_type"), 40),
        "trained_on": as_text(metadata.get("ss_sd_model_name")),
        "trained_at": as_text(metadata.get("modelspec.date"), 40),
        "frequent_tags": _frequent_tags(metadata),
    }
    return {key: value for key, value in details.items() if value}


def _frequent_tags(metadata: dict[str, Any]) -> list[str]:
    counts: Counter[str] = Counter()
    for folder in list(_json_text(metadata, "ss_tag_frequency").values())[:50]:
        for tag, count in list(as_dict(folder).items())[:2000]:
            number = as_number(count)
            if as_text(tag) and number and number > 0:
                counts[as_text(tag, 100)] += int(number)
    return [tag for tag, _ in counts.most_common(20)]


def _json_text(metadata: dict[str, Any], key: str) -> dict[str, Any]:
    """An object that the trainer wrote as text."""
    text = as_prose(metadata.get(key), MAX_JSON_TEXT)
    try:
        return as_dict(json.loads(text)) if text else {}
    except (ValueError, RecursionError):
        return {}


def _shape(entry: dict[str, Any]) -> tuple[int, ...]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or len(shape) > 8:
        return ()
    sizes = [size for size in shape if isinstance(size, int) and 0 <= size < 1 << 40]
    return tuple(sizes) if len(sizes) == len(shape) else ()


def _count(entry: dict[str, Any]) -> int:
    product = 1
    for size in _shape(entry):
        product *= size
    return product if product < 1 << 50 else 0


def _width(tensors: dict[str, dict[str, Any]], name: str, *, axis: int) -> int:
    for prefix in ("", "first_stage_model.", "vae."):
        shape = _shape(tensors.get(prefix + name, {}))
        if len(shape) > axis:
            return shape[axis]
    return 0


def _starts(names: Iterable[str], *beginnings: str) -> bool:
    return any(name.startswith(beginnings) for name in names)


def _has(names: Iterable[str], *wanted: str) -> bool:
    return any(name in wanted for name in names)
