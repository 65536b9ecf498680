"""Base models and the families that share an architecture: one table for all sources.

A family decides the folder (a placement rule for "SDXL" also takes Pony), so models stand together
that load in the same way: Pony, Illustrious and NoobAI are trained SDXL, Pony V7 is AuraFlow, and
FLUX.2 does not load what was made for FLUX.1. The first table lists CivitAI's base models (from
`basemodel.constants.ts`, 2026-08), the second reads the names of HuggingFace repositories and of
files, the third the pipelines of diffusers.
"""

from __future__ import annotations

import re
from types import MappingProxyType

_FAMILIES: dict[str, tuple[str, ...]] = {
    "SD 1.5": ("SD 1.4", "SD 1.5", "SD 1.5 LCM", "SD 1.5 Hyper"),
    "SD 2": ("SD 2.0", "SD 2.0 768", "SD 2.1", "SD 2.1 768", "SD 2.1 Unclip"),
    "SDXL": (
        *("SDXL", "SDXL 0.9", "SDXL 1.0", "SDXL 1.0 LCM", "SDXL Lightning", "SDXL Hyper"),
        *("SDXL Turbo", "SDXL Distilled", "Pony", "Illustrious", "NoobAI", "Playground v2"),
    ),
    "SD 3": ("SD 3", "SD 3.5", "SD 3.5 Large", "SD 3.5 Large Turbo", "SD 3.5 Medium"),
    "Stable Cascade": ("Stable Cascade",),
    "SVD": ("SVD", "SVD XT"),
    "Flux": ("Flux", "Flux.1 S", "Flux.1 D", "Flux.1 Krea", "Flux.1 Kontext"),
    "Flux.2": (
        *("Flux.2 D", "Flux.2 Klein 9B", "Flux.2 Klein 9B-base"),
        *("Flux.2 Klein 4B", "Flux.2 Klein 4B-base"),
    ),
    "Flux 3": ("Flux 3 Video",),
    "AuraFlow": ("AuraFlow", "Pony V7"),
    "PixArt": ("PixArt a", "PixArt E"),
    "Hunyuan DiT": ("Hunyuan 1",),
    "Hunyuan Video": ("Hunyuan Video",),
    "Hunyuan3D": ("Hunyuan3D",),
    "HiDream": ("HiDream", "HiDream-O1"),
    "LTX Video": ("LTXV", "LTXV2", "LTXV 2.3"),
    "Wan Video": (
        *("Wan Video", "Wan Video 1.3B t2v", "Wan Video 14B t2v", "Wan Video 14B i2v 480p"),
        *("Wan Video 14B i2v 720p", "Wan Video 2.2 TI2V-5B", "Wan Video 2.2 I2V-A14B"),
        *("Wan Video 2.2 T2V-A14B", "Wan Video 2.5 T2V", "Wan Video 2.5 I2V"),
        *("Wan Image 2.7", "Wan Video 2.7"),
    ),
    "Qwen": ("Qwen", "Qwen 2", "Qwen 3"),
    "Z-Image": ("ZImageTurbo", "ZImageBase"),
    "Krea 2": ("Krea 2",),
    # One base model, one family.
    "Anima": ("Anima",),
    "Chroma": ("Chroma",),
    "CogVideoX": ("CogVideoX",),
    "Ernie": ("Ernie",),
    "Grok": ("Grok",),
    "HappyHorse": ("HappyHorse",),
    "Ideogram": ("Ideogram 4.0",),
    "Boogu": ("Boogu",),
    "Imagen": ("Imagen4",),
    "Kolors": ("Kolors",),
    "Lens": ("Lens",),
    "Lumina": ("Lumina",),
    "MageFlow": ("MageFlow",),
    "MAI": ("MAI",),
    "Mochi": ("Mochi",),
    "Nano Banana": ("Nano Banana",),
    "ODOR": ("ODOR",),
    "OpenAI": ("OpenAI",),
    "Reve": ("Reve",),
    "Seedream": ("Seedream",),
    "Sora": ("Sora 2",),
    "Veo": ("Veo 3",),
    "Vidu": ("Vidu Q1",),
    "MiniMax": ("MiniMax H3",),
    "Kling": ("Kling",),
    "Seedance": ("Seedance",),
    "ACE Audio": ("ACE Audio",),
    "PolyGen": ("PolyGen",),
    "Tripo": ("Tripo",),
}
# Words for "no base model".
_NONE = frozenset({"", "other", "upscaler", "unknown", "none"})

FAMILY_OF = MappingProxyType(
    {name.lower(): family for family, names in _FAMILIES.items() for name in (family, *names)}
)
NAME_OF = MappingProxyType(
    {name.lower(): name for family, names in _FAMILIES.items() for name in (family, *names)}
)

# A new base model of a known line: the longest beginning wins.
_BEGINNINGS = (
    ("sd 1", "SD 1.5"),
    ("sd 2", "SD 2"),
    ("sd 3", "SD 3"),
    ("sdxl", "SDXL"),
    ("pony v7", "AuraFlow"),
    ("pony", "SDXL"),
    ("illustrious", "SDXL"),
    ("noobai", "SDXL"),
    ("flux.1", "Flux"),
    ("flux.2", "Flux.2"),
    ("wan video", "Wan Video"),
    ("wan 2", "Wan Video"),
    ("hunyuan video", "Hunyuan Video"),
    ("ltxv", "LTX Video"),
    ("qwen", "Qwen"),
    ("zimage", "Z-Image"),
    ("hidream", "HiDream"),
    ("pixart", "PixArt"),
    ("svd", "SVD"),
)

# Names of repositories, of files and of base models in tags; the first that is found wins.
_PATTERNS = (
    (r"noob[-_ ]?ai|noobxl", "NoobAI"),
    (r"illustrious|\bilxl\b", "Illustrious"),
    (r"pony[-_ ]?v7", "Pony V7"),
    (r"pony[-_ ]?(diffusion|xl|realism|v6)|\bpony\b", "Pony"),
    (r"auraflow", "AuraFlow"),
    (r"flux[-_. ]?2[-_. ]?klein[-_ ]?(base[-_ ]?)?9b", "Flux.2 Klein 9B"),
    (r"flux[-_. ]?2[-_. ]?klein", "Flux.2 Klein 4B"),
    (r"flux[-_. ]?2", "Flux.2 D"),
    (r"(^|[^a-z])flux.*kontext", "Flux.1 Kontext"),
    (r"(^|[^a-z])flux.*krea", "Flux.1 Krea"),
    (r"(^|[^a-z])flux.*schnell", "Flux.1 S"),
    (r"(^|[^a-z])flux", "Flux.1 D"),
    (r"sd[-_ ]?xl[-_ ]?turbo|sdxl-turbo", "SDXL Turbo"),
    (r"sd[-_ ]?xl[-_ ]?lightning", "SDXL Lightning"),
    (r"hyper[-_ ]?sdxl|sd[-_ ]?xl[-_ ]?hyper", "SDXL Hyper"),
    (r"lcm[-_ ]?sd[-_ ]?xl|sd[-_ ]?xl.*[-_ ]lcm", "SDXL 1.0 LCM"),
    (r"stable[-_ ]diffusion[-_ ]xl[-_ ]base[-_ ]0\.9|sd[-_ ]?xl[-_ ]?0\.9", "SDXL 0.9"),
    (r"stable[-_ ]diffusion[-_ ]xl|sd[-_ ]?xl|\bssd-1b\b", "SDXL 1.0"),
    (r"playground[-_ ]v2", "Playground v2"),
    (r"stable[-_ ]diffusion[-_ ]3\.?5[-_ ]large[-_ ]turbo", "SD 3.5 Large Turbo"),
    (r"stable[-_ ]diffusion[-_ ]3\.?5[-_ ]medium|sd[-_ ]?3\.?5.?medium", "SD 3.5 Medium"),
    (r"stable[-_ ]diffusion[-_ ]3\.?5|sd[-_ ]?3\.5|sd35", "SD 3.5 Large"),
    (r"stable[-_ ]diffusion[-_ ](v)?3|(^|[^a-z0-9])sd[-_ ]?3([^0-9]|$)", "SD 3"),
    (r"stable[-_ ]video[-_ ]diffusion.*xt|svd[-_]xt", "SVD XT"),
    (r"stable[-_ ]video[-_ ]diffusion|(^|[^a-z])svd([^a-z]|$)", "SVD"),
    (r"stable[-_ ]cascade|wuerstchen", "Stable Cascade"),
    (r"stable[-_ ]diffusion[-_ ]2[-_ ]1[-_ ]unclip", "SD 2.1 Unclip"),
    (r"(stable[-_ ]diffusion|sd)[-_ ]?v?2[-_. ]1|v2-1_", "SD 2.1"),
    (r"(stable[-_ ]diffusion|(^|[^a-z])sd)[-_ ]?v?2([-_. ]|$)|sd[-_]turbo", "SD 2.0"),
    (r"lcm[-_ ]?sd[-_ ]?v?1[-_. ]?5|lcm-lora-sdv1-5", "SD 1.5 LCM"),
    (r"(stable[-_ ]diffusion|sd)[-_ ]?v?1[-_. ]?4", "SD 1.4"),
    (r"(stable[-_ ]diffusion|(^|[^a-z])sd)[-_ ]?v?1([-_. ]?5|[-_. ]|$)|v1-5-pruned", "SD 1.5"),
    (r"hunyuan[-_ ]?video", "Hunyuan Video"),
    (r"hunyuan[-_ ]?3d", "Hunyuan3D"),
    (r"hunyuan[-_ ]?dit", "Hunyuan 1"),
    (r"wan[-_ ]?(ai/wan)?2[._]?2.*ti2v", "Wan Video 2.2 TI2V-5B"),
    (r"wan[-_ ]?2[._]?2.*i2v", "Wan Video 2.2 I2V-A14B"),
    (r"wan[-_ ]?2[._]?2.*t2v", "Wan Video 2.2 T2V-A14B"),
    (r"wan[-_ ]?2[._]?1.*t2v.*1\.?3b", "Wan Video 1.3B t2v"),
    (r"wan[-_ ]?2[._]?1.*t2v.*14b", "Wan Video 14B t2v"),
    (r"wan[-_ ]?2[._]?1.*i2v.*14b.*480", "Wan Video 14B i2v 480p"),
    (r"wan[-_ ]?2[._]?1.*i2v.*14b.*720", "Wan Video 14B i2v 720p"),
    (r"wan[-_ ]?2|(^|[-_/ ])wan[-_ ]?video", "Wan Video"),
    (r"cogvideo", "CogVideoX"),
    (r"ltx[-_ ]?(video|v|2)", "LTXV"),
    (r"(^|[^a-z])mochi", "Mochi"),
    (r"qwen[-_ ]?image", "Qwen"),
    (r"z[-_ ]?image[-_ ]?turbo", "ZImageTurbo"),
    (r"z[-_ ]?image", "ZImageBase"),
    (r"hidream", "HiDream"),
    (r"kolors", "Kolors"),
    (r"(^|[^a-z])lumina", "Lumina"),
    (r"pixart[-_ ]?(sigma|e)", "PixArt E"),
    (r"pixart", "PixArt a"),
    (r"(^|[^a-z])chroma([^a-z]|$)", "Chroma"),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), name) for pattern, name in _PATTERNS)

# Pipelines that say more than their name (diffusers' `_class_name`), the longest beginning first.
_PIPELINES = (
    ("StableDiffusionXL", "SDXL 1.0"),
    ("StableDiffusion3", "SD 3"),
    ("StableVideoDiffusion", "SVD"),
    ("StableCascade", "Stable Cascade"),
    ("Flux2", "Flux.2 D"),
    ("FluxKontext", "Flux.1 Kontext"),
    ("Flux", "Flux.1 D"),
    ("AuraFlow", "AuraFlow"),
    ("PixArtSigma", "PixArt E"),
    ("PixArtAlpha", "PixArt a"),
    ("HunyuanVideo", "Hunyuan Video"),
    ("HunyuanDiT", "Hunyuan 1"),
    ("HiDream", "HiDream"),
    ("Kolors", "Kolors"),
    ("Lumina", "Lumina"),
    ("LTX", "LTXV"),
    ("Mochi", "Mochi"),
    ("CogVideoX", "CogVideoX"),
    ("QwenImage", "Qwen"),
    ("ZImage", "ZImageTurbo"),
    ("Chroma", "Chroma"),
    ("Wan", "Wan Video"),
)


def family_of(base_model: str) -> str:
    """The family of a base model in anybody's words, "" for none and for what is not known.

    >>> family_of("Pony"), family_of("Flux.1 D"), family_of("SD 1.5 LCM"), family_of("Other")
    ('SDXL', 'Flux', 'SD 1.5', '')
    """
    word = base_model.strip().lower()
    if word in _NONE:
        return ""
    known = FAMILY_OF.get(word)
    if known:
        return known
    matching = [start for start in _BEGINNINGS if word.startswith(start[0])]
    if matching:
        return max(matching, key=lambda start: len(start[0]))[1]
    return FAMILY_OF.get(base_model_from_name(base_model).lower(), "")


def base_model_from_name(name: str) -> str:
    """The base model that the name of a repository or a file points to, "" when none does.

    >>> base_model_from_name("stabilityai/stable-diffusion-xl-base-1.0")
    'SDXL 1.0'
    """
    if name.strip().lower() in NAME_OF:
        return NAME_OF[name.strip().lower()]
    for pattern, base_model in _COMPILED:
        if pattern.search(name):
            return base_model
    return ""


def base_model_from_pipeline(class_name: str) -> str:
    """The base model of a diffusers pipeline, "" where one class serves several."""
    for start, base_model in _PIPELINES:
        if class_name.startswith(start):
            return base_model
    return ""
