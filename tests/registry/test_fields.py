"""How many of the fields that a source published does an asset have? Counted over every recording.

`published` reads the raw answer by itself, so that a field which the resolver drops is missed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from config.errors import ModelyardError
from registry.inspect.verdict import Verdict
from registry.models import Asset
from sources.parse import parse_reference
from sources.refs import Endpoints
from sources.resolution import FileRole, Resolution
from tests.origin.recorded import load, names
from tests.sources.fakes import HUB, FakeClient, civitai_routes, resolver

pytestmark = pytest.mark.django_db

Register = Callable[..., Asset]
Fields = dict[str, tuple[Any, Any]]
ENOUGH = 0.9


def resolve(link: str, routes: dict[str, Any]) -> Resolution | None:
    """None for what cannot be downloaded at all."""
    try:
        return resolver(FakeClient(routes)).resolve(parse_reference(link, Endpoints()))
    except ModelyardError:
        return None


def register_chosen(register: Register, resolution: Resolution) -> Asset:
    """The asset of the main weight file, as the pipeline registers it."""
    file = next(
        file for file in map(resolution.file, resolution.chosen) if file.role == FileRole.WEIGHTS
    )
    plain = resolution.as_dict()
    return register(
        resolution=plain,
        source_file=next(item for item in plain["files"] if item["file_id"] == file.file_id),
        name=resolution.name,
        model_type=file.model_type.value,
        base_model=resolution.base_model,
        base_model_family=resolution.base_model_family,
        expected_sha256=file.hashes.sha256,
        verdict=Verdict(accepted=True),
    )


def said_by(asset: Asset, *keys: str) -> Any:
    return [asset.metadata["source_metadata"].get(key) for key in keys]


def civitai_fields(model: dict[str, Any], version: dict[str, Any], asset: Asset) -> Fields:
    """Published value and what the asset has of it; falsy means nothing."""
    file = next(
        (f for f in version["files"] if str(f["id"]) == asset.source_file_id), version["files"][0]
    )
    hashes = file.get("hashes") or {}
    pictures = [i for i in version.get("images") or [] if i.get("type", "image") == "image"]
    source_file = asset.metadata["source_file"]
    return {
        "model.name": (model.get("name"), asset.name),
        "model.id": (model.get("id"), asset.source_model_id),
        "model.type": (model.get("type"), asset.asset_type),
        "model.description": (model.get("description"), asset.description),
        "model.tags": (model.get("tags"), asset.tags),
        "model.creator": ((model.get("creator") or {}).get("username"), asset.creator),
        "model.nsfw": (model.get("nsfw"), asset.nsfw),
        "model.nsfwLevel": (model.get("nsfwLevel"), asset.nsfw_level),
        "model.allowCommercialUse": (
            model.get("allowCommercialUse"),
            asset.licence.get("commercial_use"),
        ),
        "model.allowNoCredit": (
            "allowNoCredit" in model,
            asset.licence.get("credit_required") is not None,
        ),
        "model.allowDerivatives": (
            "allowDerivatives" in model,
            asset.licence.get("derivatives") is not None,
        ),
        "model.stats": (model.get("stats"), any(said_by(asset, "stats"))),
        "version.id": (version.get("id"), asset.source_version_id),
        "version.name": (version.get("name"), asset.version_name),
        "version.baseModel": (version.get("baseModel"), asset.base_model),
        "version.description": (version.get("description"), asset.description),
        "version.trainedWords": (version.get("trainedWords"), asset.trigger_words),
        "version.images": (pictures, asset.previews.exists()),
        "version.publishedAt": (version.get("publishedAt"), any(said_by(asset, "published_at"))),
        "version.updatedAt": (version.get("updatedAt"), any(said_by(asset, "updated_at"))),
        "file.id": (file.get("id"), asset.source_file_id),
        "file.name": (file.get("name"), source_file["name"]),
        "file.sizeKB": (file.get("sizeKB"), source_file["size_bytes"]),
        "file.format": ((file.get("metadata") or {}).get("format"), source_file["format"]),
        "file.fp": ((file.get("metadata") or {}).get("fp"), asset.precision),
        "file.SHA256": (hashes.get("SHA256"), asset.expected_sha256),
        "file.AutoV3": (hashes.get("AutoV3"), asset.autov3),
        "file.CRC32": (hashes.get("CRC32"), asset.crc32),
        "file.BLAKE3": (hashes.get("BLAKE3"), asset.blake3),
        "file.pickleScanResult": (file.get("pickleScanResult"), source_file["pickle_scan"]),
        "file.virusScanResult": (file.get("virusScanResult"), source_file["virus_scan"]),
        "link": (True, asset.source_url),
    }


def hub_fields(info: dict[str, Any], asset: Asset) -> Fields:
    card = info.get("cardData") or {}
    lfs = {s["rfilename"]: s["lfs"] for s in info.get("siblings") or [] if s.get("lfs")}
    published = lfs.get(asset.source_file_id) or {}
    return {
        "id": (info.get("id"), asset.source_model_id),
        "sha": (info.get("sha"), asset.source_version_id),
        "author": (info.get("author"), asset.creator),
        "tags": (info.get("tags"), asset.tags),
        "license": (card.get("license"), asset.licence.get("name")),
        "lastModified": (info.get("lastModified"), any(said_by(asset, "updated_at"))),
        "downloads": (info.get("downloads"), any(said_by(asset, "stats"))),
        "lfs.sha256": (published.get("sha256"), asset.expected_sha256),
        "lfs.size": (published.get("size"), asset.metadata["source_file"]["size_bytes"]),
        "name": (info.get("id"), asset.name),
        "link": (True, asset.source_url),
    }


def share(fields: Fields) -> tuple[int, int, list[str]]:
    """Filled, published, and the names of what is missing."""
    published = {name: has for name, (said, has) in fields.items() if said}
    missing = [name for name, has in published.items() if not has]
    return len(published) - len(missing), len(published), missing


def recorded_civitai(register: Register) -> dict[str, Fields]:
    counted = {}
    for name in names("civitai", "model_"):
        model = load("civitai", name)
        resolution = resolve(str(model["id"]), civitai_routes(model=model))
        if resolution is not None:
            asset = register_chosen(register, resolution)
            version = next(
                v for v in model["modelVersions"] if str(v["id"]) == resolution.version_id
            )
            counted[name] = civitai_fields(model, version, asset)
            asset.delete()
    for name in names("civitai", "version_"):
        version = load("civitai", name)
        link = f"https://civitai.com/model-versions/{version['id']}"
        resolution = resolve(link, civitai_routes(version=version))
        if resolution is not None:
            asset = register_chosen(register, resolution)
            model = {**(version.get("model") or {}), "id": version.get("modelId")}
            counted[name] = civitai_fields(model, version, asset)
            asset.delete()
    return counted


def recorded_hub(register: Register) -> dict[str, Fields]:
    counted = {}
    for name in names("huggingface", "model_"):
        info = load("huggingface", name)
        routes = {f"{HUB}/api/models/{info['id']}": info}
        resolution = resolve(info["id"], routes)
        if resolution is not None:
            asset = register_chosen(register, resolution)
            counted[name] = hub_fields(info, asset)
            asset.delete()
    return counted


def test_nine_of_ten_published_fields_are_filled(register: Register) -> None:
    counted = recorded_civitai(register) | recorded_hub(register)
    assert len(counted) >= 12, sorted(counted)
    filled = published = 0
    missing = {}
    for name, fields in counted.items():
        has, said, lacking = share(fields)
        filled, published = filled + has, published + said
        if lacking:
            missing[name] = lacking
    print(f"{filled} of {published} published fields are filled; missing: {missing}")
    assert filled > ENOUGH * published, missing
    for name, fields in counted.items():
        has, said, lacking = share(fields)
        assert has > 0.85 * said, (name, lacking)
