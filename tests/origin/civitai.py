"""CivitAI's API and download route, from recorded answers and from models made for the tests.

Sizes, hashes and links are patched to files that are made here; a hash that was not published in
the recording is not published now either. BLAKE3 is left out: nothing here can compute it.
The order of refusals is that of `pages/api/download/models/[modelVersionId].ts`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from tests.canaries import canary
from tests.origin import files, made_civitai, recorded
from tests.origin.cdn import Cdn
from tests.origin.content import Content
from tests.origin.listener import Request, Response

BROWSER = re.compile("mozilla|chrome|safari|firefox|opera|edge", re.IGNORECASE)
SIGNED_FOR_S = 86400
JSON = [("Content-Type", "application/json; charset=utf-8")]
MAX_ID = 2147483647


@dataclasses.dataclass(frozen=True)
class Account:
    username: str
    bought: frozenset[int] = frozenset()  # version ids


class Civitai:
    """State and switches of the service; tests may change all public attributes."""

    def __init__(self, cdn: Cdn) -> None:
        self.url = ""
        self.cdn = cdn
        self.token = canary("civitai")
        self.paid_token = canary("civitai-paid")
        self.accounts = {
            self.token: Account("made_user"),
            self.paid_token: Account("made_buyer", frozenset({made_civitai.EARLY_ACCESS})),
        }
        #: The 307 of the download route names a path of the same host, which then redirects on.
        self.relative_location = False
        self.early_access_ends_at = datetime.now(UTC) + timedelta(days=3)
        self._models: dict[int, dict[str, Any]] = {}
        self._versions: dict[int, dict[str, Any]] = {}
        self._sizes: dict[int, int] = {}
        self._contents: dict[int, Content] = {}
        for name in recorded.names("civitai", "model_"):
            model = recorded.load("civitai", name)
            self._models[model["id"]] = model
        for name in recorded.names("civitai", "version_"):
            version = recorded.load("civitai", name)
            self._versions[version["id"]] = version
        for version in self._versions.values():
            self._models.setdefault(version["modelId"], _model_of_version(version))
        for model in made_civitai.models():
            self._models[model["id"]] = model

    # --- For tests -------------------------------------------------------------------------------
    def file(self, file_id: int) -> Content:
        """What a download of that file id must give."""
        if file_id not in self._contents:
            for model, version, item in self._all_files():
                if item["id"] == file_id:
                    self._contents[file_id] = self._make(model, version, item)
                    break
            else:
                raise KeyError(file_id)
        return self._contents[file_id]

    def resize(self, file_id: int, size_bytes: int) -> Content:
        """Make the file that big from now on; its hashes follow."""
        self._sizes[file_id] = size_bytes
        self._contents.pop(file_id, None)
        return self.file(file_id)

    def end_early_access_in(self, seconds: float) -> None:
        self.early_access_ends_at = datetime.now(UTC) + timedelta(seconds=seconds)

    def model(self, model_id: int) -> dict[str, Any]:
        """The answer of `/api/v1/models/{id}`. Raises KeyError."""
        model = copy.deepcopy(self._models[model_id])
        for version in model["modelVersions"]:
            self._patch_version(version)
            version.pop("usageControl", None)  # only the version's own answer has it
            for item in version.get("files", []):
                if item.get("primary") is False:
                    del item["primary"]  # here it is true or absent
        if image := model.get("creator", {}).get("image"):
            model["creator"]["image"] = self._picture_url(image)
        return model

    def version(self, version_id: int) -> dict[str, Any]:
        """The answer of `/api/v1/model-versions/{id}`. Raises KeyError."""
        if version_id in self._versions:
            version = copy.deepcopy(self._versions[version_id])
        else:
            version = _version_of_model(*self._find_version(version_id))
        self._patch_version(version)
        for item in version.get("files", []):
            item["primary"] = bool(item.get("primary"))
        return version

    # --- Making and patching ---------------------------------------------------------------------
    def _all_files(self) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
        for model in self._models.values():
            for version in model["modelVersions"]:
                for item in version.get("files", []):
                    yield model, version, item

    def _find_version(self, version_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
        for model in self._models.values():
            for version in model["modelVersions"]:
                if version["id"] == version_id:
                    return model, version
        raise KeyError(version_id)

    def _make(
        self, model: dict[str, Any], version: dict[str, Any], item: dict[str, Any]
    ) -> Content:
        # Files with the same published hash are the same file, as the VAE of several versions.
        seed = item.get("hashes", {}).get("SHA256") or str(item["id"])
        kind = item.get("_kind") or _kind(model["type"], version.get("baseModel", ""), item["type"])
        name = f"{seed[:16].lower()}-{item['name']}"
        size = self._sizes.get(item["id"]) or item.get("_size")
        if size is None and name.endswith(".safetensors"):
            size = files.smallest_safetensors(kind) + zlib.crc32(name.encode()) % 200_000
        content = files.make(name, kind=kind, size_bytes=size)
        if item.get("_body") == "web page":
            content = files.web_page(name)
        return dataclasses.replace(content, name=f"{item['id']}/{item['name']}")

    def _patch_version(self, version: dict[str, Any]) -> None:
        for item in version.get("files", []):
            self._patch_file(item, version["id"])
        for image in version.get("images", []):
            image["url"] = self._picture_url(image["url"])
        if "downloadUrl" in version:
            version["downloadUrl"] = self._own_url(version["downloadUrl"])
        if version.get("paidAccess") == "soon":
            ends_at = self.early_access_ends_at.isoformat(timespec="milliseconds")
            ends_at = ends_at.replace("+00:00", "Z")
            over = self.early_access_ends_at <= datetime.now(UTC)
            version["paidAccess"] = None if over else {"permanent": False, "endsAt": ends_at}
            version["availability"] = "Public" if over else "EarlyAccess"
            version["earlyAccessDeadline"] = None if over else ends_at
        version.pop("_rules", None)

    def _patch_file(self, item: dict[str, Any], version_id: int) -> None:
        content = self.file(item["id"])
        item["sizeKB"] = content.size_bytes / 1024
        hashes = item.get("hashes", {})
        hashes.pop("BLAKE3", None)
        for name, value in hashes.items():
            wrong = "0" * 63 + "1" if item.get("_wrong_hash") else ""
            hashes[name] = _published(content, name, like=value, instead=wrong)
        if item.get("downloadUrl"):
            item["downloadUrl"] = self._own_url(item["downloadUrl"])
        for key in [key for key in item if key.startswith("_")]:
            del item[key]

    def _own_url(self, url: str) -> str:
        parts = urlsplit(url)
        return self.url + parts.path + (f"?{parts.query}" if parts.query else "")

    def _picture_url(self, url: str) -> str:
        parts = urlsplit(url)
        return f"{self.cdn.url}/image/{parts.netloc}{quote(parts.path, safe='/=')}"

    # --- Answers ---------------------------------------------------------------------------------
    def answer(self, request: Request) -> Response:
        if request.path.startswith("/api/download/"):
            return self._answer_download(request)
        if request.path.startswith("/api/v1/"):
            return self._answer_api(request)
        title = "Sign in" if request.path.startswith("/login") else "A page for people"
        page = files.web_page(request.path, title)
        return Response(200, [("Content-Type", page.content_type)], page.read())

    def _answer_api(self, request: Request) -> Response:
        parts = request.path.removeprefix("/api/v1/").strip("/").split("/")
        if parts == ["me"]:
            account = self._account(request)
            if account is None:
                return _json(401, recorded.load("civitai", "error_401_unauthorized"))
            return _json(
                200, {"id": 1, "username": account.username, "tier": "free", "status": "active"}
            )
        if parts == ["enums"]:
            return _json(200, recorded.load("civitai", "enums_2026"))
        if parts == ["models"]:
            return self._answer_search(request)
        if parts[0] == "model-versions" and parts[1:2] == ["by-hash"]:
            return self._answer_by_hash(parts[-1])
        if len(parts) == 2 and parts[0] in {"models", "model-versions"}:
            return self._answer_one(parts[0], parts[1])
        return _json(404, {"error": "Not found"})

    def _answer_one(self, what: str, text: str) -> Response:
        if not text.isdecimal() or int(text) > MAX_ID:
            return _json(400, {"error": {"issues": [{"message": "Expected number"}]}})
        try:
            if what == "models":
                return _json(200, self.model(int(text)))
            return _json(200, self.version(int(text)))
        except KeyError:
            message = f"No model with id {text}" if what == "models" else "Model not found"
            return _json(404, {"error": message})

    def _answer_by_hash(self, text: str) -> Response:
        for _, version, item in self._all_files():
            content = self.file(item["id"])
            published = item.get("hashes", {}).items()
            if text.upper() in {
                _published(content, name, like=value)
                for name, value in published
                if name != "BLAKE3"
            }:
                return _json(200, self.version(version["id"]))
        return _json(404, {"error": "Model not found"})

    def _answer_search(self, request: Request) -> Response:
        query = (request.argument("query") or "").lower()
        types, ids = request.query.get("types", []), request.argument("ids")
        wanted = {int(part) for part in ids.split(",") if part.isdecimal()} if ids else None
        found = [
            model_id
            for model_id, model in sorted(self._models.items())
            if query in model["name"].lower()
            and (not types or model["type"] in types)
            and (wanted is None or model_id in wanted)
        ]
        start, limit = int(request.argument("cursor") or 0), int(request.argument("limit") or 100)
        metadata: dict[str, Any] = {"pageSize": limit}
        if start + limit < len(found):
            metadata["nextCursor"] = str(start + limit)
            metadata["nextPage"] = f"{self.url}/api/v1/models?limit={limit}&cursor={start + limit}"
        items = [self.model(model_id) for model_id in found[start : start + limit]]
        return _json(200, {"items": items, "metadata": metadata})

    def _account(self, request: Request) -> Account | None:
        token = request.bearer or request.argument("token") or ""
        return self.accounts.get(token)  # a wrong token is silently nobody

    # --- The download route ----------------------------------------------------------------------
    def _answer_download(self, request: Request) -> Response:
        text = request.path.rsplit("/", 1)[-1]
        if request.path.startswith("/api/download/redirect/"):
            return self._to_cdn(int(text))
        if not text.isdecimal():
            return _json(400, {"error": "Invalid version id"})
        try:
            model, version = self._find_version(int(text))
        except KeyError:
            return _json(404, {"error": "File not found"})
        refusal = self._refusal(request, model, version)
        if refusal is not None:
            return refusal
        item = self._wanted(request, version)
        if item is None:
            return self._said(request, 404, {"error": "File not found"})
        if self.relative_location:
            return _redirect(f"/api/download/redirect/{item['id']}")
        return self._to_cdn(item["id"])

    def _refusal(
        self, request: Request, model: dict[str, Any], version: dict[str, Any]
    ) -> Response | None:
        account, rules = self._account(request), version.get("_rules", ())
        if model.get("mode") == "Archived":
            return self._said(request, 410, {"error": "Model archived, not available for download"})
        if model.get("mode") == "TakenDown" or model.get("poi") or "gone" in rules:
            return self._said(request, 404, {"error": "File not found"})
        if "disabled" in rules:
            message = "The creator of this asset has disabled downloads on this file"
            return self._said(request, 401, {"error": "Unauthorized", "message": message})
        if account is None and "login" in rules:
            if BROWSER.search(request.headers.get("User-Agent", "")):
                return _redirect(f"/login?returnUrl={quote(request.path)}&reason=download-auth")
            return _json(401, recorded.load("civitai", "error_401_download_login_required"))
        deadline = self._early_access_deadline(version)
        if deadline is not None and (account is None or version["id"] not in account.bought):
            if BROWSER.search(request.headers.get("User-Agent", "")):
                return _redirect(f"/models/{model['id']}?modelVersionId={version['id']}")
            message = "This asset is in Early Access. You can use Buzz access it now!"
            return _json(403, {"error": "Early Access", "deadline": deadline, "message": message})
        return None

    def _early_access_deadline(self, version: dict[str, Any]) -> str | None:
        paid = version.get("paidAccess")
        if paid == "soon":
            if self.early_access_ends_at <= datetime.now(UTC):
                return None
            return self.early_access_ends_at.isoformat()
        return "9999-12-31T00:00:00.000Z" if paid else None

    def _wanted(self, request: Request, version: dict[str, Any]) -> dict[str, Any] | None:
        """The file that the parameters mean; None when none fits."""
        items: list[dict[str, Any]] = version.get("files", [])
        file_id = request.argument("fileId")
        if file_id is not None:
            # A VAE of a linked version is listed here but does not belong to this version.
            own = (item for item in items if not item.get("_linked"))
            return next((item for item in own if str(item["id"]) == file_id), None)
        filters = {"type": request.argument("type"), "format": request.argument("format")}
        fitting = [
            item
            for item in items
            if filters["type"] in (None, item["type"])
            and filters["format"] in (None, item.get("metadata", {}).get("format"))
        ]
        if filters["type"] is None:
            fitting = [
                item for item in fitting if item["type"] in {"Model", "Pruned Model"}
            ] or fitting
        if self._account(request) is not None:
            # Without an id the token owner's preferences decide: here, never the primary file.
            fitting.sort(key=lambda item: bool(item.get("primary")))
        else:
            fitting.sort(key=lambda item: not item.get("primary"))
        return fitting[0] if fitting else None

    def _to_cdn(self, file_id: int) -> Response:
        content = self.file(file_id)
        name = content.name.partition("/")[2]
        path = f"/civitai-delivery-worker-prod/model/{file_id}/{name}"
        etag = f'"{content.sha256[:32]}-12"'
        url = self.cdn.sign(content, path, etag=etag, ttl_s=SIGNED_FOR_S, file_name=name)
        return _redirect(url)

    def _said(self, request: Request, status: int, value: dict[str, str]) -> Response:
        """Programs get JSON, browsers plain text."""
        if BROWSER.search(request.headers.get("User-Agent", "")):
            text = value.get("message") or value["error"]
            return Response(status, [("Content-Type", "text/plain; charset=utf-8")], text.encode())
        return _json(status, value)


def _json(status: int, value: Any) -> Response:
    return Response(status, list(JSON), json.dumps(value, ensure_ascii=False).encode())


def _redirect(location: str) -> Response:
    return Response(307, [("Location", location), ("Cache-Control", "no-store")])


def _published(content: Content, name: str, *, like: str, instead: str = "") -> str:
    """The digest as CivitAI writes it; AutoV3 had 64 digits in 2023 and has 12 today."""
    if name == "AutoV1":
        digest = content.autov1
    elif name == "AutoV3":
        digest = (instead or content.autov3)[: len(like) or 12]
    elif name == "CRC32":
        digest = content.crc32
    else:
        digest = (instead or content.sha256)[: 10 if name == "AutoV2" else None]
    return digest.upper()


def _family(base_model: str) -> str:
    if any(word in base_model for word in ("XL", "Pony", "Illustrious", "NoobAI")):
        return "sdxl"
    if base_model.startswith("Flux"):
        return "flux"
    return "sd21" if base_model.startswith("SD 2") else "sd15"


def _kind(model_type: str, base_model: str, file_type: str) -> str:
    """What to make for a file of that declared type."""
    family = _family(base_model)
    simple = {
        "VAE": "vae", "Controlnet": "controlnet", "ControlNet": "controlnet",
        "Upscaler": "upscaler", "TextEncoder": "text_encoder", "Text Encoder": "text_encoder",
        "MotionModule": "motion",
    }  # fmt: skip
    if file_type in simple:
        return simple[file_type]
    if model_type in simple:
        return simple[model_type]
    if model_type in {"LORA", "LoCon", "DoRA"}:
        return "lora_sd15" if family == "sd21" else f"lora_{family}"
    if model_type == "TextualInversion":
        return "embedding_sdxl" if family == "sdxl" else "embedding_sd15"
    return "diffusion_flux" if family == "flux" else f"checkpoint_{family}"


def _model_of_version(version: dict[str, Any]) -> dict[str, Any]:
    """A model of which only a version was recorded: what the version says of it, no more."""
    inner = {key: value for key, value in version.items() if key not in {"model", "modelId"}}
    return {"id": version["modelId"], **version["model"], "modelVersions": [copy.deepcopy(inner)]}


def _version_of_model(model: dict[str, Any], version: dict[str, Any]) -> dict[str, Any]:
    """A version of which only the model was recorded: with `model` inside, without `index`."""
    value = copy.deepcopy(version)
    for key in ("index", "availability", "earlyAccessDeadline", "_rules"):
        value.pop(key, None)
    value["modelId"] = model["id"]
    if model["name"].startswith("Made:"):
        value.setdefault("usageControl", "Download")
    inner = {key: model.get(key) for key in ("name", "type", "nsfw", "poi")}
    value["model"] = inner | ({"mode": model["mode"]} if "mode" in model else {})
    return value
