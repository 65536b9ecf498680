"""From what the source said and what the file says to the columns of an asset. Pure.

Nothing is trusted here, although `sources` cleaned it before: it has been in a cache and in a row
since. HTML passes the allow-list again, texts lose control characters, links are http(s) or empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from registry.inspect.report import storable
from registry.inspect.verdict import Verdict
from sources.families import family_of
from sources.reading import as_html, as_number, as_text, as_url, as_words

MAX_PREVIEWS = 6
MAX_WORD_CHARS = 500
#: Columns that a refresh may fill again, when no person has changed them.
REFRESHABLE = (
    "name",
    "version_name",
    "base_model",
    "base_model_family",
    "description",
    "trigger_words",
    "tags",
    "creator",
    "licence",
    "nsfw",
    "nsfw_level",
    "source_url",
)


def source_columns(resolution: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that the source's resolution (as a plain dict) fills."""
    return {
        "version_name": as_text(resolution.get("version_name"), 300),
        "base_model": as_text(resolution.get("base_model"), 100),
        "base_model_family": as_text(resolution.get("base_model_family"), 100),
        "description": as_html(_description(resolution)),
        "trigger_words": clean_words(resolution.get("trigger_words")),
        "tags": clean_words(resolution.get("tags")),
        "creator": as_text(resolution.get("creator"), 200),
        "licence": storable(resolution.get("licence") or {}),
        "nsfw": bool(resolution.get("nsfw")),
        "nsfw_level": _integer(resolution.get("nsfw_level")),
        "source_type": as_text(resolution.get("source_type"), 32),
        "source_url": as_url(resolution.get("source_url")),
        "source_reference": as_text(resolution.get("reference"), 2048),
        "source_model_id": as_text(resolution.get("model_id"), 300),
        "source_version_id": as_text(resolution.get("version_id"), 300),
    }


def file_columns(source_file: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    """Columns that the source's file and the inspection of the bytes fill."""
    return {
        "source_file_id": as_text(source_file.get("file_id"), 1024),
        "format": verdict.format or as_text(source_file.get("format"), 32),
        "precision": as_text(source_file.get("precision") or verdict.header.get("precision"), 32),
        "safety": verdict.safety,
    }


def fill_from_file(columns: dict[str, Any], verdict: Verdict) -> None:
    """What the source did not say and the file's own header does."""
    if not columns["trigger_words"]:
        columns["trigger_words"] = clean_words(verdict.header.get("trigger_words"))
    if not columns["base_model"] and verdict.detected_base_model:
        columns["base_model"] = as_text(verdict.detected_base_model, 100)
        columns["base_model_family"] = family_of(columns["base_model"])


def published_digests(source_file: Mapping[str, Any]) -> dict[str, str]:
    """Further digests that the source published; they describe our bytes only when SHA-256 or the
    git SHA-1 was found equal."""
    hashes = source_file.get("hashes") or {}
    limits = {"git_sha1": 40, "blake3": 64, "autov3": 64, "crc32": 8}
    return {
        name: digest
        for name, limit in limits.items()
        if (digest := str(hashes.get(name) or "").strip().lower()) and len(digest) <= limit
    }


def metadata(
    resolution: Mapping[str, Any], source_file: Mapping[str, Any], verdict: Verdict
) -> dict[str, Any]:
    """The JSON that is kept beside the columns: everything the source and the file said."""
    inspection = {
        "header": storable(verdict.header),
        "findings": storable(verdict.findings),
        "detected_type": verdict.detected_type,
        "detected_base_model": verdict.detected_base_model,
    }
    return {
        "source_metadata": safe_resolution(resolution),
        "source_file": storable(source_file),
        "inspection": inspection,
    }


def safe_resolution(resolution: Mapping[str, Any]) -> dict[str, Any]:
    """The resolution with its HTML sanitised again and nothing that a database refuses."""
    said: dict[str, Any] = storable(resolution)
    for key in ("description", "version_description"):
        if said.get(key):
            said[key] = as_html(said[key])
    return said


def preview_rows(resolution: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Up to MAX_PREVIEWS pictures (no videos) as `source_url`, `nsfw_level`, `position`."""
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for preview in resolution.get("previews") or ():
        url = as_url(preview.get("url"))
        if not url or url in seen or preview.get("kind", "image") != "image":
            continue
        seen.add(url)
        rows.append(
            {
                "source_url": url,
                "nsfw_level": _integer(preview.get("nsfw_level")),
                "position": len(rows),
            }
        )
        if len(rows) == MAX_PREVIEWS:
            break
    return rows


def clean_words(values: Iterable[Any] | None) -> list[str]:
    """Distinct non-empty words in their order, bounded in number and length."""
    return list(as_words(list(values or ()), MAX_WORD_CHARS))


def _description(resolution: Mapping[str, Any]) -> str:
    about_model = str(resolution.get("description") or "")
    about_version = str(resolution.get("version_description") or "")
    if about_model and about_version and about_version not in about_model:
        return f"{about_model}\n<h4>About this version</h4>\n{about_version}"
    return about_model or about_version


def _integer(value: Any) -> int:
    number = as_number(value)
    return int(number) if number is not None and 0 <= number < 2**31 else 0
