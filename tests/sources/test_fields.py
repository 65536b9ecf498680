"""Over 90 % of what the sources published is in the resolution: counted over all recordings.

What counts as published is every key of a recorded answer that holds something, once per model,
version, file, picture or repository. Keys that say nothing of a model are named here with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sources.errors import NotDownloadable
from sources.parse import parse_reference
from sources.refs import Endpoints
from sources.resolution import Preview, Resolution, SourceFile
from tests.sources.fakes import DATA, HUB, FakeClient, civitai_routes, recorded, resolver

# Not of the model: `_id` and the like are the site's own keys, `spaces` and `widgetData` are other
# people's pages, `model-index` and `meta` are results and prompts, `config.tokenizer_config` is in
# a file of the repository.
LEFT_OUT = {"_id", "spaces", "widgetData", "modelId", "hasMeta", "hasPositivePrompt", "onSite"}
LEFT_OUT |= {"metadata", "meta", "minor", "poi", "remixOfId", "availability", "covered", "id"}

MODEL: dict[str, Callable[[Resolution], Any]] = {
    "name": lambda r: r.name,
    "description": lambda r: r.description,
    "type": lambda r: r.model_type,
    "nsfw": lambda r: r.nsfw is not None,
    "nsfwLevel": lambda r: r.nsfw_level,
    "allowNoCredit": lambda r: r.licence.credit_required is not None,
    "allowCommercialUse": lambda r: r.licence.commercial_use,
    "allowDerivatives": lambda r: r.licence.derivatives is not None,
    "allowDifferentLicense": lambda r: r.licence.different_licence is not None,
    "stats": lambda r: r.stats,
    "creator": lambda r: r.creator and r.creator_image,
    "tags": lambda r: r.tags,
    "mode": lambda r: r.extra.get("mode"),
    "sfwOnly": lambda r: "sfwOnly" in r.extra,
    "supportsGeneration": lambda r: "supportsGeneration" in r.extra,
    "modelVersions": lambda r: r.versions,
}
VERSION: dict[str, Callable[[Resolution], Any]] = {
    "name": lambda r: r.version_name,
    "modelId": lambda r: r.model_id,
    "createdAt": lambda r: r.published_at,
    "updatedAt": lambda r: r.updated_at,
    "publishedAt": lambda r: r.published_at,
    "status": lambda r: r.extra.get("status"),
    "trainedWords": lambda r: r.trigger_words,
    "baseModel": lambda r: r.base_model,
    "baseModelType": lambda r: r.base_model_type,
    "description": lambda r: r.version_description,
    "stats": lambda r: r.stats,
    "files": lambda r: r.files,
    "images": lambda r: r.previews,
    "downloadUrl": lambda r: r.files[0].url,
    "nsfwLevel": lambda r: r.nsfw_level,
    "air": lambda r: r.extra.get("air"),
    "usageControl": lambda r: r.extra.get("usageControl"),
    "uploadType": lambda r: r.extra.get("uploadType"),
    "vaeId": lambda r: r.extra.get("vaeId"),
    "index": lambda r: "index" in r.extra,
    "earlyAccessTimeFrame": lambda r: "earlyAccessTimeFrame" in r.extra,
    "model": lambda r: r.name,
}
FILE: dict[str, Callable[[SourceFile], Any]] = {
    "name": lambda f: f.name,
    "sizeKB": lambda f: f.size_bytes,
    "type": lambda f: f.kind,
    "format": lambda f: f.format,
    "size": lambda f: f.size_class,
    "fp": lambda f: f.precision,
    "pickleScanResult": lambda f: f.pickle_scan,
    "virusScanResult": lambda f: f.virus_scan,
    "scannedAt": lambda f: f.scanned_at,
    "primary": lambda f: f.primary,
    "downloadUrl": lambda f: f.url,
    "SHA256": lambda f: f.hashes.sha256,
    "AutoV1": lambda f: f.hashes.autov1,
    "AutoV2": lambda f: f.hashes.autov2,
    "AutoV3": lambda f: f.hashes.autov3,
    "BLAKE3": lambda f: f.hashes.blake3,
    "CRC32": lambda f: f.hashes.crc32,
}
PICTURE: dict[str, Callable[[Preview], Any]] = {
    "url": lambda p: p.url,
    "width": lambda p: p.width,
    "height": lambda p: p.height,
    "hash": lambda p: p.blurhash,
    "type": lambda p: p.kind,
    "nsfw": lambda p: p.nsfw_level,
    "nsfwLevel": lambda p: p.nsfw_level,
}
REPOSITORY: dict[str, Callable[[Resolution], Any]] = {
    "author": lambda r: r.creator,
    "sha": lambda r: r.version_id,
    "lastModified": lambda r: r.updated_at,
    "createdAt": lambda r: r.published_at,
    "private": lambda r: "private" in r.extra,
    "gated": lambda r: "gated" in r.extra,
    "disabled": lambda r: True,  # else there would be no resolution
    "downloads": lambda r: "downloads" in r.stats,
    "likes": lambda r: "likes" in r.stats,
    "library_name": lambda r: r.extra.get("library_name"),
    "pipeline_tag": lambda r: r.extra.get("pipeline_tag"),
    "tags": lambda r: r.tags or r.extra.get("keyed_tags"),
    "cardData": lambda r: r.licence.name or r.extra.get("card"),
    "config": lambda r: r.extra.get("architectures") or r.extra.get("class_name"),
    "safetensors": lambda r: r.extra.get("safetensors"),
    "siblings": lambda r: r.files,
    "usedStorage": lambda r: "usedStorage" in r.extra,
    "transformersInfo": lambda r: r.extra.get("transformersInfo"),
    "inference": lambda r: r.extra.get("inference"),
    "model-index": lambda r: r.extra.get("model-index"),
}

Row = tuple[str, bool]


def fields(
    plain: dict[str, Any], known: dict[str, Callable[[Any], Any]], found: Any, where: str
) -> Iterator[Row]:
    for key, value in plain.items():
        if value not in (None, "", [], {}) and key not in LEFT_OUT:
            yield f"{where}.{key}", bool(known[key](found)) if key in known else False


def of_version(version: dict[str, Any], found: Resolution, where: str) -> Iterator[Row]:
    yield from fields(version, VERSION, found, where)
    for plain in version["files"]:
        if plain["type"] != "Training Data":
            flat = plain | plain.get("metadata", {}) | plain["hashes"]
            flat = {key: value for key, value in flat.items() if key != "hashes"}
            messages = [flat.pop(key, None) for key in ("pickleScanMessage", "virusScanMessage")]
            file_id = str(plain["id"])
            yield from fields(flat, FILE, found.file(file_id), f"{where}.file")
            if any(messages):
                yield f"{where}.file.scan", file_id in found.extra["scan_messages"]
    for plain, preview in zip(version["images"], found.previews, strict=True):
        yield from fields(plain, PICTURE, preview, f"{where}.image")


def civitai_rows() -> Iterator[Row]:
    for path in sorted((DATA / "civitai").glob("model_*.json")):
        model = recorded(f"civitai/{path.name}")
        for version in model["modelVersions"]:
            reference = parse_reference(f"{model['id']}@{version['id']}", Endpoints())
            try:
                found = resolver(FakeClient(civitai_routes(model=model))).resolve(reference)
            except NotDownloadable:
                continue
            yield from fields(model, MODEL, found, path.stem)
            yield from of_version(version, found, path.stem)
    for name in ("version_1387174_lora_2025", "version_242807_lora_2023"):
        version = recorded(f"civitai/{name}.json")
        reference = parse_reference(
            f"https://civitai.com/model-versions/{version['id']}", Endpoints()
        )
        found = resolver(FakeClient(civitai_routes(version=version))).resolve(reference)
        yield from of_version(version, found, name)


def hub_rows() -> Iterator[Row]:
    for path in sorted((DATA / "huggingface").glob("model_*.json")):
        info = recorded(f"huggingface/{path.name}")
        if "siblings" in info:
            client = FakeClient({f"{HUB}/api/models/{info['id']}": info})
            found = resolver(client).resolve(parse_reference(info["id"], Endpoints()))
            yield from fields(info, REPOSITORY, found, path.stem)


@pytest.mark.parametrize("rows", [civitai_rows, hub_rows])
def test_over_ninety_percent_of_the_published_fields_are_filled(
    rows: Callable[[], Iterator[Row]],
) -> None:
    counted = list(rows())
    missing = sorted({name.partition(".")[2] for name, filled in counted if not filled})
    share = sum(filled for _, filled in counted) / len(counted)

    assert len(counted) > 100
    assert share > 0.9, missing
