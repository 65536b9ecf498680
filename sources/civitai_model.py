"""CivitAI's two answers, read: every function here takes what came and asks nothing.

Keys differ between 2023, 2025 and 2026; any of them may be absent, null or of another type. What is
missing stays empty in the resolution. Only an id is certain: see `sources.civitai`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sources.civitai_files import Listed, choose, read_files, training_file_ids
from sources.errors import NotDownloadable
from sources.families import family_of
from sources.reading import (
    as_bool,
    as_dict,
    as_dicts,
    as_extra,
    as_html,
    as_id,
    as_moment,
    as_moment_text,
    as_number,
    as_size,
    as_text,
    as_url,
    as_words,
    later,
)
from sources.refs import CIVITAI, MAX_CIVITAI_ID, CivitaiReference
from sources.resolution import Licence, ModelType, Preview, Resolution, SourceFile, Version
from sources.types import civitai_model_type, type_from_name

MAX_PREVIEWS = 30
MAX_TRIGGER_LENGTH = 1000
# The bits of `nsfwLevel`: 1 PG, 2 PG-13, 4 R, 8 X, 16 XXX, 32 blocked.
_SAFE_BITS = 1 | 2
_NSFW_WORDS = {"none": 1, "soft": 2, "mature": 4, "x": 8}
_MODEL_EXTRAS = (
    *("mode", "poi", "minor", "sfwOnly", "supportsGeneration", "availability", "cosmetic"),
    *("allowNoCredit", "userId", "uploadType"),
)
_VERSION_EXTRAS = (
    *("air", "usageControl", "status", "trainingStatus", "trainingDetails", "uploadType"),
    *("licensingFee", "paidAccess", "index", "vaeId", "createdAt", "earlyAccessTimeFrame"),
    *("earlyAccessConfig", "requireAuth", "covered"),
)


@dataclass(frozen=True)
class Answers:
    """What the two calls brought; an empty dict where one of them brought nothing."""

    model: dict[str, Any]
    version: dict[str, Any]
    version_id: int
    model_id: int | None
    missing: str = ""
    others: list[dict[str, Any]] = field(default_factory=list)


def is_empty(value: object) -> bool:
    """Nothing worth keeping over what another answer says."""
    return value is None or value in ("", [], {})


def refuse_what_cannot_come(answers: Answers) -> None:
    """Raises NotDownloadable for an archived model and one that may only be used on the site."""
    model, version = answers.model, answers.version
    own = as_dict(version.get("model"))
    if "archived" in {as_text(model.get("mode")).lower(), as_text(own.get("mode")).lower()}:
        raise NotDownloadable("The creator has archived this model; it cannot be downloaded.")
    usage = as_text(version.get("usageControl"), 40)
    if usage and usage.lower() != "download":
        raise NotDownloadable(
            "The creator allows this version to be used on CivitAI only, not to be downloaded.",
            usage_control=usage,
        )


def listed_files(answers: Answers, endpoint: str) -> tuple[ModelType, tuple[Listed, ...]]:
    """The declared type of the model, and the files of the version."""
    own = as_dict(answers.version.get("model"))
    declared = civitai_model_type(as_text(answers.model.get("type") or own.get("type"), 40))
    return declared, read_files(
        answers.version, version_id=answers.version_id, model_type=declared, endpoint=endpoint
    )


def build(
    reference: CivitaiReference, answers: Answers, *, endpoint: str, now: datetime
) -> Resolution:
    """The resolution that the answers make; nothing is asked. Raises NotFound, NotDownloadable."""
    model, version = answers.model, answers.version
    own = as_dict(version.get("model"))
    declared, listed = listed_files(answers, endpoint)
    chosen = choose(
        listed,
        model_type=declared,
        file_id=reference.file_id,
        choice=reference.choice,
        sha256=reference.sha256,
        training_ids=training_file_ids(version),
    )
    files = tuple(one.file for one in listed)
    main = next(file for file in files if file.file_id == chosen[0])
    names_file = reference.file_id is not None or bool(reference.choice) or bool(reference.sha256)
    canonical = CivitaiReference(
        model_id=answers.model_id,
        version_id=answers.version_id,
        file_id=as_id(main.file_id, MAX_CIVITAI_ID) if names_file else None,
    )
    base_model = as_text(version.get("baseModel"), 100)
    level = _nsfw_level(model, version)
    is_early, until = early_access(model, version, now)
    return Resolution(
        source_type=CIVITAI,
        reference=str(canonical),
        source_url=canonical.page_url,
        name=as_text(model.get("name") or own.get("name")) or f"CivitAI {answers.version_id}",
        model_type=main.model_type,
        files=files,
        chosen=chosen,
        model_id=str(answers.model_id or ""),
        version_id=str(answers.version_id),
        version_name=as_text(version.get("name")),
        base_model=base_model,
        base_model_family=family_of(base_model),
        base_model_type=as_text(version.get("baseModelType"), 40),
        description=as_html(model.get("description")),
        version_description=as_html(version.get("description")),
        trigger_words=as_words(version.get("trainedWords"), MAX_TRIGGER_LENGTH),
        previews=_previews(version),
        tags=as_words(model.get("tags")),
        creator=as_text(as_dict(model.get("creator")).get("username"), 200),
        creator_image=as_url(as_dict(model.get("creator")).get("image")),
        licence=_licence(model),
        nsfw=_is_nsfw(model, own, level),
        nsfw_level=level,
        published_at=as_moment_text(version.get("publishedAt") or version.get("createdAt")),
        updated_at=as_moment_text(version.get("updatedAt")),
        stats=_stats(model, version),
        versions=_versions(answers.others),
        needs_token=_needs_token(model, version, is_early=is_early, until=until),
        early_access=is_early,
        early_access_until=until,
        warnings=tuple(_warnings(answers, main)),
        extra=_extra(answers, listed),
    )


def early_access(
    model: dict[str, Any], version: dict[str, Any], now: datetime
) -> tuple[bool, datetime | None]:
    """Whether the version is paid for now, and until when; the end is None when it has none.

    `paidAccess` since July 2026, `earlyAccessEndsAt` and `earlyAccessDeadline` before, and
    `earlyAccessTimeFrame` in days after publication until 2024.
    """
    paid = as_dict(version.get("paidAccess"))
    if paid.get("permanent") is True:
        return True, None
    ends = [as_moment(paid.get("endsAt"))]
    ends += [as_moment(version.get(key)) for key in ("earlyAccessEndsAt", "earlyAccessDeadline")]
    days = as_number(version.get("earlyAccessTimeFrame"))
    start = as_moment(version.get("publishedAt") or version.get("createdAt"))
    if days and days > 0 and start:
        ends.append(later(start, days))
    known = [end for end in ends if end is not None]
    if known:
        end = max(known)
        return (True, end) if end > now else (False, None)
    words = {as_text(item.get("availability")).lower() for item in (model, version)}
    return "earlyaccess" in words, None


def _needs_token(
    model: dict[str, Any], version: dict[str, Any], *, is_early: bool, until: datetime | None
) -> str:
    if is_early:
        when = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        return f"Paid early access{when}: only an account that bought it may download."
    words = {as_text(item.get("availability")).lower() for item in (model, version)}
    if "private" in words:
        return "This model is private: only accounts with a grant may download it."
    return "The creator asks for a login." if version.get("requireAuth") is True else ""


def _nsfw_level(model: dict[str, Any], version: dict[str, Any]) -> int:
    level = as_size(model.get("nsfwLevel"))
    if level is None:
        level = as_size(version.get("nsfwLevel"))
    return level if level is not None and level < 1 << 16 else 0


def _is_nsfw(model: dict[str, Any], own: dict[str, Any], level: int) -> bool:
    for value in (model.get("nsfw"), own.get("nsfw")):
        if isinstance(value, str):
            return _NSFW_WORDS.get(value.lower(), 0) > _SAFE_BITS
        flag = as_bool(value)
        if flag is not None:
            return flag
    return bool(level & ~_SAFE_BITS)


def _licence(model: dict[str, Any]) -> Licence:
    no_credit = as_bool(model.get("allowNoCredit"))
    return Licence(
        commercial_use=commercial_use(model.get("allowCommercialUse")),
        credit_required=None if no_credit is None else not no_credit,
        derivatives=as_bool(model.get("allowDerivatives")),
        different_licence=as_bool(model.get("allowDifferentLicense")),
    )


def commercial_use(value: object) -> tuple[str, ...]:
    """CivitAI's three shapes: "Rent", ["Image", "Rent"] and PostgreSQL's own "{Image,Rent}"."""
    if isinstance(value, str):
        value = value.strip().strip("{}").split(",")
    return tuple(word.strip('"') for word in as_words(value, 40))


def _previews(version: dict[str, Any]) -> tuple[Preview, ...]:
    found = []
    for plain in as_dicts(version.get("images"))[: MAX_PREVIEWS * 2]:
        url = as_url(plain.get("url"))
        kind = as_text(plain.get("type"), 20).lower() or "image"
        if url and kind in {"image", "video"}:
            found.append(
                Preview(
                    url=url,
                    kind=kind,
                    width=as_size(plain.get("width")),
                    height=as_size(plain.get("height")),
                    nsfw_level=_picture_level(plain),
                    blurhash=as_text(plain.get("hash"), 100),
                )
            )
    return tuple(found[:MAX_PREVIEWS])


def _picture_level(plain: dict[str, Any]) -> int:
    """A mask since 2024, `nsfw` as a word in 2023 and as true or false before."""
    level = as_size(plain.get("nsfwLevel"))
    if level is not None and level < 1 << 16:
        return level
    value = plain.get("nsfw", plain.get("nsfwLevel"))
    if isinstance(value, str):
        return _NSFW_WORDS.get(value.lower(), 0)
    return {True: 8, False: 1}.get(value, 0) if isinstance(value, bool) else 0


def _stats(model: dict[str, Any], version: dict[str, Any]) -> dict[str, int | float]:
    """Numbers only: a creator may hide them, and then they are null."""
    numbers: dict[str, int | float] = {}
    for stats in (as_dict(version.get("stats")), as_dict(model.get("stats"))):
        for key, value in list(stats.items())[:50]:
            number = as_number(value)
            if number is not None:
                numbers[as_text(key, 60)] = number
    return numbers


def _versions(others: list[dict[str, Any]]) -> tuple[Version, ...]:
    return tuple(
        Version(
            version_id=str(number),
            name=as_text(other.get("name")),
            base_model=as_text(other.get("baseModel"), 100),
        )
        for other in others
        if (number := as_id(other.get("id"))) is not None
    )


def _warnings(answers: Answers, main: SourceFile) -> list[str]:
    warnings = []
    if as_text(answers.model.get("mode")).lower() == "takendown":
        warnings.append("CivitAI has taken this model down; its files may not come any more.")
    for scanner, result in (("virus", main.virus_scan), ("pickle", main.pickle_scan)):
        if result == "Danger":
            warnings.append(f"CivitAI's {scanner} scan calls this file dangerous.")
    title = f"{as_text(answers.version.get('name'))} {main.name}"
    if main.model_type is ModelType.CHECKPOINT and type_from_name(title) is ModelType.LORA:
        warnings.append("CivitAI calls this a checkpoint, its name a LoRA; check the type.")
    if answers.missing:
        warnings.append(f"CivitAI did not answer for {answers.missing}; some fields are empty.")
    return warnings


def _extra(answers: Answers, listed: tuple[Listed, ...]) -> dict[str, Any]:
    own = as_dict(answers.version.get("model"))
    values = {key: {**own, **answers.model}.get(key) for key in _MODEL_EXTRAS}
    values |= {
        key: answers.version.get(key)
        for key in _VERSION_EXTRAS
        if not is_empty(answers.version.get(key))
    }
    values["scan_messages"] = {one.file.file_id: one.scan_message for one in listed}
    values["is_incomplete"] = True if answers.missing else None
    return as_extra(values)
