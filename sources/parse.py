"""From the text a user pastes to a reference.

Understood, besides any other http(s) link, which becomes a `DirectReference`:

    CivitAI      civitai.com|.red|.green, civitaired.com, civarchive.com
                 and civitaiarchive.com; with www. or without
        /models/ID[/slug][?modelVersionId=ID][&fileId=ID]   /model-versions/ID
        /api/download/models/ID[?type&format&size&fp&quantType&fileId]
        /api/v1/models/ID   /api/v1/model-versions/[mini/]ID|by-hash/SHA256   /sha256/SHA256
        [urn:][air:][ecosystem:][type:]civitai:ID[@ID][+FILE][.format]   ID   ID@ID
    HuggingFace  huggingface.co, hf.co, hf-mirror.com; with www. or without
        /[owner/]name[@rev][:quant or file]   /api/models/owner/name…
        /[owner/]name/tree|blob|raw|resolve|blame|commit|commits/rev[/path]
        /datasets/owner/name/blob|resolve|raw/rev/path   (a whole data set is no model)
        hf://[models/|datasets/]owner/name[@rev][/path]   owner/name[@rev][:path or quant]
        [urn:][air:][ecosystem:][type:]huggingface:owner/name[@rev][.format]

The host may be left out of nothing but the last forms; the scheme may be left out before a known
host. Unknown query keys are ignored, `token=` among them: a token never enters a reference.
The forms are those of the sites' own routers (CivitAI: next.config.mjs and air.ts; HuggingFace:
`parse_hf_uri` and the Ollama page of the documentation).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from sources.errors import ReferenceNotUnderstood
from sources.refs import (
    ARCHIVE_HOSTS,
    CIVITAI_HOSTS,
    DEFAULT_REVISION,
    HUGGINGFACE_HOSTS,
    MAX_CIVITAI_ID,
    CivitaiReference,
    DirectReference,
    Endpoints,
    FileChoice,
    HuggingFaceReference,
    Reference,
)
from transfer.urls import Origin, origin_of, parse_url

MAX_REFERENCE_LENGTH = 2048
ACCEPTED_FORMS = (
    "https://civitai.com/models/ID",
    "https://civitai.com/models/ID?modelVersionId=ID",
    "https://civitai.com/api/download/models/ID",
    "urn:air:sdxl:lora:civitai:ID@ID",
    "https://huggingface.co/owner/name",
    "https://huggingface.co/owner/name/blob/main/file.safetensors",
    "owner/name",
    "a direct http(s) link to a file",
)

_KNOWN_HOSTS = CIVITAI_HOSTS | ARCHIVE_HOSTS | HUGGINGFACE_HOSTS
_AIR = re.compile(
    r"""
    ^(?:urn:)?(?:air:)?
    (?:(?P<ecosystem>[a-z0-9_/-]+):)?
    (?:(?P<type>[a-z0-9_/-]+):)?
    (?P<source>civitai|civitai-r2|huggingface|orchestrator):
    (?P<id>[a-z0-9_./-]+?)
    (?:@(?P<version>[a-z0-9_./-]+?))?
    (?:\+(?P<file>[0-9]+))?
    (?::(?P<layer>[a-z0-9_-]+))?
    (?:\.(?P<format>safetensors?|ckpt|pt|pth|bin|gguf|diffusers?|onnx|coreml|other))?$
    """,
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
# The last part of an AIR in the words of a CivitAI file's metadata.
_AIR_FORMATS = {
    "safetensor": "SafeTensor",
    "safetensors": "SafeTensor",
    "ckpt": "PickleTensor",
    "pt": "PickleTensor",
    "pth": "PickleTensor",
    "bin": "PickleTensor",
    "gguf": "GGUF",
    "diffuser": "Diffusers",
    "diffusers": "Diffusers",
    "onnx": "ONNX",
    "coreml": "Core ML",
    "other": "Other",
}
_BARE_IDS = re.compile(r"^([0-9]+)(?:@([0-9]+))?$", re.ASCII)
_SHA256 = re.compile(r"^[0-9a-f]{64}$", re.IGNORECASE | re.ASCII)
_REPO_PART = re.compile(r"^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_-])?$", re.ASCII)
_QUANT = re.compile(r"^[A-Za-z0-9_-]{1,40}$", re.ASCII)
# Revisions whose slashes people leave as they are (huggingface_hub, SPECIAL_REFS_REVISION_REGEX).
_SPECIAL_REVISION = re.compile(r"^(refs/(?:convert/[\w-]+|pr/[0-9]+))(?:/(.*))?$", re.ASCII)
_FILE_VIEWS = frozenset({"blob", "raw", "resolve", "blame"})
_FOLDER_VIEWS = frozenset({"tree", "commit", "commits", "revision"})
_VIEWS = _FILE_VIEWS | _FOLDER_VIEWS
_HUB_PAGES = re.compile(
    r"api|blog|buckets|chat|collections|docs|enterprise|join|kernels|learn|login|models|new"
    r"|organizations|papers|posts|pricing|settings|storage|tasks"
)


def parse_reference(text: str, endpoints: Endpoints) -> Reference:
    """What `text` names. Nothing is fetched.

    Raises ReferenceNotUnderstood, which names the accepted forms, and UrlNotAllowed for a link
    that we never fetch from (scheme, user info, host).
    """
    text = _checked_text(text)
    readers: tuple[Callable[[str], Reference | None], ...] = (_from_air, _from_ids, _from_hf_uri)
    for reader in readers:
        reference = reader(text)
        if reference is not None:
            return reference
    if "://" in text or text.startswith("//"):
        return _from_url(text, endpoints)
    host = re.split(r"[/:?#]", text, maxsplit=1)[0].lower()
    if host.removeprefix("www.") in _KNOWN_HOSTS:
        return _from_url(f"https://{text}", endpoints)
    return _from_repo_text(text)


def _refuse(reason: str) -> NoReturn:
    raise ReferenceNotUnderstood(
        f"{reason} Enter a valid http(s) URL (at most {MAX_REFERENCE_LENGTH} characters) or one "
        f"of: {', '.join(ACCEPTED_FORMS[:-1])}.",
        accepted=list(ACCEPTED_FORMS),
    )


def _checked_text(text: str) -> str:
    text = text.strip()
    if not text:
        _refuse("There is no link.")
    if len(text) > MAX_REFERENCE_LENGTH:
        _refuse("The link is too long.")
    if _has_controls(text):
        _refuse("The link contains control or invisible characters.")
    return text


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)


# CivitAI


def _civitai_id(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII):
        _refuse(f"The {what} id in the link is not a number.")
    number = int(text)
    if not 1 <= number <= MAX_CIVITAI_ID:
        _refuse(f"The {what} id {number} cannot exist: CivitAI's ids go up to {MAX_CIVITAI_ID}.")
    return number


def _sha256(text: str) -> str:
    if not _SHA256.match(text):
        _refuse("Only a whole SHA-256 of 64 hex digits names one file.")
    return text.lower()


def _from_air(text: str) -> Reference | None:
    match = _AIR.match(text)
    if match is None:
        if text.lower().startswith(("urn:", "air:")):
            _refuse("That is not a complete AIR.")
        return None
    source = match["source"].lower()
    if source == "huggingface":
        return _hugging_face_air(match)
    if not match["id"].isdigit() or source == "orchestrator":
        _refuse(f"An AIR of the source “{source}” with this id cannot be downloaded.")
    version, file_id = match["version"], match["file"]
    return CivitaiReference(
        model_id=_civitai_id(match["id"], "model"),
        version_id=_civitai_id(version, "version") if version else None,
        file_id=_civitai_id(file_id, "file") if file_id else None,
        choice=FileChoice(format=_AIR_FORMATS.get((match["format"] or "").lower(), "")),
    )


def _hugging_face_air(match: re.Match[str]) -> HuggingFaceReference:
    """`owner/name[/revision/path…]`; the orchestrator writes a file's branch and path that way."""
    suffix = f".{match['format']}" if match["format"] else ""
    parts = match["id"].split("/")
    revision = match["version"] or ""
    if len(parts) > 2:
        parts[-1] += "" if revision else suffix
        if not revision:
            revision = parts.pop(2)
    return _hub_reference(
        parts[:2], revision=revision or DEFAULT_REVISION, path="/".join(parts[2:])
    )


def _from_ids(text: str) -> Reference | None:
    match = _BARE_IDS.match(text)
    if match is None:
        return None
    return CivitaiReference(
        model_id=_civitai_id(match[1], "model"),
        version_id=_civitai_id(match[2], "version") if match[2] else None,
    )


def _from_civitai_path(segments: list[str], query: dict[str, str]) -> CivitaiReference:
    match [segment.lower() for segment in segments]:
        case ["models", number, *_] if number.isascii() and number.isdigit():
            return _civitai_model(number, query)
        case ["api", "v1", "models", number] | ["api", "models", number]:
            return _civitai_model(number, query)
        case (
            ["api", "v1", "model-versions", "by-hash", digest]
            | ["sha256", digest]
            | ["api", "sha256", digest]
        ):
            return CivitaiReference(sha256=_sha256(digest))
        case (
            ["model-versions", number, *_]
            | ["api", "download", "models", number]
            | ["api", "v1", "model-versions", number]
            | ["api", "v1", "model-versions", "mini", number]
        ):
            return _civitai_version(number, query)
        case other:
            return _refuse_civitai_page(other)


def _refuse_civitai_page(segments: list[str]) -> NoReturn:
    match segments:
        case ["api", "download", "training-data", *_]:
            _refuse("That link is training data, not a model. Use the page of the model.")
        case [("images" | "posts" | "gallery") as page, *_]:
            _refuse(f"A link to /{page} shows pictures; open the model they were made with.")
        case [] | ["models"] | ["search", *_] | ["api", "v1", "models"]:
            _refuse("That is a list of models; open one of them.")
        case _:
            _refuse("That page of CivitAI is not a model.")


def _civitai_model(number: str, query: dict[str, str]) -> CivitaiReference:
    version = query.get("modelversionid", "")
    return CivitaiReference(
        model_id=_civitai_id(number, "model"),
        version_id=_civitai_id(version, "version") if version else None,
        file_id=_file_id(query),
        choice=_file_choice(query),
    )


def _civitai_version(number: str, query: dict[str, str]) -> CivitaiReference:
    return CivitaiReference(
        version_id=_civitai_id(number, "version"),
        file_id=_file_id(query),
        choice=_file_choice(query),
    )


def _file_id(query: dict[str, str]) -> int | None:
    text = query.get("fileid", "")
    return _civitai_id(text, "file") if text else None


def _file_choice(query: dict[str, str]) -> FileChoice:
    def word(key: str) -> str:
        text = query.get(key, "").strip()
        return text if len(text) <= 40 and not _has_controls(text) else ""

    return FileChoice(
        type=word("type"),
        format=word("format"),
        size=word("size"),
        fp=word("fp"),
        quant_type=word("quanttype"),
    )


# HuggingFace


def _from_hf_uri(text: str) -> Reference | None:
    if not text.lower().startswith("hf://"):
        return None
    kind, _, rest = text[5:].partition("/")
    if kind in {"spaces", "kernels", "buckets"}:
        _refuse_hub_kind(kind)
    if kind not in {"models", "datasets"}:
        kind, rest = "models", text[5:]
    owner, _, rest = rest.partition("/")
    name, _, path = rest.partition("/")
    name, _, revision = name.partition("@")
    if not owner or not name:
        _refuse("A hf:// link needs an owner and a name.")
    if revision:
        revision, path = _split_revision(f"{revision}/{path}")
    return _hub_reference(
        [unquote(owner), unquote(name)],
        revision=revision or DEFAULT_REVISION,
        path=unquote(path),
        repo_type="dataset" if kind == "datasets" else "model",
    )


def _from_repo_text(text: str) -> Reference:
    """`owner/name[@revision][:path or quant]`, our own short form."""
    repo, _, rest = text.partition(":")
    repo, _, revision = repo.partition("@")
    parts = repo.split("/")
    if len(parts) != 2 or not all(_REPO_PART.match(part) for part in parts):
        _refuse("That is no link, no id and no repository.")
    if "." in parts[0]:
        # No account of the Hub has a dot in its name, and every host does.
        _refuse("That looks like a link without https:// in front.")
    return _named_part(parts, unquote(revision) or DEFAULT_REVISION, rest)


def _named_part(parts: list[str], revision: str, rest: str) -> HuggingFaceReference:
    """What stands behind the colon: a path has a dot or a slash, else it is a GGUF build."""
    if rest and _QUANT.match(rest):
        return _hub_reference(parts, revision=revision, quant=rest)
    return _hub_reference(parts, revision=revision, path=rest)


def _from_hub_path(segments: list[str]) -> HuggingFaceReference:
    """`segments` are still percent-encoded, so that a revision's own slash can be told apart."""
    repo_type = "model"
    match segments:
        case ["api", "models", *rest] if rest:
            segments = rest
        case ["datasets", *rest] if rest:
            repo_type, segments = "dataset", rest
        case ["spaces", *_]:
            _refuse_hub_kind("spaces")
        case [] | ["datasets"]:
            _refuse("That page of HuggingFace is not a repository.")
        case [head, *_] if _HUB_PAGES.fullmatch(head):
            _refuse("That page of HuggingFace is not a repository.")
    size = 1 if len(segments) == 1 or segments[1] in _VIEWS else 2
    parts = [unquote(part) for part in segments[:size]]
    if len(segments) > size:
        return _from_hub_view(parts, segments[size:], repo_type)
    name, _, named = parts.pop().partition(":")
    name, _, revision = name.partition("@")
    parts, revision = [*parts, name], unquote(revision) or DEFAULT_REVISION
    if named and repo_type == "model":
        return _named_part(parts, revision, unquote(named))
    return _hub_reference(parts, revision=revision, repo_type=repo_type)


def _from_hub_view(parts: list[str], rest: list[str], repo_type: str) -> HuggingFaceReference:
    view = rest[0]
    if view not in _VIEWS:
        _refuse("That page of the repository is neither a folder nor a file.")
    if len(rest) == 1:
        return _hub_reference(parts, repo_type=repo_type)
    revision, path = _split_revision("/".join(rest[1:]))
    if view in _FILE_VIEWS and not path:
        _refuse("The link names no file of the repository.")
    if view in _FOLDER_VIEWS and view != "tree":
        path = ""
    return _hub_reference(
        parts,
        revision=revision,
        path=unquote(path),
        is_folder=view == "tree",
        repo_type=repo_type,
    )


def _split_revision(text: str) -> tuple[str, str]:
    """`revision/path`, the revision decoded, the path as it came."""
    special = _SPECIAL_REVISION.match(text)
    if special:
        return special[1], special[2] or ""
    revision, _, path = text.partition("/")
    return unquote(revision), path


def _hub_reference(
    parts: list[str],
    *,
    revision: str = DEFAULT_REVISION,
    path: str = "",
    is_folder: bool = False,
    quant: str = "",
    repo_type: str = "model",
) -> HuggingFaceReference:
    parts = [*parts[:-1], parts[-1].removesuffix(".git")]
    if not all(_REPO_PART.match(part) and ".." not in part for part in parts):
        _refuse("That is not the name of a HuggingFace repository.")
    is_folder = is_folder or path.endswith("/")
    path = path.strip("/")
    for text in (revision, path):
        if "\\" in text or any(step in {".", "..", ""} for step in text.split("/") if text):
            _refuse("The revision or the path in the link cannot exist in a repository.")
        if _has_controls(text):
            _refuse("The link contains control or invisible characters.")
    if repo_type == "dataset" and (not path or is_folder):
        _refuse("A whole data set is no model; name one file of it.")
    return HuggingFaceReference(
        repo="/".join(parts),
        revision=revision,
        path=path,
        is_folder=is_folder and bool(path),
        quant=quant,
        repo_type=repo_type,
    )


def _refuse_hub_kind(kind: str) -> NoReturn:
    _refuse(f"HuggingFace {kind} hold no models to download; name the model it uses.")


# Links


def _from_url(text: str, endpoints: Endpoints) -> Reference:
    url = str(parse_url(text))
    origin = origin_of(url)
    split = urlsplit(url)
    readers = _services(origin, split.path, endpoints)
    for position, (service, prefix) in enumerate(readers):
        segments = [part for part in split.path[len(prefix) :].split("/") if part]
        try:
            if service == "huggingface":
                return _from_hub_path(segments)
            query = {key.lower(): value for key, value in reversed(parse_qsl(split.query))}
            return _from_civitai_path([unquote(part) for part in segments], query)
        except ReferenceNotUnderstood:
            if position == len(readers) - 1:
                raise
    return DirectReference(url)


def _services(origin: Origin, path: str, endpoints: Endpoints) -> list[tuple[str, str]]:
    """The services whose links live at `origin`, each with the prefix of its paths.

    Both endpoints may share one host and port, for a mirror of everything; then both are tried.
    """
    found = []
    for service in ("civitai", "huggingface"):
        endpoint = endpoints.url(service)
        prefix = urlsplit(endpoint).path
        if origin_of(endpoint) == origin and (path + "/").startswith(prefix + "/"):
            found.append((service, prefix))
    if found:
        return found
    if origin.port != (443 if origin.scheme == "https" else 80):
        return []
    host = origin.host.removeprefix("www.")
    if host in CIVITAI_HOSTS | ARCHIVE_HOSTS:
        return [("civitai", "")]
    return [("huggingface", "")] if host in HUGGINGFACE_HOSTS else []
