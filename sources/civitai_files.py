"""The files of one CivitAI version: read, named apart, and one of them chosen.

The file id is what is stable. Names are computed by CivitAI from the titles, so two files of one
version may share one; the order means nothing; `primary` may be absent; and without `fileId` the
download route picks a file by the preferences of the token's owner, so the id is always asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from sources.errors import NotDownloadable, NotFound, SourceFormat
from sources.reading import (
    MAX_NAME,
    MAX_NUMBER,
    as_dict,
    as_dicts,
    as_hex,
    as_id,
    as_moment_text,
    as_number,
    as_prose,
    as_size,
    as_text,
    as_url,
)
from sources.refs import CIVITAI_HOSTS, FileChoice
from sources.resolution import FileRole, Hashes, ModelType, SourceFile
from sources.types import (
    civitai_file_type,
    civitai_format,
    extension,
    folded,
    lacks_extension,
)
from transfer.names import safe_name

MAX_FILES = 200
MAX_RAW_NAME = 4000  # what the file is called comes from its end, so the end is not cut off
TRAINING_DATA = "trainingdata"
# What a model of any type is made of; the main file is looked for here first.
_MAIN_KINDS = frozenset({"model", "prunedmodel", "", "diffusionmodel", "unet"})
_MAIN_KINDS_OF = {
    ModelType.VAE: frozenset({"vae"}),
    ModelType.TEXT_ENCODER: frozenset({"textencoder"}),
    ModelType.CLIP_VISION: frozenset({"clipvision", "visionencoder"}),
    ModelType.CONTROLNET: frozenset({"controlnet"}),
    ModelType.UPSCALER: frozenset({"upscaler"}),
    ModelType.POSES: frozenset({"archive"}),
    ModelType.WILDCARDS: frozenset({"archive"}),
    ModelType.WORKFLOW: frozenset({"workflow", "archive"}),
    ModelType.OTHER: frozenset({"archive", "workflow", "other"}),
}
_SUFFIXES = {"safetensors": ".safetensors", "pickle": ".ckpt", "gguf": ".gguf", "onnx": ".onnx"}
_FORMAT_RANK = {"safetensors": 0, "gguf": 1, "pickle": 2}
_DOWNLOAD_PATH = re.compile(r"/api/download/models/[0-9]{1,10}", re.ASCII)
_CONFIG_EXTENSIONS = frozenset({"yaml", "yml", "json", "txt"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as offered, with the words and the link that CivitAI gave it."""

    file: SourceFile
    kind: str  # folded
    format_word: str
    plain_url: str
    scan_message: str = ""


def read_files(
    version: dict[str, Any], *, version_id: int, model_type: ModelType, endpoint: str
) -> tuple[Listed, ...]:
    """The files that may be downloaded: all but the training data. May be empty."""
    listed: dict[str, Listed] = {}
    for plain in as_dicts(version.get("files"))[:MAX_FILES]:
        one = _read_file(plain, version_id=version_id, model_type=model_type, endpoint=endpoint)
        if one is not None and one.kind != TRAINING_DATA:
            listed.setdefault(one.file.file_id, one)
    return _told_apart(tuple(listed.values()))


def training_file_ids(version: dict[str, Any]) -> frozenset[int]:
    """The ids of the files that are never downloaded, not even when they are named."""
    return frozenset(
        number
        for plain in as_dicts(version.get("files"))
        if folded(as_text(plain.get("type"))) == TRAINING_DATA
        and (number := as_id(plain.get("id"))) is not None
    )


def _read_file(
    plain: dict[str, Any], *, version_id: int, model_type: ModelType, endpoint: str
) -> Listed | None:
    metadata = as_dict(plain.get("metadata"))
    number = as_id(plain.get("id"))
    hashes = read_hashes(plain.get("hashes"))
    kind, raw_name = as_text(plain.get("type"), 100), as_text(plain.get("name"), MAX_RAW_NAME)
    format_word = as_text(metadata.get("format"), 40)
    file_id = str(number) if number else hashes.sha256 or raw_name[:MAX_NAME]
    if not file_id:
        return None
    file_format = civitai_format(format_word, raw_name)
    name = safe_name(raw_name, fallback=f"civitai-{version_id}-{file_id[:20]}")
    if lacks_extension(name):
        name = safe_name(name + _SUFFIXES.get(file_format, ""))
    plain_url = _download_url(plain, metadata, version_id=version_id, endpoint=endpoint)
    is_config = folded(kind) == "config" or (
        folded(kind) in {"", "other"} and extension(name) in _CONFIG_EXTENSIONS
    )
    file = SourceFile(
        file_id=file_id,
        name=name,
        url=_with_file_id(plain_url, number),
        model_type=civitai_file_type(kind, model_type),
        role=FileRole.COMPANION if is_config else FileRole.WEIGHTS,
        size_bytes=_size_bytes(plain.get("sizeKB")),
        hashes=hashes,
        kind=kind,
        format="config" if is_config and file_format == "other" else file_format,
        precision=as_text(metadata.get("fp"), 32).lower(),
        size_class=as_text(metadata.get("size"), 32).lower(),
        quantization=as_text(metadata.get("quantType"), 32),
        primary=plain.get("primary") is True,
        required=metadata.get("isRequired") is True,
        pickle_scan=as_text(plain.get("pickleScanResult"), 32),
        virus_scan=as_text(plain.get("virusScanResult"), 32),
        scanned_at=as_moment_text(plain.get("scannedAt")),
    )
    messages = (plain.get("pickleScanMessage"), plain.get("virusScanMessage"))
    scan_message = " ".join(as_prose(message, 500) for message in messages if message).strip()
    return Listed(file, folded(kind), format_word, plain_url, scan_message)


def read_hashes(value: object) -> Hashes:
    """CivitAI's digests in lower case; AutoV3 has 12 digits today and had 64 in 2023."""
    plain = {str(key).lower(): text for key, text in as_dict(value).items()}
    return Hashes(
        sha256=as_hex(plain.get("sha256"), 64),
        blake3=as_hex(plain.get("blake3"), 64),
        autov1=as_hex(plain.get("autov1"), 8),
        autov2=as_hex(plain.get("autov2"), 10),
        autov3=as_hex(plain.get("autov3"), 12, 64),
        crc32=as_hex(plain.get("crc32"), 8),
    )


def _size_bytes(size_kb: object) -> int | None:
    """`sizeKB` is KiB as a float whose product is not always whole: near, not exact."""
    number = as_number(size_kb)
    if number is None or not 0 < number < MAX_NUMBER / 1024:
        return None
    return as_size(round(number * 1024))


def _download_url(
    plain: dict[str, Any], metadata: dict[str, Any], *, version_id: int, endpoint: str
) -> str:
    """CivitAI's own link of the file, moved to the endpoint, without an id and without a token.

    A link to anywhere else (a batch answer once said `https://undefined/…`) is built anew.
    """
    link = urlsplit(as_url(plain.get("downloadUrl")))
    own_host = urlsplit(endpoint).hostname
    host = (link.hostname or "").removeprefix("www.")
    if host in {*CIVITAI_HOSTS, own_host} and _DOWNLOAD_PATH.fullmatch(link.path):
        pairs = parse_qsl(link.query)
        path = link.path
    else:
        path = f"/api/download/models/{version_id}"
        pairs = [] if plain.get("primary") is True else _parameters(plain, metadata)
    kept = [(key, value) for key, value in pairs if key.lower() not in {"token", "fileid"}]
    query = urlencode(kept, quote_via=quote)
    return f"{endpoint}{path}" + (f"?{query}" if query else "")


def _parameters(plain: dict[str, Any], metadata: dict[str, Any]) -> list[tuple[str, str]]:
    return FileChoice(
        type=as_text(plain.get("type"), 40),
        format=as_text(metadata.get("format"), 40),
        size=as_text(metadata.get("size"), 40),
        fp=as_text(metadata.get("fp"), 40),
        quant_type=as_text(metadata.get("quantType"), 40),
    ).query()


def _with_file_id(url: str, number: int | None) -> str:
    if number is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}fileId={number}"


def _told_apart(listed: tuple[Listed, ...]) -> tuple[Listed, ...]:
    """Files of one name get their id into it; the primary keeps the name alone."""
    keepers: dict[str, str] = {}
    for one in sorted(listed, key=lambda one: not one.file.primary):
        keepers.setdefault(one.file.name.casefold(), one.file.file_id)
    return tuple(
        one
        if keepers[one.file.name.casefold()] == one.file.file_id
        else replace(one, file=replace(one.file, name=_marked(one.file)))
        for one in listed
    )


def _marked(file: SourceFile) -> str:
    stem, dot, last = file.name.rpartition(".")
    mark = f"-{file.file_id[:20]}"
    return safe_name(f"{stem}{mark}.{last}" if dot and stem else f"{file.name}{mark}")


def choose(
    listed: tuple[Listed, ...],
    *,
    model_type: ModelType,
    file_id: int | None,
    choice: FileChoice,
    sha256: str = "",
    training_ids: frozenset[int] = frozenset(),
) -> tuple[str, ...]:
    """The ids of the files that are meant, the main one first.

    Raises NotFound when a file was named that is not there, NotDownloadable when it is training
    data or nothing is left, and names what is offered.
    """
    if file_id in training_ids or folded(choice.type) == TRAINING_DATA:
        raise NotDownloadable("That file is training data, not a model.")
    if not listed:
        raise NotDownloadable("This version offers no file that can be downloaded.")
    if file_id is not None:
        return (_by_id(listed, str(file_id)).file.file_id,)
    if sha256:
        listed = tuple(one for one in listed if one.file.hashes.sha256 == sha256) or listed
        return (_best(listed, model_type).file.file_id,)
    if choice:
        return (_best(_by_choice(listed, choice), model_type).file.file_id,)
    main = _best(listed, model_type)
    extras = (one for one in listed if one.file.required and one is not main)
    return (main.file.file_id, *(one.file.file_id for one in extras))


def _by_id(listed: tuple[Listed, ...], file_id: str) -> Listed:
    for one in listed:
        if one.file.file_id == file_id:
            return one
    raise NotFound(
        f"This version has no file {file_id}. It offers: {_offered(listed)}.",
        offered=[one.file.file_id for one in listed],
    )


def _by_choice(listed: tuple[Listed, ...], choice: FileChoice) -> tuple[Listed, ...]:
    """The files that match every word; a word that CivitAI left empty matches when nothing else
    does, because its own links name what its metadata then lacks."""
    for lenient in (False, True):
        found = tuple(one for one in listed if _matches(one, choice, lenient=lenient))
        if found:
            return found
    raise NotFound(
        f"This version has no file of that kind. It offers: {_offered(listed)}.",
        offered=[one.file.file_id for one in listed],
    )


def _matches(one: Listed, choice: FileChoice, *, lenient: bool) -> bool:
    pairs = (
        (choice.type, one.file.kind),
        (choice.format, one.format_word),
        (choice.size, one.file.size_class),
        (choice.fp, one.file.precision),
        (choice.quant_type, one.file.quantization),
    )
    return all(
        not wanted or folded(wanted) == folded(offered) or (lenient and not offered)
        for wanted, offered in pairs
    )


def _best(listed: tuple[Listed, ...], model_type: ModelType) -> Listed:
    """The primary of the wanted kind, else the best of it, else the best there is."""
    if not listed:
        raise SourceFormat("CivitAI lists no file that could be chosen.")
    return min(listed, key=lambda one: _rank(one, model_type))


def _rank(one: Listed, model_type: ModelType) -> tuple[bool, bool, bool, int, bool, bool]:
    wanted = _MAIN_KINDS | _MAIN_KINDS_OF.get(model_type, frozenset())
    return (
        one.kind not in wanted,
        one.file.role is FileRole.COMPANION,
        not one.file.primary,
        _FORMAT_RANK.get(one.file.format, 3),
        one.file.virus_scan == "Danger" or one.file.pickle_scan == "Danger",
        one.file.size_class != "pruned",
    )


def _offered(listed: tuple[Listed, ...]) -> str:
    return ", ".join(f"{one.file.name} (file {one.file.file_id})" for one in listed[:10]) or "none"
