"""The HuggingFace Hub: from a reference to a resolution.

    GET /api/models/{repo}[/revision/{rev}]?blobs=true   everything, sizes and digests included
    GET /api/models/{repo}/tree/{commit}?recursive=true  where the first lacks sizes or files
    GET /{repo}/resolve/{commit}/README.md               the description, if it comes at once

What is resolved is pinned to the commit: links, the reference that is kept, and so every later
attempt get the same bytes. A renamed repository answers under its new id, which is the one that is
kept. Files over 50 GB do not come by plain HTTP (huggingface_hub, MAX_HTTP_DOWNLOAD_SIZE).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from config.errors import ModelyardError
from sources.calls import Calls
from sources.errors import LicenceRequired, NotDownloadable, SourceFormat, TooLargeForHttp
from sources.families import family_of
from sources.headers import detect_at
from sources.hub_files import (
    HubFile,
    Selection,
    is_companion,
    quant_of,
    read_siblings,
    read_tree,
    select,
)
from sources.hub_model import (
    base_model_of,
    base_models,
    class_name,
    component_of,
    licence_name,
    tags_of,
    told_type,
    trigger_words,
    type_of_path,
    type_of_repo,
)
from sources.reading import (
    as_dict,
    as_dicts,
    as_extra,
    as_hex,
    as_list,
    as_moment_text,
    as_number,
    as_prose,
    as_text,
    as_url,
    as_words,
)
from sources.refs import HUGGINGFACE, HuggingFaceReference
from sources.refusals import explain
from sources.resolution import (
    FileRole,
    Hashes,
    Licence,
    ModelType,
    Preview,
    Resolution,
    SourceFile,
)
from sources.types import format_from_name
from transfer.errors import AuthRequired, TransferError
from transfer.names import safe_name, safe_relative_path

MAX_HTTP_BYTES = 50_000_000_000
MAX_PAGES = 20
MAX_OFFERED = 2_000
MAX_README_BYTES = 200_000
MAX_DESCRIPTION = 20_000
README_LEFT_S = 6.0  # with less time than this the description is left out

_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
_NEXT_LINK = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')
_PICTURE = re.compile(r"\.(png|jpe?g|webp|gif)$", re.IGNORECASE)
_PRECISION = re.compile(
    r"(?:^|[-_.])(fp32|fp16|bf16|fp8|nf4|int8|int4|fp4)(?=[-_.]|$)", re.IGNORECASE
)
_FRONT_MATTER = re.compile(r"\A\s*---\n.*?\n---\s*\n", re.DOTALL)
_EXTRAS = (
    *("library_name", "pipeline_tag", "gated", "private", "usedStorage", "safetensors"),
    *("inference", "transformersInfo", "gguf", "xetEnabled", "lastModified", "createdAt"),
    *("inferenceProviderMapping", "model-index", "mask_token"),
)
_CARD_EXTRAS = ("language", "datasets", "license", "license_name", "pipeline_tag", "metrics")


def resolve(
    reference: HuggingFaceReference, *, calls: Calls, endpoint: str, describe: bool = True
) -> Resolution:
    """Everything the Hub says about what is named; without `describe` not its README.

    Raises NotFound, NotDownloadable, TokenRequired, TokenRejected, LicenceRequired,
    TooLargeForHttp, SourceFormat, SourceUnavailable.
    """
    info, reference = _get_info(reference, calls, endpoint)
    files = _get_files(info, reference, calls, endpoint)
    selection = select(files, reference)
    _refuse_what_is_too_large(selection)
    pinned = replace(reference, revision=_commit(info) or reference.revision)
    resolution = build(reference, pinned, info, files, selection, endpoint=endpoint)
    _check_gate(resolution, info, calls)
    if not describe:
        return resolution
    if _is_guess(resolution, info, selection):
        resolution = _told_by_header(resolution, calls)
    return replace(resolution, description=_description(pinned, files, calls, endpoint))


def _api(reference: HuggingFaceReference, endpoint: str) -> str:
    kind = "datasets" if reference.repo_type == "dataset" else "models"
    return f"{endpoint}/api/{kind}/{quote(reference.repo)}"


def _get(url: str, reference: HuggingFaceReference, calls: Calls, **params: str) -> Any:
    try:
        return calls.get_json(url, params or None)
    except TransferError as error:
        raise explain(
            error, HUGGINGFACE, had_token=calls.has_token, page_url=_repo_page(reference)
        ) from error


def _repo_page(reference: HuggingFaceReference) -> str:
    return f"https://huggingface.co/{quote(reference.repo_path)}"


def _get_info(
    reference: HuggingFaceReference, calls: Calls, endpoint: str
) -> tuple[dict[str, Any], HuggingFaceReference]:
    """The repository's answer, and the reference with the name that it has today."""
    url = _api(reference, endpoint)
    if reference.revision != "main":
        url += f"/revision/{quote(reference.revision, safe='')}"
    info = _get(url, reference, calls, blobs="true").value
    if not isinstance(info, dict):
        raise SourceFormat("HuggingFace's answer is not an object.")
    if info.get("disabled") is True:
        raise NotDownloadable("HuggingFace has disabled this repository.")
    name = as_text(info.get("id") or info.get("modelId"), 200)
    return info, replace(reference, repo=name) if _REPO_ID.fullmatch(name) else reference


def _commit(info: dict[str, Any]) -> str:
    return as_hex(info.get("sha"), 40, 64)


def _get_files(
    info: dict[str, Any], reference: HuggingFaceReference, calls: Calls, endpoint: str
) -> tuple[HubFile, ...]:
    """All files; their sizes come from the tree where the info has only their names."""
    files = read_siblings(info)
    if files and all(file.size_bytes is not None for file in files if file.rank is not None):
        return files
    try:
        listed = _get_tree(info, reference, calls, endpoint)
    except ModelyardError:
        if not files:
            raise
        return files  # names are enough to download, sizes are not
    known = {file.path: file for file in listed}
    return (*(known.pop(file.path, file) for file in files), *known.values())


def _get_tree(
    info: dict[str, Any], reference: HuggingFaceReference, calls: Calls, endpoint: str
) -> tuple[HubFile, ...]:
    """The tree, page after page: only the Link header knows of the next one."""
    revision = quote(_commit(info) or reference.revision, safe="")
    url = f"{_api(reference, endpoint)}/tree/{revision}?recursive=true"
    found: list[HubFile] = []
    seen: set[str] = set()
    while url and url not in seen and len(seen) < MAX_PAGES:
        seen.add(url)
        answer = _get(url, reference, calls)
        if not isinstance(answer.value, list):
            raise SourceFormat("HuggingFace's list of files is not a list.")
        found += read_tree(answer.value)
        url = _next_page(str(answer.headers.get("Link") or ""), endpoint)
    return tuple(found)


def _next_page(link: str, endpoint: str) -> str:
    """The next page at our endpoint: a mirror names the public host, and no other host is asked."""
    match = _NEXT_LINK.search(link[:8000])
    if match is None:
        return ""
    try:
        parts = urlsplit(match[1])
    except ValueError:
        return ""
    start = parts.path.find("/api/")
    return f"{endpoint}{parts.path[start:]}?{parts.query}" if start >= 0 else ""


def _refuse_what_is_too_large(selection: Selection) -> None:
    for file in selection.files:
        if (file.size_bytes or 0) > MAX_HTTP_BYTES:
            raise TooLargeForHttp(
                f"{file.path} is larger than 50 GB; HuggingFace gives such files out by its own "
                "protocol only. Choose a smaller build or a sharded one.",
                path=file.path,
                size_bytes=file.size_bytes,
            )


def _check_gate(resolution: Resolution, info: dict[str, Any], calls: Calls) -> None:
    """With a token: whether its account may download from a gated repository.

    Raises LicenceRequired and TokenRejected; any other trouble is left to the download.
    """
    if not info.get("gated") or not calls.has_token:
        return
    url = resolution.file(resolution.chosen[0]).url
    try:
        with calls.open(url, {"Range": "bytes=0-0"}):
            pass
    except AuthRequired as error:
        refusal = explain(error, HUGGINGFACE, had_token=True, page_url=resolution.source_url)
        if isinstance(refusal, LicenceRequired) or error.status == 401:
            raise refusal from error
    except (TransferError, ModelyardError):
        return


def _is_guess(resolution: Resolution, info: dict[str, Any], selection: Selection) -> bool:
    """Nothing that was published tells the type, and the file itself may."""
    main = resolution.file(resolution.chosen[0])
    return (
        not resolution.is_snapshot
        and not resolution.needs_token
        and main.format == "safetensors"
        and type_of_path(main.file_id, ModelType.OTHER) is ModelType.OTHER
        and told_type(info, resolution.model_id, selection.files[0]) is None
    )


def _told_by_header(resolution: Resolution, calls: Calls) -> Resolution:
    """With the type, and where it is unknown the base model, that the file's own header tells."""
    main = resolution.file(resolution.chosen[0])
    found = detect_at(main.url, calls)
    model_type = found.model_type or resolution.model_type
    files = (
        replace(file, model_type=model_type) if file is main else file for file in resolution.files
    )
    base_model = resolution.base_model or found.base_model
    return replace(
        resolution,
        model_type=model_type,
        files=tuple(files),
        base_model=base_model,
        base_model_family=family_of(base_model),
    )


def build(
    named: HuggingFaceReference,
    pinned: HuggingFaceReference,
    info: dict[str, Any],
    files: tuple[HubFile, ...],
    selection: Selection,
    *,
    endpoint: str,
) -> Resolution:
    """The resolution that the answers make; nothing is asked."""
    main = selection.files[0]
    is_pipeline = any(file.base == "model_index.json" for file in files)
    declared = type_of_repo(info, pinned.repo, main, is_pipeline=is_pipeline)
    model_type = declared if selection.is_snapshot else type_of_path(main.path, declared)
    base_model = base_model_of(info, pinned.repo, main)
    card = as_dict(info.get("cardData"))
    offered = _offered(files, selection)
    return Resolution(
        source_type=HUGGINGFACE,
        reference=str(pinned),
        source_url=named.page_url,
        name=pinned.repo,
        model_type=model_type,
        files=tuple(
            _source_file(file, pinned, declared, selection, endpoint=endpoint) for file in offered
        ),
        chosen=tuple(file.path for file in selection.files),
        model_id=pinned.repo,
        version_id=_commit(info) or pinned.revision,
        version_name=as_text(named.revision),
        base_model=base_model,
        base_model_family=family_of(base_model),
        trigger_words=trigger_words(info),
        previews=_previews(card, files, pinned, endpoint),
        tags=tags_of(info),
        creator=as_text(info.get("author"), 200) or pinned.repo.rpartition("/")[0],
        licence=Licence(name=licence_name(info), link=as_url(card.get("license_link"))),
        nsfw="not-for-all-audiences" in as_words(info.get("tags")),
        published_at=as_moment_text(info.get("createdAt")),
        updated_at=as_moment_text(info.get("lastModified")),
        stats=_stats(info),
        is_snapshot=selection.is_snapshot,
        folder=pinned.repo.replace("/", "--") if selection.is_snapshot else "",
        needs_token=_needs_token(info, named),
        warnings=(selection.warning,) if selection.warning else (),
        extra=_extra(info, card),
    )


def _offered(files: tuple[HubFile, ...], selection: Selection) -> list[HubFile]:
    """What was chosen, then the other weights, then the rest, up to a bound."""
    chosen = set(selection.files)
    rest = [file for file in files if file not in chosen]
    rest.sort(key=is_companion)
    return [*selection.files, *rest][: max(MAX_OFFERED, len(chosen))]


def _source_file(
    file: HubFile,
    pinned: HuggingFaceReference,
    declared: ModelType,
    selection: Selection,
    *,
    endpoint: str,
) -> SourceFile:
    precision = _PRECISION.search(file.base)
    return SourceFile(
        file_id=file.path,
        name=safe_name(file.base),
        url=resolve_url(pinned, file.path, endpoint),
        model_type=type_of_path(file.path, declared),
        role=FileRole.COMPANION if is_companion(file) else FileRole.WEIGHTS,
        path=safe_relative_path(file.path) if selection.is_snapshot else "",
        size_bytes=file.size_bytes,
        hashes=Hashes(sha256=file.sha256, git_sha1=file.git_sha1),
        kind=component_of(file.path),
        format=format_from_name(file.base),
        precision=precision[1].lower() if precision else "",
        quantization=quant_of(file.path) if file.base.lower().endswith(".gguf") else "",
        primary=file == selection.files[0],
    )


def resolve_url(pinned: HuggingFaceReference, path: str, endpoint: str) -> str:
    """The link of one file at one commit."""
    revision = quote(pinned.revision, safe="")
    return f"{endpoint}/{quote(pinned.repo_path)}/resolve/{revision}/{quote(path)}"


def _needs_token(info: dict[str, Any], named: HuggingFaceReference) -> str:
    gated = info.get("gated")
    if gated is True or gated in ("auto", "manual"):
        by_hand = ", and its authors answer by hand" if gated == "manual" else ""
        return (
            f"This repository is gated{by_hand}: accept its licence at {_repo_page(named)} and "
            "save a HuggingFace token of that account."
        )
    if info.get("private") is True:
        return "This repository is private: only its own accounts may download it."
    return ""


def _previews(
    card: dict[str, Any], files: Iterable[HubFile], pinned: HuggingFaceReference, endpoint: str
) -> tuple[Preview, ...]:
    """The pictures of the card's examples, else those that lie beside the model."""
    urls: dict[str, None] = {}
    for example in as_dicts(card.get("widget")):
        link = as_dict(example.get("output")).get("url")
        if isinstance(link, str) and _PICTURE.search(link) and ":" not in link and ".." not in link:
            urls.setdefault(resolve_url(pinned, link.lstrip("/"), endpoint))
        elif as_url(link):
            urls.setdefault(as_url(link))
    for file in files:
        if _PICTURE.search(file.base) and len(urls) < 10:
            urls.setdefault(resolve_url(pinned, file.path, endpoint))
    return tuple(Preview(url=url) for url in list(urls)[:10])


def _stats(info: dict[str, Any]) -> dict[str, int | float]:
    numbers = {key: as_number(info.get(key)) for key in ("downloads", "downloadsAllTime", "likes")}
    return {key: value for key, value in numbers.items() if value is not None}


def _extra(info: dict[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    config = as_dict(info.get("config"))
    values = {key: info.get(key) for key in _EXTRAS}
    values["card"] = {key: card.get(key) for key in _CARD_EXTRAS}
    values["class_name"] = class_name(info)
    values["architectures"] = as_list(config.get("architectures"))
    values["config_type"] = config.get("model_type")
    values["base_models"] = base_models(info)
    values["keyed_tags"] = [tag for tag in as_words(info.get("tags"), 200) if ":" in tag]
    return as_extra(values)


def _description(
    pinned: HuggingFaceReference, files: Iterable[HubFile], calls: Calls, endpoint: str
) -> str:
    """The README as paragraphs, "" when it does not come at once."""
    readme = next((file for file in files if file.path.lower() == "readme.md"), None)
    if readme is None or calls.remaining_s() < README_LEFT_S:
        return ""
    if (readme.size_bytes or 0) > MAX_README_BYTES:
        return ""
    url = resolve_url(pinned, readme.path, endpoint)
    try:
        with calls.open(url, {}) as answer:
            body = answer.read(MAX_README_BYTES)
    except (TransferError, ModelyardError):
        return ""
    return readme_html(body.decode("utf-8", "replace"))


def readme_html(text: str) -> str:
    """The prose of a README: no front matter, no markup, one paragraph per block of lines."""
    text = _FRONT_MATTER.sub("", as_prose(text.replace("\r\n", "\n"), MAX_README_BYTES))
    text = re.sub(r"```.*?(```|\Z)", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^<>]{0,2000}>", "", text)
    text = re.sub(r"!\[[^\[\]]{0,500}\]\([^()]{0,1000}\)", "", text)
    text = re.sub(r"\[([^\[\]]{0,500})\]\([^()]{0,1000}\)", r"\1", text)
    blocks = (re.sub(r"^[#>\s*|-]+|[*_`]{1,3}", "", block).strip() for block in text.split("\n\n"))
    paragraphs = [f"<p>{html.escape(' '.join(block.split()))}</p>" for block in blocks if block]
    kept: list[str] = []
    for paragraph in paragraphs:
        if sum(map(len, kept)) + len(paragraph) > MAX_DESCRIPTION:
            break
        kept.append(paragraph)
    return "\n".join(kept)
