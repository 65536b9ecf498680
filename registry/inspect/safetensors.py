"""The header of a safetensors file, checked against the file's size; the tensors are not read.

    8 bytes   N, little-endian
    N bytes   JSON object: name → {"dtype", "shape", "data_offsets": [start, end]}, and
              "__metadata__" → {text: text}; may be padded with spaces
    the rest  the tensors: every byte belongs to exactly one
Format: https://github.com/huggingface/safetensors (README, "Format"), its limit is 100 MB.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from typing import IO, Any

from registry.inspect.report import Invalid, Report, shown

MAX_HEADER_BYTES = 100_000_000
LARGE_HEADER_BYTES = 16 * 1024 * 1024
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 16
METADATA = "__metadata__"
_MAX_METADATA_CHARS = 64 * 1024
_MAX_VALUE_CHARS = 4096

_DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}
_DTYPE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,19}")


def read(file: IO[bytes], size: int) -> tuple[Report, dict[str, Any]]:
    """Report and the whole header. Raises Invalid, with the tensor that is wrong."""
    header, length = _read_header(file, size)
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise Invalid("The header's __metadata__ is not a table of texts.")
    tensors = {name: entry for name, entry in header.items() if name != METADATA}
    if not tensors:
        raise Invalid("The file has a header and no tensors.")
    if len(tensors) > MAX_TENSORS:
        raise Invalid(f"The header names {len(tensors)} tensors; {MAX_TENSORS} is the limit.")
    report = Report(format="safetensors")
    ranges = [(*_check_tensor(name, entry, report), name) for name, entry in tensors.items()]
    _check_cover(ranges, size - 8 - length)
    dtypes = Counter(str(entry["dtype"]) for entry in tensors.values())
    report.header = {
        "metadata": bounded_metadata(metadata),
        "tensors": len(tensors),
        "dtypes": dict(dtypes.most_common(20)),
        "precision": _precision(tensors),
        "header_bytes": length,
    }
    if length > LARGE_HEADER_BYTES:
        report.warnings.append(f"The header is unusually large ({length:,} bytes).")
    return report, header


def bounded_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """What is worth keeping of a file's own texts: no thumbnails, nothing endless."""
    kept: dict[str, str] = {}
    room = _MAX_METADATA_CHARS
    for key, value in metadata.items():
        if value.startswith("data:") or len(key) > 200:
            continue
        text = value if len(value) <= _MAX_VALUE_CHARS else f"{value[:_MAX_VALUE_CHARS]}…"
        room -= len(key) + len(text)
        if room < 0:
            break
        kept[key.replace("\x00", "")] = text.replace("\x00", "")
    return kept


def _read_header(file: IO[bytes], size: int) -> tuple[dict[str, Any], int]:
    file.seek(0)
    start = file.read(8)
    if len(start) < 8:
        raise Invalid(f"The file has only {size} bytes; a safetensors file begins with 8.")
    (length,) = struct.unpack("<Q", start)
    if length > MAX_HEADER_BYTES:
        raise Invalid(
            f"The header says it has {length:,} bytes; {MAX_HEADER_BYTES:,} is the limit."
        )
    if 8 + length > size:
        raise Invalid(f"The file is cut off: its header alone has {length:,} of {size:,} bytes.")
    raw = file.read(length)
    if not raw.startswith(b"{"):
        raise Invalid("The header is not a JSON object.")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise Invalid(f"The header cannot be read: {shown(exc)}.") from exc
    return header, length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice")
    return values


def _check_tensor(name: str, entry: Any, report: Report) -> tuple[int, int]:
    """Start and end of the tensor's bytes."""
    label = f"Tensor {shown(name, 80)!r}"
    if not isinstance(entry, dict):
        raise Invalid(f"{label} is not described by an object.")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or not _DTYPE_NAME.fullmatch(dtype):
        raise Invalid(f"{label} has no valid dtype.")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_count, shape)):
        raise Invalid(f"{label} has no valid shape.")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise Invalid(f"{label} has no valid data_offsets.")
    start, end = offsets
    bits = _DTYPE_BITS.get(dtype)
    if bits is None:
        warning = f"The data type {dtype} is not known here, so its sizes were not checked."
        if warning not in report.warnings:
            report.warnings.append(warning)
        return start, end
    for dimension in shape:
        bits *= dimension
        if bits >= 2**64:
            raise Invalid(f"{label} is larger than any file.")
    if bits % 8 or (end - start) * 8 != bits:
        raise Invalid(f"{label} needs {bits // 8:,} bytes and has {end - start:,}.")
    return start, end


def _check_cover(ranges: list[tuple[int, int, str]], data_bytes: int) -> None:
    """Every byte of the data belongs to exactly one tensor."""
    expected = 0
    for start, end, name in sorted(ranges):
        if start != expected or end < start:
            what = "overlaps another" if start < expected else "leaves a gap before it"
            raise Invalid(f"Tensor {shown(name, 80)!r} {what}.")
        expected = end
    if expected > data_bytes:
        raise Invalid(
            f"The file is cut off: its tensors need {expected:,} bytes, and it has {data_bytes:,}."
        )
    if expected < data_bytes:
        raise Invalid(f"{data_bytes - expected:,} bytes after the tensors belong to nothing.")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _precision(tensors: dict[str, Any]) -> str:
    """The data type that holds most bytes, in the words of the sources: fp16, bf16, fp8 …"""
    weight: Counter[str] = Counter()
    for entry in tensors.values():
        start, end = entry["data_offsets"]
        weight[str(entry["dtype"])] += end - start
    dtype = weight.most_common(1)[0][0]
    words = {"F16": "fp16", "BF16": "bf16", "F32": "fp32", "F64": "fp64", "I8": "int8", "U8": "u8"}
    if dtype.startswith("F8_"):
        return "fp8"
    return words.get(dtype, dtype.lower())
