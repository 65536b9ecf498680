"""Assets in words: what a badge says, and in which colour."""

from __future__ import annotations

from dataclasses import dataclass

from registry.models import Asset, AssetStatus, Safety, Verification

TYPE_NAMES = {
    "checkpoint": "Checkpoint",
    "diffusion_model": "Diffusion model",
    "lora": "LoRA",
    "embedding": "Embedding",
    "vae": "VAE",
    "controlnet": "ControlNet",
    "upscaler": "Upscaler",
    "text_encoder": "Text encoder",
    "clip_vision": "CLIP vision",
    "hypernetwork": "Hypernetwork",
    "motion_module": "Motion module",
    "poses": "Poses",
    "wildcards": "Wildcards",
    "workflow": "Workflow",
    "detection": "Detection",
    "other": "Other",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A badge: the tone is a colour, icon and word say the same."""

    tone: str
    icon: str
    word: str


@dataclass(frozen=True, slots=True)
class AssetWords:
    type_name: str
    state: Mark | None  # None: active, nothing to say
    trust: Mark
    safety: Mark | None
    source: str
    source_name: str


_STATES = {
    AssetStatus.FLAGGED: Mark("attention", "warning", "flagged"),
    AssetStatus.MISSING: Mark("failed", "failed", "missing"),
    AssetStatus.CORRUPT: Mark("failed", "failed", "corrupt"),
    AssetStatus.DELETING: Mark("waiting", "trash", "being deleted"),
}
_TRUST = {
    Verification.VERIFIED: Mark("done", "verified", "verified"),
    Verification.UNVERIFIED: Mark("waiting", "unverified", "no published digest"),
    Verification.MISMATCH: Mark("failed", "warning", "digest differs"),
    Verification.ACCEPTED: Mark("attention", "check", "accepted by an admin"),
}
_SAFETY = {
    Safety.HARMLESS_PICKLE: Mark("attention", "info", "pickle, harmless"),
    Safety.SUSPICIOUS: Mark("attention", "warning", "suspicious pickle"),
    Safety.DANGEROUS: Mark("failed", "warning", "dangerous pickle"),
}
SOURCE_NAMES = {"civitai": "CivitAI", "huggingface": "HuggingFace", "direct": "direct link"}


def words_of(asset: Asset) -> AssetWords:
    return AssetWords(
        type_name=TYPE_NAMES.get(asset.asset_type, asset.asset_type),
        state=_STATES.get(AssetStatus(asset.status)),
        trust=_TRUST[Verification(asset.verification)],
        safety=_SAFETY.get(Safety(asset.safety)),
        source=asset.source_type if asset.source_type in SOURCE_NAMES else "direct",
        source_name=SOURCE_NAMES.get(asset.source_type, "found on disk"),
    )
