r"""Which files of a HuggingFace repository make up the model.

    the file that was named             else the folder that was named, by the same rules
    the GGUF build that was named       all its parts
    all shards at the top               model-00001-of-00004.safetensors …, index and configs
    the largest safetensors at the top  (a repository often holds the whole model again as folders)
    a snapshot                          the folders of model_index.json without format twins
    the GGUF build of common sense      Q4_K_M, as Ollama chooses
    the largest other weights at the top
    a snapshot of what lies deeper, or the one file there

A twin is the same tensors in another format (.bin beside .safetensors, onnx, flax, tf) or in
another variant (.fp16, .non_ema) of what is taken anyway.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sources.errors import NotDownloadable, NotFound
from sources.reading import as_dict, as_dicts, as_hex, as_size
from sources.refs import HuggingFaceReference
from sources.types import extension
from transfer.errors import UnsafePath
from transfer.names import safe_relative_path

MAX_FILES = 20_000
# Weights by how gladly they are taken; the last ones are other frameworks' copies.
_WEIGHT_RANK = {
    "safetensors": 0,
    "sft": 0,
    "gguf": 1,
    "ckpt": 2,
    "pt": 3,
    "pth": 3,
    "bin": 4,
    "pkl": 5,
    "onnx": 6,
    "onnx_data": 6,
    "npz": 7,
    "msgpack": 8,
    "h5": 8,
    "ot": 8,
    "tflite": 8,
}
_FOREIGN_RANK = 6  # from here on: no format of PyTorch
_SHARD = re.compile(r"^(?P<stem>.+?)-(?P<part>\d{5})-of-(?P<total>\d{5})(?P<end>\.[^/]+)$")
_VARIANT = re.compile(r"\.(fp16|fp32|bf16|non_ema|ema)(?=[.-])|[._-](?:openvino|flax|onnx)[._-]")
_CONFIG = re.compile(r"\.(json|txt|model|ya?ml|spm|tiktoken|jinja)$", re.IGNORECASE)
_NO_CONFIG = re.compile(
    r"(^|/)(readme|license|licence|notice|use_policy|\.git|trainer_state|training_args|all_results"
    r"|eval_results|train_results|predict_results|requirements)[^/]*$",
    re.IGNORECASE,
)
# What training leaves behind beside the model.
_LEFTOVER = re.compile(
    r"(^|/)(optimizer|scheduler|rng_state|training_args|scaler)[^/]*\.(pt|pth|bin)$"
)
_DENOISER = re.compile(r"(^|/)(unet|transformer|prior|diffusion_models)(_\d)?$")
_HIDDEN = re.compile(r"(^|/)\.(git[^/]*|DS_Store|cache)(/|$)")
_QUANTS = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "Q8_0")
_QUANT_IN_NAME = re.compile(
    r"(?:^|[-_./])((?:UD-)?I?Q\d(?:_[0-9A-Z]+)*|BF16|F16|F32|MXFP4)(?=[-_./]|$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `git_sha1` only where it is the digest of the content."""

    path: str
    size_bytes: int | None = None
    sha256: str = ""
    git_sha1: str = ""

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def base(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def rank(self) -> int | None:
        """The place of its format among the weights, None for what is no weights."""
        if _LEFTOVER.search(self.path):
            return None
        return _WEIGHT_RANK.get(extension(self.base))


@dataclass(frozen=True, slots=True)
class Selection:
    """What is downloaded, the main file first."""

    files: tuple[HubFile, ...]
    is_snapshot: bool = False
    warning: str = ""


def read_siblings(info: dict[str, Any]) -> tuple[HubFile, ...]:
    """The files of a model's info; without `blobs=true` only their names are there.

    `blobId` is the content's SHA-1 for a regular file and the pointer's for an LFS file.
    """
    found = []
    for plain in as_dicts(info.get("siblings"))[:MAX_FILES]:
        path = _sound_path(plain.get("rfilename"))
        if path:
            found.append(_file(path, plain, plain.get("blobId"), "sha256"))
    return tuple(found)


def read_tree(entries: list[Any]) -> tuple[HubFile, ...]:
    """The files of a tree listing; there the SHA-256 is called `lfs.oid`."""
    found = []
    for plain in as_dicts(entries)[:MAX_FILES]:
        path = _sound_path(plain.get("path"))
        if path and plain.get("type", "file") == "file":
            found.append(_file(path, plain, plain.get("oid"), "oid"))
    return tuple(found)


def _file(path: str, plain: dict[str, Any], git_sha1: object, digest_key: str) -> HubFile:
    lfs = as_dict(plain.get("lfs"))
    size = as_size(lfs.get("size"))
    return HubFile(
        path=path,
        size_bytes=as_size(plain.get("size")) if size is None else size,
        sha256=as_hex(lfs.get(digest_key) or lfs.get("sha256"), 64),
        git_sha1="" if plain.get("lfs") else as_hex(git_sha1, 40),
    )


def _sound_path(value: object) -> str:
    """A path that can be asked for and stored; nothing else of a repository is offered."""
    if not isinstance(value, str) or not value or _HIDDEN.search(value):
        return ""
    try:
        safe_relative_path(value)
    except (UnsafePath, ValueError):
        return ""
    return value if len(value) <= 1000 and value.isprintable() else ""


def select(files: tuple[HubFile, ...], reference: HuggingFaceReference) -> Selection:
    """The files that `reference` means. Raises NotFound and NotDownloadable."""
    if reference.quant:
        return _by_quant(files, reference.quant)
    if not reference.path:
        return _whole(files, "")
    return _by_path(files, reference.path)


def _by_path(files: tuple[HubFile, ...], path: str) -> Selection:
    for file in files:
        if file.path == path:
            shard = _SHARD.match(file.base)
            part = f"This is one part of {int(shard['total'])}." if shard else ""
            return Selection((file,), warning=part)
    inside = tuple(file for file in files if file.path.startswith(f"{path}/"))
    if inside:
        return _whole(inside, f"{path}/")
    raise NotFound(
        f"The repository has no file {path[:200]}. It has: {_some(files)}.",
        offered=[file.path for file in files[:50]],
    )


def _by_quant(files: tuple[HubFile, ...], quant: str) -> Selection:
    builds = _builds(files)
    if quant.lower() == "latest" and builds:
        return _parts(_common_build(builds))
    for name, parts in builds.items():
        if name.lower() == quant.lower():
            return _parts(parts)
    matching = [file for file in files if extension(file.base) == "gguf" and _says(file, quant)]
    if matching:
        return _parts(matching)
    if any(file.path == quant or file.path.startswith(f"{quant}/") for file in files):
        return _by_path(files, quant)
    known = ", ".join(builds) or "no GGUF files at all"
    raise NotFound(f"The repository has no build {quant}. It has: {known}.", builds=list(builds))


def quant_of(path: str) -> str:
    """The build that a GGUF file's name or folder says, in upper case, "" for none."""
    found = _QUANT_IN_NAME.findall(path.removesuffix(".gguf"))
    return str(found[-1]).upper() if found else ""


def _says(file: HubFile, quant: str) -> bool:
    return bool(re.search(rf"(^|[-_./]){re.escape(quant)}([-_./]|$)", file.path, re.IGNORECASE))


def _builds(files: Iterable[HubFile]) -> dict[str, list[HubFile]]:
    """GGUF files by what they were quantised to; projectors belong to all and are left out."""
    builds: dict[str, list[HubFile]] = defaultdict(list)
    for file in files:
        if extension(file.base) == "gguf" and "mmproj" not in file.base.lower():
            builds[quant_of(file.path) or file.base].append(file)
    return dict(builds)


def _common_build(builds: dict[str, list[HubFile]]) -> list[HubFile]:
    for name in _QUANTS:
        if name in builds:
            return builds[name]
    return next(iter(builds.values()))


def _parts(files: list[HubFile]) -> Selection:
    """One file, or all parts of one; of several whole files of one build the first."""
    sharded = sorted((file for file in files if _SHARD.match(file.base)), key=lambda one: one.path)
    whole = [file for file in files if not _SHARD.match(file.base)]
    if whole or not sharded:
        return Selection(((whole or files)[0],))
    first = _SHARD.match(sharded[0].base)
    stem = first["stem"] if first else ""
    parts = tuple(file for file in sharded if file.base.startswith(stem))
    return Selection(parts, is_snapshot=True, warning=_incomplete(parts))


def _whole(files: tuple[HubFile, ...], root: str) -> Selection:
    """The rules of the module, in their order, for everything below `root`."""
    top = [file for file in files if "/" not in file.path[len(root) :]]
    weights = sorted(
        (file for file in top if file.rank is not None), key=lambda file: (file.rank, file.path)
    )
    safetensors = [file for file in weights if file.rank == 0]
    if safetensors:
        return _sharded_or_largest(safetensors, top)
    if any(file.base == "model_index.json" for file in top):
        return _snapshot(files, root)
    builds = _builds(top)
    if builds:
        return _parts(_common_build(builds))
    return _sharded_or_largest(weights, top) if weights else _deeper(files, root)


def _sharded_or_largest(weights: list[HubFile], top: list[HubFile]) -> Selection:
    """All shards of the best format, else the largest file of it."""
    shards = _shards([file for file in weights if (file.rank or 0) < _FOREIGN_RANK])
    if shards:
        return _sharded(shards, top)
    return Selection((_largest([file for file in weights if file.rank == weights[0].rank]),))


def _deeper(files: tuple[HubFile, ...], root: str) -> Selection:
    weights = [file for file in files if file.rank is not None]
    if len(weights) == 1:
        return Selection((weights[0],))
    if weights:
        return _snapshot(files, root)
    raise NotDownloadable(
        f"The repository holds no model files by themselves. Name one of: {_some(files)}.",
        offered=[file.path for file in files[:50]],
    )


def _largest(files: list[HubFile]) -> HubFile:
    """Of files whose size is not known, the one without a variant in its name."""
    return max(files, key=lambda file: (file.size_bytes or 0, not _VARIANT.search(file.base)))


def _shards(weights: list[HubFile]) -> list[HubFile]:
    """The parts of one sharded model: the best format, without a variant if there is a choice."""
    groups: dict[tuple[str, str, str], list[HubFile]] = defaultdict(list)
    for file in weights:
        match = _SHARD.match(file.base)
        if match:
            groups[match["stem"], match["total"], match["end"]].append(file)
    if not groups:
        return []
    best = min(
        groups,
        key=lambda key: (groups[key][0].rank, bool(_VARIANT.search(f"{key[0]}{key[2]}")), key),
    )
    return sorted(groups[best], key=lambda file: file.path)


def _sharded(shards: list[HubFile], top: list[HubFile]) -> Selection:
    """The parts with their index and the configs beside them: one is no use without the other."""
    match = _SHARD.match(shards[0].base)
    index = f"{match['stem']}{match['end']}.index.json" if match else ""
    companions = [
        file
        for file in top
        if file.base == index or (_is_config(file) and not file.base.endswith(".index.json"))
    ]
    return Selection((*shards, *companions), is_snapshot=True, warning=_incomplete(shards))


def _incomplete(shards: Iterable[HubFile]) -> str:
    parts = list(shards)
    match = _SHARD.match(parts[0].base)
    total = int(match["total"]) if match else len(parts)
    return f"The repository holds only {len(parts)} of {total} parts." if len(parts) < total else ""


def _snapshot(files: tuple[HubFile, ...], root: str) -> Selection:
    weights = [file for file in files if file.rank is not None]
    own_formats = [file for file in weights if (file.rank or 0) < _FOREIGN_RANK]
    kept = _without_twins(own_formats or weights)
    pipeline = any(file.path == f"{root}model_index.json" for file in files)
    if pipeline and any(file.path[len(root) :].count("/") for file in kept):
        # The whole model once more as one file.
        kept = [file for file in kept if "/" in file.path[len(root) :]]
    # A folder of which nothing is taken needs no config; the top has the pipeline's own.
    foreign = {file.folder for file in weights} - {file.folder for file in kept} - {root[:-1]}
    kept.sort(key=lambda file: not _DENOISER.search(file.folder))  # The main part comes first.
    indexes = {f"{shard_set}.index.json" for shard_set in map(_shard_set, kept) if shard_set}
    companions = [
        file
        for file in files
        if file.folder not in foreign
        and _is_config(file)
        and (not file.base.endswith(".index.json") or file.path in indexes)
    ]
    return Selection((*kept, *companions), is_snapshot=True)


def _shard_set(file: HubFile) -> str:
    match = _SHARD.match(file.base)
    folder = f"{file.folder}/" if file.folder else ""
    return f"{folder}{match['stem']}{match['end']}" if match else ""


def _without_twins(weights: list[HubFile]) -> list[HubFile]:
    """Per folder the best format, and of each name the plain variant."""
    folders: dict[str, list[HubFile]] = defaultdict(list)
    for file in weights:
        folders[file.folder].append(file)
    kept: list[HubFile] = []
    for inside in folders.values():
        best = min(file.rank or 0 for file in inside)
        of_best = [file for file in inside if file.rank == best]
        plain = [file for file in of_best if not _VARIANT.search(file.base)]
        whole = {extension_free(file) for file in plain if not _SHARD.match(file.base)}
        kept += [file for file in plain or _one_variant(of_best) if not _is_cut(file, whole)]
    return kept


def extension_free(file: HubFile) -> str:
    """The path without the last extension."""
    return file.path.rpartition(".")[0]


def _is_cut(file: HubFile, whole: set[str]) -> bool:
    """A part of what is there in one piece as well."""
    match = _SHARD.match(file.base)
    folder = f"{file.folder}/" if file.folder else ""
    return bool(match) and f"{folder}{match['stem']}" in whole if match else False


def _one_variant(files: list[HubFile]) -> list[HubFile]:
    """Where nothing is plain: the files of the variant that comes first."""
    variants = {file: match[0] for file in files if (match := _VARIANT.search(file.base))}
    first = min(variants.values(), key=lambda variant: (variant != ".fp16", variant))
    return [file for file, variant in variants.items() if variant == first]


def _is_config(file: HubFile) -> bool:
    return bool(_CONFIG.search(file.base)) and not _NO_CONFIG.search(file.path)


def is_companion(file: HubFile) -> bool:
    """A file that is kept beside a model and is none itself."""
    return file.rank is None and extension(file.base) not in {"zip", "7z", "rar", "tar", "gz"}


def _some(files: Iterable[HubFile]) -> str:
    names = [file.path for file in files][:8]
    return ", ".join(names) if names else "nothing"
