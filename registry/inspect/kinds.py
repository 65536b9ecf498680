"""What a name may stand for: the table by declared kind and extension.

The last extension counts (`x.safetensors.html` is a web page). A kind says what the file is for,
the formats say what its bytes may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from sources.resolution import FileRole, ModelType

WEIGHTS = "weights"
CONFIG = "config"
WILDCARDS = "wildcards"
ARCHIVE = "archive"
PICTURE = "picture"


@dataclass(frozen=True, slots=True)
class Expected:
    kind: str
    formats: tuple[str, ...]


_TORCH = ("zip", "pickle")
_TEXT = ("text", "json")

EXTENSIONS: dict[str, Expected] = {
    ".safetensors": Expected(WEIGHTS, ("safetensors",)),
    ".sft": Expected(WEIGHTS, ("safetensors",)),
    ".gguf": Expected(WEIGHTS, ("gguf",)),
    ".ggml": Expected(WEIGHTS, ("ggml",)),
    ".ckpt": Expected(WEIGHTS, _TORCH),
    ".pt": Expected(WEIGHTS, _TORCH),
    ".pth": Expected(WEIGHTS, _TORCH),
    ".pkl": Expected(WEIGHTS, _TORCH),
    ".pickle": Expected(WEIGHTS, _TORCH),
    ".bin": Expected(WEIGHTS, (*_TORCH, "ggml", "gguf")),
    ".onnx": Expected(WEIGHTS, ("onnx",)),
    ".onnx_data": Expected(WEIGHTS, ("binary",)),
    ".h5": Expected(WEIGHTS, ("hdf5",)),
    ".keras": Expected(WEIGHTS, ("zip", "hdf5")),
    ".msgpack": Expected(WEIGHTS, ("msgpack",)),
    ".tflite": Expected(WEIGHTS, ("tflite",)),
    ".npy": Expected(WEIGHTS, ("npy",)),
    ".npz": Expected(WEIGHTS, ("zip",)),
    ".zip": Expected(ARCHIVE, ("zip",)),
    ".7z": Expected(ARCHIVE, ("7z",)),
    ".rar": Expected(ARCHIVE, ("rar",)),
    ".tar": Expected(ARCHIVE, ("tar",)),
    ".gz": Expected(ARCHIVE, ("gzip",)),
    ".tgz": Expected(ARCHIVE, ("gzip",)),
    ".txt": Expected(WILDCARDS, _TEXT),
    ".yaml": Expected(WILDCARDS, _TEXT),
    ".yml": Expected(WILDCARDS, _TEXT),
    ".csv": Expected(WILDCARDS, _TEXT),
    ".json": Expected(CONFIG, ("json",)),
    ".jsonl": Expected(CONFIG, ("json", "text")),
    ".md": Expected(CONFIG, _TEXT),
    ".toml": Expected(CONFIG, _TEXT),
    ".cfg": Expected(CONFIG, _TEXT),
    ".ini": Expected(CONFIG, _TEXT),
    ".tsv": Expected(CONFIG, _TEXT),
    ".jinja": Expected(CONFIG, _TEXT),
    ".py": Expected(CONFIG, _TEXT),
    ".model": Expected(CONFIG, ("binary", "text", "json")),  # SentencePiece
    ".tiktoken": Expected(CONFIG, _TEXT),
    ".png": Expected(PICTURE, ("png",)),
    ".jpg": Expected(PICTURE, ("jpeg",)),
    ".jpeg": Expected(PICTURE, ("jpeg",)),
    ".webp": Expected(PICTURE, ("webp",)),
}

_ALL = frozenset({WEIGHTS, CONFIG, WILDCARDS, ARCHIVE, PICTURE})
#: Kinds that the main file of a type may have; every other type has weights or an archive.
KINDS_BY_TYPE: dict[str, frozenset[str]] = {
    ModelType.WILDCARDS: frozenset({WILDCARDS, CONFIG, ARCHIVE}),
    ModelType.WORKFLOW: frozenset({CONFIG, PICTURE, ARCHIVE}),
    ModelType.POSES: frozenset({ARCHIVE, PICTURE, CONFIG, WEIGHTS}),
    ModelType.OTHER: _ALL,
}
_WEIGHT_KINDS = frozenset({WEIGHTS, ARCHIVE})


def extension_of(file_name: str) -> str:
    """The last extension in lower case, "" without one."""
    return PurePosixPath(file_name.strip()).suffix.lower()


def kinds_for(model_type: str, role: str) -> frozenset[str]:
    if role == FileRole.COMPANION:
        return _ALL
    return KINDS_BY_TYPE.get(model_type, _WEIGHT_KINDS)


def endings(kinds: frozenset[str]) -> str:
    """The known endings of these kinds, for a message."""
    return ", ".join(sorted(ext for ext, item in EXTENSIONS.items() if item.kind in kinds))
