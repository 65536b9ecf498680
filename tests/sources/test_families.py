"""The two tables: base models to families, the sources' words to our types."""

from __future__ import annotations

import pytest

from sources.families import FAMILY_OF, base_model_from_name, family_of
from sources.resolution import ModelType
from sources.types import (
    civitai_file_type,
    civitai_format,
    civitai_model_type,
    format_from_name,
    type_from_name,
)
from tests.sources.fakes import recorded

# CivitAI's list of base models (its source of 2026-08).
BASE_MODELS = """Anima, AuraFlow, Chroma, CogVideoX, Ernie, Flux.1 S, Flux.1 D, Flux.1 Krea, Flux.1 Kontext,
Flux.2 D, Flux.2 Klein 9B, Flux.2 Klein 9B-base, Flux.2 Klein 4B, Flux.2 Klein 4B-base, Flux 3 Video, Grok,
HappyHorse, HiDream, HiDream-O1, Hunyuan 1, Hunyuan Video, Ideogram 4.0, Boogu, Illustrious, Imagen4, Kolors,
Krea 2, LTXV, LTXV2, LTXV 2.3, Lens, Lumina, MageFlow, MAI, Mochi, Nano Banana, NoobAI, ODOR, OpenAI, Upscaler,
Other, PixArt a, PixArt E, Playground v2, Pony, Pony V7, Qwen, Qwen 2, Qwen 3, Stable Cascade, SD 1.4, SD 1.5,
SD 1.5 LCM, SD 1.5 Hyper, SD 2.0, SD 2.0 768, SD 2.1, SD 2.1 768, SD 2.1 Unclip, SD 3, SD 3.5, SD 3.5 Large,
SD 3.5 Large Turbo, SD 3.5 Medium, SDXL 0.9, SDXL 1.0, SDXL 1.0 LCM, SDXL Lightning, SDXL Hyper, SDXL Turbo,
SDXL Distilled, Reve, Seedream, SVD, SVD XT, Sora 2, Veo 3, Wan Video, Wan Video 1.3B t2v, Wan Video 14B t2v,
Wan Video 14B i2v 480p, Wan Video 14B i2v 720p, Wan Video 2.2 TI2V-5B, Wan Video 2.2 I2V-A14B,
Wan Video 2.2 T2V-A14B, Wan Video 2.5 T2V, Wan Video 2.5 I2V, Wan Image 2.7, Wan Video 2.7, ZImageTurbo,
ZImageBase, Vidu Q1, MiniMax H3, Kling, Seedance, ACE Audio, PolyGen, Tripo, Hunyuan3D""".replace(
    "\n", " "
)
NO_FAMILY = {"Other", "Upscaler"}


def test_every_known_base_model_has_a_family() -> None:
    names = [name.strip() for name in BASE_MODELS.split(",")]

    assert len(names) == 99
    assert {name for name in names if name.lower() not in FAMILY_OF} == NO_FAMILY
    assert all(family_of(name) for name in names if name not in NO_FAMILY)


@pytest.mark.parametrize("name", recorded("civitai/enums_2026.json")["BaseModel"])
def test_every_base_model_that_the_service_listed_is_known(name: str) -> None:
    assert bool(family_of(name)) is (name not in NO_FAMILY)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        *(
            (name, "SDXL")
            for name in ("SDXL", "Pony", "Illustrious", "NoobAI", "SDXL Turbo", "pony")
        ),
        *((name, "SD 1.5") for name in ("SD 1.4", "SD 1.5 LCM", "SD 1.5 Hyper", " sd 1.5 ")),
        *((name, "Flux") for name in ("Flux", "Flux.1 D", "Flux.1 S", "Flux.1 Kontext")),
        ("Pony V7", "AuraFlow"),
        ("Flux.2 D", "Flux.2"),
        ("Flux.1 Something New", "Flux"),
        ("SDXL Something New", "SDXL"),
        ("Wan Video 3.0", "Wan Video"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "SDXL"),
        ("runwayml/stable-diffusion-v1-5", "SD 1.5"),
        ("black-forest-labs/FLUX.1-schnell", "Flux"),
        ("black-forest-labs/FLUX.2-dev", "Flux.2"),
        ("mistralai/Mistral-7B-v0.1", ""),
        ("nobody/influxdb-tools", ""),
        ("Something else", ""),
        ("", ""),
    ],
)
def test_families(name: str, family: str) -> None:
    assert family_of(name) == family


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("stabilityai/sdxl-turbo", "SDXL Turbo"),
        ("stabilityai/stable-diffusion-2-1", "SD 2.1"),
        ("CompVis/stable-diffusion-v1-4", "SD 1.4"),
        ("lllyasviel/control_v11p_sd15_canny", "SD 1.5"),
        ("stabilityai/stable-diffusion-3.5-medium", "SD 3.5 Medium"),
        ("stabilityai/stable-diffusion-3-medium", "SD 3"),
        ("Wan-AI/Wan2.2-I2V-A14B", "Wan Video 2.2 I2V-A14B"),
        ("Wan-AI/Wan2.1-T2V-1.3B", "Wan Video 1.3B t2v"),
        ("OnomaAIResearch/Illustrious-xl-early-release-v0", "Illustrious"),
        ("Laxhar/noobai-XL-1.1", "NoobAI"),
        ("ponyDiffusionV6XL.safetensors", "Pony"),
        ("v1-5-pruned-emaonly.safetensors", "SD 1.5"),
        ("sd_xl_base_1.0.safetensors", "SDXL 1.0"),
        ("Tongyi-MAI/Z-Image-Turbo", "ZImageTurbo"),
        ("openai/clip-vit-large-patch14", ""),
        ("x" * 5000, ""),
    ],
)
def test_names_point_to_base_models(name: str, base: str) -> None:
    assert base_model_from_name(name) == base


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Checkpoint", "checkpoint"), ("TextualInversion", "embedding"), ("Hypernetwork", "hypernetwork"),
        ("AestheticGradient", "embedding"), ("LORA", "lora"), ("LoCon", "lora"), ("DoRA", "lora"),
        ("Controlnet", "controlnet"), ("Upscaler", "upscaler"), ("MotionModule", "motion_module"),
        ("VAE", "vae"), ("TextEncoder", "text_encoder"), ("UNet", "diffusion_model"),
        ("CLIPVision", "clip_vision"), ("Poses", "poses"), ("Wildcards", "wildcards"),
        ("Workflows", "workflow"), ("ComfyWorkflows", "workflow"), ("Detection", "detection"),
        ("VisionLanguage", "other"), ("CLIP", "text_encoder"), ("LLM", "other"), ("Other", "other"),
        ("Something new", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_every_type_of_the_service_is_one_of_ours(word: str, kind: str) -> None:
    assert civitai_model_type(word) == kind


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Model", "lora"), ("Pruned Model", "lora"), ("Text Encoder", "text_encoder"),
        ("Vision Encoder", "clip_vision"), ("Negative", "embedding"), ("VAE", "vae"), ("Config", "lora"),
        ("Archive", "lora"), ("UNet", "diffusion_model"), ("Diffusion Model", "diffusion_model"),
        ("CLIPVision", "clip_vision"), ("ControlNet", "controlnet"), ("Workflow", "workflow"),
        ("Upscaler", "upscaler"), ("Enhancement LoRA", "lora"), ("Other", "lora"), ("New", "lora"),
    ],
)  # fmt: skip
def test_every_kind_of_file_has_a_type(word: str, kind: str) -> None:
    assert civitai_file_type(word, ModelType.LORA) == kind


def test_formats_come_from_the_name_before_the_word() -> None:
    assert civitai_format("Other", "x.vae.pt") == "pickle"
    assert civitai_format("SafeTensor", "no extension") == "safetensors"
    assert civitai_format("Core ML", "x") == "other"
    assert format_from_name("X.SAFETENSORS") == "safetensors"
    assert format_from_name(".safetensors") == "other"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vae-ft-mse-840000.safetensors", "vae"),
        ("control_lora_rank128.safetensors", "controlnet"),
        ("add_detail_lora.safetensors", "lora"),
        ("clip_vision_g.safetensors", "clip_vision"),
        ("t5xxl_fp8.safetensors", "text_encoder"),
        ("4x_NMKD.pth", "upscaler"),
        ("4x-UltraSharp.pth", "upscaler"),
        ("hand_yolov8s.pt", "detection"),
        ("revavae.safetensors", None),
        ("model.safetensors", None),
    ],
)
def test_names_hint_at_types(name: str, kind: str | None) -> None:
    assert type_from_name(name) == kind
