"""What a source answered, in one shape for all sources: frozen, checked, ready to download.

A resolution never holds a secret: no token, no signed URL. `Resolution.as_dict()` and `from_dict()`
carry it through the cache, the API and `Download.source_metadata`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class ModelType(StrEnum):
    """Our types; each source maps its own words to one of them."""

    CHECKPOINT = "checkpoint"
    DIFFUSION_MODEL = "diffusion_model"
    LORA = "lora"
    EMBEDDING = "embedding"
    VAE = "vae"
    CONTROLNET = "controlnet"
    UPSCALER = "upscaler"
    TEXT_ENCODER = "text_encoder"
    CLIP_VISION = "clip_vision"
    HYPERNETWORK = "hypernetwork"
    MOTION_MODULE = "motion_module"
    POSES = "poses"
    WILDCARDS = "wildcards"
    WORKFLOW = "workflow"
    DETECTION = "detection"
    OTHER = "other"


class FileRole(StrEnum):
    """What a file is for: weights become assets, companions are kept beside them."""

    WEIGHTS = "weights"
    COMPANION = "companion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    r"""Digests as the source published them, lower-case hex, "" where it published none.

    `git_sha1` is SHA-1 over `blob <size>\0<content>`: all that HuggingFace has for small files.
    """

    sha256: str = ""
    git_sha1: str = ""
    blake3: str = ""
    autov1: str = ""
    autov2: str = ""
    autov3: str = ""
    crc32: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file that the source offers.

    `file_id` is stable where the name is not: CivitAI's numeric file id, the path in a HuggingFace
    repository, "file" for a direct link. `path` is the relative path inside a snapshot ("" where
    there is none). `size_bytes` is None when unknown; a CivitAI size is rounded from KiB.
    `model_type` is the file's own: in a snapshot the parts differ, and its one folder follows the
    type of the resolution. `url` holds no secret; a direct link with one is put back by the caller.
    """

    file_id: str
    name: str
    url: str
    model_type: ModelType
    role: FileRole = FileRole.WEIGHTS
    path: str = ""
    size_bytes: int | None = None
    hashes: Hashes = field(default_factory=Hashes)
    kind: str = ""  # the source's own word: "Model", "VAE", "Training Data", "Config" …
    format: str = (
        ""  # safetensors, pickle, gguf, diffusers, onnx, archive, config, text, image, other
    )
    precision: str = ""  # fp16, bf16, fp8 …, as the source says
    size_class: str = ""  # full or pruned
    quantization: str = ""
    primary: bool = False
    required: bool = False
    pickle_scan: str = ""
    virus_scan: str = ""
    scanned_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A picture or a video at the source; `nsfw_level` is CivitAI's bit mask, 0 when unknown."""

    url: str
    kind: str = "image"
    width: int | None = None
    height: int | None = None
    nsfw_level: int = 0
    blurhash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """`commercial_use` holds CivitAI's words (None, Image, RentCivit, Rent, Sell)."""

    name: str = ""
    link: str = ""
    commercial_use: tuple[str, ...] = ()
    credit_required: bool | None = None
    derivatives: bool | None = None
    different_licence: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Another version of the same model, for the choice on the page."""

    version_id: str
    name: str
    base_model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Everything the source says about what was asked for.

    `files` are all files that may be downloaded; `chosen` are the ids of those that a plain
    "download" means, the main one first. `reference` is the canonical text: it parses back to what
    was resolved, at HuggingFace pinned to the commit. `needs_token` says why a token is needed (""
    when none is). `early_access_until` lies in the future or is None; `early_access` alone means
    paid without an end. `warnings` are sentences for the user.
    """

    source_type: str  # civitai, huggingface, direct
    reference: str
    source_url: str  # the page a person would open; no query with secrets
    name: str
    model_type: ModelType
    files: tuple[SourceFile, ...]
    chosen: tuple[str, ...]
    model_id: str = ""
    version_id: str = ""
    version_name: str = ""
    base_model: str = ""
    base_model_family: str = ""
    base_model_type: str = ""
    description: str = ""  # sanitised HTML
    version_description: str = ""  # sanitised HTML
    trigger_words: tuple[str, ...] = ()
    previews: tuple[Preview, ...] = ()
    tags: tuple[str, ...] = ()
    creator: str = ""
    creator_image: str = ""
    licence: Licence = field(default_factory=Licence)
    nsfw: bool = False
    nsfw_level: int = 0
    published_at: str = ""
    updated_at: str = ""
    stats: dict[str, int | float] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()
    is_snapshot: bool = False
    folder: str = ""  # the folder of a snapshot below the rule's: "owner--repo"
    needs_token: str = ""
    early_access: bool = False
    early_access_until: datetime | None = None
    warnings: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)  # what else the source said, bounded

    def file(self, file_id: str) -> SourceFile:
        """The offered file of that id. Raises KeyError."""
        for candidate in self.files:
            if candidate.file_id == file_id:
                return candidate
        raise KeyError(file_id)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back to an equal resolution."""
        plain = asdict(self)
        until = self.early_access_until
        plain["early_access_until"] = until.isoformat() if until else None
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The reverse of `as_dict`. Raises KeyError, TypeError or ValueError on anything else."""
        values = {item.name: plain[item.name] for item in fields(cls) if item.name in plain}
        until = values.get("early_access_until")
        values["early_access_until"] = datetime.fromisoformat(until) if until else None
        values["model_type"] = ModelType(values["model_type"])
        values["files"] = tuple(_file_from_dict(item) for item in values["files"])
        values["previews"] = tuple(Preview(**item) for item in values.get("previews", ()))
        values["versions"] = tuple(Version(**item) for item in values.get("versions", ()))
        licence = dict(values.get("licence") or {})
        licence["commercial_use"] = tuple(licence.get("commercial_use", ()))
        values["licence"] = Licence(**licence)
        for name in ("chosen", "trigger_words", "tags", "warnings"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def _file_from_dict(plain: dict[str, Any]) -> SourceFile:
    values = dict(plain)
    values["model_type"] = ModelType(values["model_type"])
    values["role"] = FileRole(values["role"])
    values["hashes"] = Hashes(**values["hashes"])
    return SourceFile(**values)
