"""The words of each source for a type of model, as ours.

CivitAI's lists are open: a word that is not here becomes OTHER for a model and, for a file, the
type of its model. Decided here: a language model or a vision-language model is OTHER, because it is
no part of an image pipeline unless it is offered as a text encoder; an aesthetic gradient is an
embedding, which is what its file holds.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from sources.resolution import ModelType

CIVITAI_MODEL_TYPES = MappingProxyType(
    {
        "checkpoint": ModelType.CHECKPOINT,
        "textualinversion": ModelType.EMBEDDING,
        "hypernetwork": ModelType.HYPERNETWORK,
        "aestheticgradient": ModelType.EMBEDDING,
        "lora": ModelType.LORA,
        "locon": ModelType.LORA,
        "lycoris": ModelType.LORA,
        "dora": ModelType.LORA,
        "controlnet": ModelType.CONTROLNET,
        "upscaler": ModelType.UPSCALER,
        "motionmodule": ModelType.MOTION_MODULE,
        "vae": ModelType.VAE,
        "textencoder": ModelType.TEXT_ENCODER,
        "unet": ModelType.DIFFUSION_MODEL,
        "diffusionmodel": ModelType.DIFFUSION_MODEL,
        "clipvision": ModelType.CLIP_VISION,
        "clip": ModelType.TEXT_ENCODER,
        "poses": ModelType.POSES,
        "wildcards": ModelType.WILDCARDS,
        "workflows": ModelType.WORKFLOW,
        "comfyworkflows": ModelType.WORKFLOW,
        "detection": ModelType.DETECTION,
        "visionlanguage": ModelType.OTHER,
        "llm": ModelType.OTHER,
        "other": ModelType.OTHER,
    }
)

# Files whose type is not that of their model. Model, Pruned Model, Archive, Config and Other are.
CIVITAI_FILE_TYPES = MappingProxyType(
    {
        "vae": ModelType.VAE,
        "negative": ModelType.EMBEDDING,
        "textencoder": ModelType.TEXT_ENCODER,
        "visionencoder": ModelType.CLIP_VISION,
        "clipvision": ModelType.CLIP_VISION,
        "unet": ModelType.DIFFUSION_MODEL,
        "diffusionmodel": ModelType.DIFFUSION_MODEL,
        "controlnet": ModelType.CONTROLNET,
        "upscaler": ModelType.UPSCALER,
        "enhancementlora": ModelType.LORA,
        "workflow": ModelType.WORKFLOW,
    }
)

# What a file's name or the name of a repository says, the more telling first.
_NAME_HINTS = (
    (r"control[-_ ]?net|t2i[-_]?adapter|control[-_]lora", ModelType.CONTROLNET),
    (r"lora|locon|lycoris|lokr|\bdora\b", ModelType.LORA),
    (r"textual[-_ ]?inversion|embedding|learned_embeds|embeds", ModelType.EMBEDDING),
    (r"hyper[-_ ]?network", ModelType.HYPERNETWORK),
    (r"motion[-_ ]?module|animatediff|mm[-_]sd", ModelType.MOTION_MODULE),
    (r"clip[-_ ]?vision|image[-_ ]?encoder|siglip", ModelType.CLIP_VISION),
    (
        r"text[-_ ]?encoder|clip_[lgh]\b|(^|[-_/ ])t5(xxl|[-_])|umt5|\bclip[-_]",
        ModelType.TEXT_ENCODER,
    ),
    (r"(^|[^a-z])vae([^a-z]|$)|vae[-_]ft|autoencoder", ModelType.VAE),
    (r"upscal|esrgan|swinir|^[1248]x[-_]|[-_][1248]x[-_.]", ModelType.UPSCALER),
    (r"yolo|adetailer|detector|(^|[^a-z])det(ection)?([^a-z]|$)|face_yolo", ModelType.DETECTION),
    (r"wildcard", ModelType.WILDCARDS),
    (r"open[-_]?pose|(^|[^a-z])poses?([^a-z]|$)", ModelType.POSES),
    (r"workflow", ModelType.WORKFLOW),
    (r"(^|[-_/ ])(unet|transformer|diffusion_model)([-_/. ]|$)", ModelType.DIFFUSION_MODEL),
)
_HINTS = tuple((re.compile(pattern, re.IGNORECASE), found) for pattern, found in _NAME_HINTS)

_FORMATS = MappingProxyType(
    {
        "safetensors": "safetensors",
        "sft": "safetensors",
        "ckpt": "pickle",
        "pt": "pickle",
        "pth": "pickle",
        "bin": "pickle",
        "pkl": "pickle",
        "pickle": "pickle",
        "gguf": "gguf",
        "onnx": "onnx",
        "onnx_data": "onnx",
        "zip": "archive",
        "7z": "archive",
        "rar": "archive",
        "tar": "archive",
        "gz": "archive",
        "json": "config",
        "yaml": "config",
        "yml": "config",
        "toml": "config",
        "model": "config",
        "txt": "text",
        "md": "text",
        "csv": "text",
        "png": "image",
        "jpg": "image",
        "jpeg": "image",
        "webp": "image",
        "gif": "image",
    }
)
_CIVITAI_FORMATS = MappingProxyType(
    {
        "safetensor": "safetensors",
        "safetensors": "safetensors",
        "pickletensor": "pickle",
        "gguf": "gguf",
        "diffusers": "diffusers",
        "onnx": "onnx",
    }
)


def folded(word: str) -> str:
    """A source's word as the tables have it: "Text Encoder" → "textencoder"."""
    return re.sub(r"[\s_-]+", "", word).lower()


def civitai_model_type(word: str) -> ModelType:
    """Our type for CivitAI's `type` of a model."""
    return CIVITAI_MODEL_TYPES.get(folded(word), ModelType.OTHER)


def civitai_file_type(kind: str, model_type: ModelType) -> ModelType:
    """Our type for one file of a model of `model_type`, by CivitAI's `type` of the file."""
    return CIVITAI_FILE_TYPES.get(folded(kind), model_type)


def type_from_name(name: str) -> ModelType | None:
    """What a name says about its file, None when it says nothing."""
    for pattern, found in _HINTS:
        if pattern.search(name):
            return found
    return None


def extension(name: str) -> str:
    """The last extension in lower case, without the dot."""
    stem, dot, last = name.rpartition(".")
    return last.lower() if dot and stem else ""


def lacks_extension(name: str) -> bool:
    """Nothing behind the last dot, or nothing that is an extension, as in "Detailer v1.5".

    A wrong one (`.html`) is one: such a file is refused, not renamed.
    """
    last = extension(name)
    return last not in _FORMATS and not re.fullmatch(r"[a-z]{1,12}", last)


def format_from_name(name: str) -> str:
    """The format that the extension promises: one of the words of `SourceFile.format`."""
    return _FORMATS.get(extension(name), "other")


def civitai_format(word: str, name: str) -> str:
    """The format of a CivitAI file: what its name says, since "Other" is common there."""
    by_name = format_from_name(name)
    return by_name if by_name != "other" else _CIVITAI_FORMATS.get(folded(word), "other")
