"""What stands under the link box: the preview of one link in words, or what is in its way.

Pure, except for one question to the file system: how much room there is.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from config import wording
from config.errors import ModelyardError
from downloads.enqueue import Resolved
from downloads.presentation import MATURE_LEVEL, SOURCE_NAMES
from registry.models import Asset
from registry.previews import signed_preview_url
from registry.words import TYPE_NAMES
from sources.errors import LicenceRequired, TokenRejected, TokenRequired
from sources.refs import CivitaiReference, Reference
from sources.resolution import FileRole, Licence, Resolution, SourceFile
from tokens.models import Service

MAX_TRIGGER_WORDS = 24
MAX_VERSIONS = 60


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to know; the tone is a colour, the icon and the words say the same."""

    tone: str
    icon: str
    text: str


@dataclass(frozen=True, slots=True)
class FileOption:
    file_id: str
    name: str
    size: str
    notes: tuple[str, ...]
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class VersionOption:
    url: str
    name: str
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What the person changed, beside what the source says: only a difference is a change."""

    model_name: str = ""
    model_type: str = ""
    base_model: str = ""
    folder: str = ""
    review: bool = False


@dataclass(frozen=True, slots=True)
class Licenced:
    name: str
    link: str
    terms: str


@dataclass(frozen=True, slots=True)
class Here:
    """The asset that is here already."""

    pk: int
    name: str
    path: str
    size: str
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """`way_out` is retry, licence, or "" when only another link helps."""

    message: str
    code: str
    way_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """`problem` says why nothing can start; `service` asks for a token of that service."""

    key: str
    url: str
    title: str = ""
    version: str = ""
    source: str = "direct"
    source_name: str = ""
    source_url: str = ""
    creator: str = ""
    badges: tuple[str, ...] = ()
    size: str = ""
    picture: str = ""
    mature: bool = False
    licence: Licenced | None = None
    description: str = ""
    words: tuple[str, ...] = ()
    more_words: int = 0
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    target_path: str = ""
    target_reason: str = ""
    files: tuple[FileOption, ...] = ()
    chosen_count: int = 0
    versions: tuple[VersionOption, ...] = ()
    edits: Edits = field(default_factory=Edits)
    source_says: Edits = field(default_factory=Edits)
    here: Here | None = None
    starts_at: str = ""
    space: str = ""
    service: str = ""
    service_reason: str = ""
    problem: Problem | None = None
    field_errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        return self.problem is None and not self.service


def key_of(url: str) -> str:
    """Stable and safe as an id in a page, whatever the link holds."""
    return hashlib.sha256(url.strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def card_of(
    resolved: Resolved,
    *,
    url: str,
    edits: Edits,
    now: datetime,
    error: ModelyardError | None = None,
    said: Mapping[str, str] | None = None,
) -> Card:
    """The preview of a link that the source answered. `error` is why starting it was refused.

    `said` is what the source said about the fields that the person has changed.
    """
    said = said or {}
    resolution = resolved.resolution
    main = resolved.main
    size = _total_size(resolved)
    picture = next((item for item in resolution.previews if item.kind == "image"), None)
    until = resolution.early_access_until
    parks_until = until if until and until > now and not resolved.has_credential else None
    needs_token = bool(resolution.needs_token) and not (resolved.has_credential or parks_until)
    return Card(
        key=key_of(url),
        url=url,
        title=resolved.name,
        version=resolution.version_name,
        source=_source(resolution.source_type),
        source_name=SOURCE_NAMES.get(resolution.source_type, resolution.source_type),
        source_url=resolution.source_url,
        creator=resolution.creator,
        badges=_badges(resolved),
        size=wording.bytes_in_words(size),
        picture=signed_preview_url(picture.url) if picture else "",
        mature=_is_mature(resolution, picture.nsfw_level if picture else 0),
        licence=_licence(resolution.licence),
        description=resolution.version_description or resolution.description,
        words=resolution.trigger_words[:MAX_TRIGGER_WORDS],
        more_words=max(0, len(resolution.trigger_words) - MAX_TRIGGER_WORDS),
        facts=(*_trust(resolved), *_scans(main.file)),
        warnings=resolution.warnings,
        target_path=main.placement.virtual_path,
        target_reason=main.placement.reason,
        files=_file_options(resolved),
        chosen_count=len(resolved.chosen),
        versions=_version_options(resolution),
        edits=Edits(
            model_name=resolved.name,
            model_type=resolved.model_type,
            base_model=resolved.base_model,
            folder=edits.folder,
            review=edits.review,
        ),
        source_says=Edits(
            model_name=said.get("model_name", resolved.name),
            model_type=said.get("model_type", resolved.model_type),
            base_model=said.get("base_model", resolved.base_model),
        ),
        here=_here(resolved.duplicate.existing_asset, resolved.duplicate.reason),
        starts_at=_moment(parks_until) if parks_until else "",
        space=_missing_space(Path(main.placement.root.path), size),
        service=_service(resolution.source_type) if needs_token else "",
        service_reason=resolution.needs_token if needs_token else "",
        problem=_problem(error) if error is not None else None,
    )


def card_of_error(error: ModelyardError, *, url: str, reference: Reference | None) -> Card:
    """What is in the way of a link that could not be looked up, and the way out."""
    source = reference.source_type if reference else ""
    asks = isinstance(error, TokenRequired | TokenRejected)
    service = _service(source) if asks else ""
    return Card(
        key=key_of(url),
        url=url,
        title=reference.display if reference else url.strip(),
        source=_source(source),
        source_name=SOURCE_NAMES.get(source, ""),
        source_url=reference.page_url if reference else "",
        service=service,
        service_reason=error.message if service else "",
        problem=None if service else _problem(error),
    )


def with_token_error(card: Card, error: ModelyardError, service: str) -> Card:
    """The same card, with what was wrong about the token beside its field."""
    return replace(card, service=service, field_errors={"token": error.message}, problem=None)


def _problem(error: ModelyardError) -> Problem:
    way_out = ""
    if isinstance(error, LicenceRequired):
        way_out = "licence"
    elif error.retryable or error.http_status >= 500 or error.http_status == 429:
        way_out = "retry"
    return Problem(error.message, error.code, way_out)


def _source(source_type: str) -> str:
    return source_type if source_type in SOURCE_NAMES else "direct"


def _service(source_type: str) -> str:
    return source_type if source_type in Service.values else ""


def _badges(resolved: Resolved) -> tuple[str, ...]:
    file = resolved.main.file
    parts = (
        TYPE_NAMES.get(resolved.model_type, resolved.model_type),
        resolved.base_model,
        file.format,
        file.precision,
        file.quantization,
        file.size_class if file.size_class == "pruned" else "",
    )
    return tuple(part for part in parts if part)


def _is_mature(resolution: Resolution, picture_level: int) -> bool:
    return resolution.nsfw or picture_level >= MATURE_LEVEL


def _licence(licence: Licence) -> Licenced | None:
    terms = []
    if licence.commercial_use:
        uses = [use for use in licence.commercial_use if use != "None"]
        terms.append(f"commercial use: {', '.join(uses)}" if uses else "no commercial use")
    if licence.credit_required:
        terms.append("credit required")
    if licence.derivatives is False:
        terms.append("no derivatives")
    if not licence.name and not terms:
        return None
    link = licence.link if licence.link.startswith(("https://", "http://")) else ""
    return Licenced(licence.name, link, ", ".join(terms))


def _trust(resolved: Resolved) -> tuple[Fact, ...]:
    weights = [item.file for item in resolved.chosen if item.file.role == FileRole.WEIGHTS]
    files = weights or [resolved.main.file]
    if all(file.hashes.sha256 for file in files):
        return (Fact("done", "verified", "SHA-256 published: compared on arrival"),)
    if all(file.hashes.sha256 or file.hashes.git_sha1 for file in files):
        return (Fact("done", "verified", "git digest published: compared on arrival"),)
    return (Fact("waiting", "unverified", "no digest published: ours will be kept"),)


def _scans(file: SourceFile) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    said = {"pickle scan": file.pickle_scan, "virus scan": file.virus_scan}
    for what, result in said.items():
        if result.lower() in {"danger", "error"}:
            facts.append(Fact("failed", "warning", f"{what} at the source: {result}"))
    if not facts and any(result.lower() == "success" for result in said.values()):
        facts.append(Fact("done", "check", "scanned clean at the source"))
    if file.format == "pickle":
        facts.append(Fact("attention", "warning", "pickle format: scanned here before it is used"))
    return tuple(facts)


def _file_options(resolved: Resolved) -> tuple[FileOption, ...]:
    chosen = {item.file.file_id for item in resolved.chosen}
    options = []
    for file in resolved.resolution.files:
        notes = (
            file.kind,
            file.format,
            file.precision,
            file.quantization,
            file.size_class,
        )
        options.append(
            FileOption(
                file.file_id,
                file.path or file.name,
                wording.bytes_in_words(file.size_bytes),
                tuple(dict.fromkeys(note for note in notes if note)),
                file.file_id in chosen,
            )
        )
    return tuple(options)


def _version_options(resolution: Resolution) -> tuple[VersionOption, ...]:
    if resolution.source_type != Service.CIVITAI or not resolution.model_id.isdecimal():
        return ()
    return tuple(
        VersionOption(
            str(
                CivitaiReference(
                    model_id=int(resolution.model_id), version_id=int(version.version_id)
                )
            ),
            f"{version.name} ({version.base_model})" if version.base_model else version.name,
            version.version_id == resolution.version_id,
        )
        for version in resolution.versions[:MAX_VERSIONS]
        if version.version_id.isdecimal()
    )


def _here(asset: Asset | None, reason: str) -> Here | None:
    if asset is None:
        return None
    why = "the same bytes" if reason == "same_hash" else "the same file of the same version"
    return Here(
        asset.pk,
        asset.name,
        asset.virtual_path,
        wording.bytes_in_words(asset.file_size_bytes),
        why,
    )


def _total_size(resolved: Resolved) -> int | None:
    sizes = [item.file.size_bytes for item in resolved.chosen]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _missing_space(root: Path, size: int | None) -> str:
    """How much is missing where the models are, in words; "" when there is room."""
    if size is None:
        return ""
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return ""
    return wording.bytes_in_words(size - free) if size > free else ""


def _moment(moment: datetime) -> str:
    return wording.moment_in_words(timezone.localtime(moment), timezone.localtime())
