"""What a HuggingFace repository holds, from its tags, its config and its names.

Tags come first, and among them the adapter's: a LoRA also says `text-to-image`. Nothing is certain;
what a file's own header says later is stronger.
"""

from __future__ import annotations

import re
from typing import Any

from sources.families import base_model_from_name, base_model_from_pipeline
from sources.hub_files import HubFile
from sources.reading import as_dict, as_list, as_text, as_words
from sources.resolution import ModelType
from sources.types import extension, type_from_name

_RELATED_BASE = re.compile(r"^base_model:(?:(?:adapter|finetune|quantized|merge):)?(.+)$")
_ADAPTER = re.compile(r"^(lora|lycoris|dora|peft|adapter|lora-adapter)$|^base_model:adapter:")
_TAG_TYPES = (
    (re.compile(r"^textual[-_ ]inversion$|^embedding$"), ModelType.EMBEDDING),
    (re.compile(r"^controlnet"), ModelType.CONTROLNET),
    (re.compile(r"^t2i[-_]?adapter"), ModelType.CONTROLNET),
    (re.compile(r"^motion[-_](module|adapter)|^animatediff"), ModelType.MOTION_MODULE),
    (re.compile(r"^vae$|^autoencoder"), ModelType.VAE),
    (re.compile(r"^(ultralytics|yolo.*|object-detection)$"), ModelType.DETECTION),
    (re.compile(r"^(super-resolution|upscaler|esrgan)$"), ModelType.UPSCALER),
    (re.compile(r"^hypernetwork"), ModelType.HYPERNETWORK),
)
_CLASS_TYPES = (
    (re.compile(r"^Autoencoder|^ConsistencyDecoderVAE|^AsymmetricAutoencoder"), ModelType.VAE),
    (re.compile(r"ControlNet|T2IAdapter"), ModelType.CONTROLNET),
    (re.compile(r"^MotionAdapter"), ModelType.MOTION_MODULE),
    (re.compile(r"^UNet|Transformer\dDModel|Transformer3D"), ModelType.DIFFUSION_MODEL),
    (re.compile(r"Pipeline$"), ModelType.CHECKPOINT),
    (re.compile(r"^CLIPVisionModel|^SiglipVision"), ModelType.CLIP_VISION),
    (re.compile(r"^CLIPText|^T5|^UMT5|^MT5"), ModelType.TEXT_ENCODER),
)
_CONFIG_TYPES = {
    "t5": ModelType.TEXT_ENCODER,
    "umt5": ModelType.TEXT_ENCODER,
    "clip_text_model": ModelType.TEXT_ENCODER,
    "clip_vision_model": ModelType.CLIP_VISION,
    "siglip_vision_model": ModelType.CLIP_VISION,
    "yolo": ModelType.DETECTION,
}
# Tasks whose models make pictures; a repository of any other task is no checkpoint of ours.
_IMAGE_TASKS = frozenset(
    {"", "text-to-image", "image-to-image", "text-to-video", "image-to-video", "image-to-3d"}
)
_FOLDER_TYPES = {
    "unet": ModelType.DIFFUSION_MODEL,
    "transformer": ModelType.DIFFUSION_MODEL,
    "prior": ModelType.DIFFUSION_MODEL,
    "diffusion_models": ModelType.DIFFUSION_MODEL,
    "text_encoder": ModelType.TEXT_ENCODER,
    "text_encoders": ModelType.TEXT_ENCODER,
    "clip": ModelType.TEXT_ENCODER,
    "image_encoder": ModelType.CLIP_VISION,
    "clip_vision": ModelType.CLIP_VISION,
    "vae": ModelType.VAE,
    "vae_decoder": ModelType.VAE,
    "vae_encoder": ModelType.VAE,
    "vqvae": ModelType.VAE,
    "controlnet": ModelType.CONTROLNET,
    "loras": ModelType.LORA,
    "lora": ModelType.LORA,
    "checkpoints": ModelType.CHECKPOINT,
    "embeddings": ModelType.EMBEDDING,
    "upscale_models": ModelType.UPSCALER,
    "motion_adapter": ModelType.MOTION_MODULE,
    "safety_checker": ModelType.OTHER,
}


def type_of_repo(info: dict[str, Any], repo: str, main: HubFile, *, is_pipeline: bool) -> ModelType:
    """The type of what is downloaded: `main` is its first file. A guess where nothing is told."""
    told = told_type(info, repo, main)
    if told is not None:
        return told
    is_ours = as_text(info.get("pipeline_tag"), 60).lower() in _IMAGE_TASKS
    if is_pipeline or (is_ours and as_text(info.get("library_name")) != "transformers"):
        return ModelType.DIFFUSION_MODEL if extension(main.base) == "gguf" else ModelType.CHECKPOINT
    return ModelType.OTHER


def told_type(info: dict[str, Any], repo: str, main: HubFile) -> ModelType | None:
    """The type that tags, class, names or config tell, None when none of them does."""
    config = as_dict(info.get("config"))
    return (
        _type_of_tags(info)
        or type_of_class(class_name(info))
        or type_from_name(main.base)
        or type_from_name(repo.rpartition("/")[2])
        or _CONFIG_TYPES.get(as_text(config.get("model_type"), 60).lower())
    )


def _type_of_tags(info: dict[str, Any]) -> ModelType | None:
    tags = [tag.lower() for tag in as_words(info.get("tags"), 200)]
    if any(_ADAPTER.search(tag) for tag in tags) or as_text(info.get("library_name")) == "peft":
        return ModelType.LORA
    for pattern, found in _TAG_TYPES:
        if any(pattern.search(tag) for tag in tags):
            return found
    return None


def type_of_class(name: str) -> ModelType | None:
    """The type of a diffusers or transformers class, None for one that says nothing."""
    for pattern, found in _CLASS_TYPES:
        if name and pattern.search(name):
            return found
    return None


def class_name(info: dict[str, Any]) -> str:
    """The class that the repository's own config or its tag names."""
    diffusers = as_dict(as_dict(info.get("config")).get("diffusers"))
    name = as_text(diffusers.get("_class_name") or diffusers.get("class_name"), 100)
    for tag in as_words(info.get("tags"), 200):
        if not name and tag.startswith("diffusers:"):
            name = tag.removeprefix("diffusers:")
    return name


def type_of_path(path: str, otherwise: ModelType) -> ModelType:
    """The type of one file by its folder, else by its name, else the repository's."""
    *folders, base = path.split("/")
    for folder in reversed(folders):
        known = _FOLDER_TYPES.get(re.sub(r"_\d+$", "", folder.lower()))
        if known is not None:
            return known
    return (type_from_name(base) if folders else None) or otherwise


def component_of(path: str) -> str:
    """The folder of a pipeline's part: `unet`, `text_encoder_2`, … "" at the top."""
    head, slash, _ = path.partition("/")
    return as_text(head, 60) if slash else ""


def base_models(info: dict[str, Any]) -> tuple[str, ...]:
    """The repositories that this one was made from: tags first, they follow renames."""
    found: dict[str, None] = {}
    for tag in as_words(info.get("tags"), 200):
        match = _RELATED_BASE.match(tag)
        if match:
            found.setdefault(match[1])
    declared = as_dict(info.get("cardData")).get("base_model")
    for name in as_words(declared if isinstance(declared, list) else [declared], 200):
        if not found:
            found.setdefault(name)
    return tuple(found)


def base_model_of(info: dict[str, Any], repo: str, main: HubFile) -> str:
    """The base model in the words of the table of families; a repository's name as it is where
    the table knows none; "" where nothing is said."""
    parents = base_models(info)
    for parent in parents:
        known = base_model_from_name(parent)
        if known:
            return known
    for name in (repo, main.path):
        known = base_model_from_name(name)
        if known:
            return known
    return base_model_from_pipeline(class_name(info)) or (parents[0][:100] if parents else "")


def licence_name(info: dict[str, Any]) -> str:
    """`license_name` where the licence is "other", else the licence, from the card or a tag."""
    card = as_dict(info.get("cardData"))
    declared = card.get("license")
    words = as_words(declared if isinstance(declared, list) else [declared])
    named = as_text(card.get("license_name"))
    if named and (not words or words[0].lower() == "other"):
        return named
    if words:
        return ", ".join(words)[:300]
    tags = (tag for tag in as_words(info.get("tags"), 200) if tag.startswith("license:"))
    return next(tags, "").removeprefix("license:")


def trigger_words(info: dict[str, Any]) -> tuple[str, ...]:
    """What the card calls the instance prompt, and what its template puts before a prompt."""
    card = as_dict(info.get("cardData"))
    prompt = card.get("instance_prompt")
    words = as_words(prompt if isinstance(prompt, list) else [prompt], 1000)
    return tuple(word for word in words if word.lower() not in {"none", "null"})


def tags_of(info: dict[str, Any]) -> tuple[str, ...]:
    """The tags for people: those with a key (`license:…`, `region:…`) have fields of their own."""
    card = as_list(as_dict(info.get("cardData")).get("tags"))
    words = as_words([*as_list(info.get("tags")), *card])
    return tuple(word for word in words if ":" not in word)
