"""The header of a GGUF file, read with bounds; the tensors are not read.

    "GGUF", version (u32), number of tensors (u64), number of key-value pairs (u64)
    pairs     key (text), type (u32), value; a text is a length (u64) and bytes
    tensors   name (text), dimensions (u32), each a u64, type (u32), offset (u64)
    data      begins at the next multiple of `general.alignment` (32)
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from typing import IO, Any

from registry.inspect.report import Invalid, Report, shown

VERSIONS = (1, 2, 3)
MAX_PAIRS = 100_000
MAX_TENSORS = 100_000
MAX_ARRAY_ITEMS = 10_000_000
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 1024
MAX_DIMENSIONS = 8
MAX_DEPTH = 4
_KEPT_TEXT = 1000
_STRING, _ARRAY = 8, 9
_FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
#: Tensor type → (values in a block, bytes of a block), from gguf-py's constants; a type that is not
#: here is only checked for its offset.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


def read(file: IO[bytes], size: int) -> Report:
    """Raises Invalid."""
    reader = _Reader(file, size)
    reader.take(4)
    version = reader.number("I")
    if version not in VERSIONS:
        raise Invalid(f"GGUF version {version} is not known.")
    reader.length = "I" if version == 1 else "Q"
    tensors, pairs = reader.number(reader.length), reader.number(reader.length)
    if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
        raise Invalid(
            f"The header names {tensors:,} tensors and {pairs:,} values; that is too many."
        )
    if tensors == 0:
        raise Invalid("The file has a header and no tensors.")
    metadata = {}
    for _ in range(pairs):
        key = reader.text(MAX_KEY_BYTES)
        metadata[key] = reader.value(reader.number("I"), 0)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 65536:
        raise Invalid("general.alignment is not valid.")
    ends = [_tensor_end(reader) for _ in range(tensors)]
    data_start = -(-reader.position // alignment) * alignment
    if data_start + max(ends) > size:
        raise Invalid(
            f"The file is cut off: its tensors end at {data_start + max(ends):,} and it has "
            f"{size:,} bytes."
        )
    kept = {key: item for key, item in metadata.items() if isinstance(item, str | int | float)}
    return Report(
        format="gguf",
        header={
            "metadata": {shown(key): item for key, item in list(kept.items())[:200]},
            "tensors": tensors,
            "version": version,
        },
    )


def _tensor_end(reader: _Reader) -> int:
    """Where the tensor's bytes end, relative to the data; their start when the type is unknown."""
    name = reader.text(MAX_NAME_BYTES)
    dimensions = reader.number("I")
    if not 0 <= dimensions <= MAX_DIMENSIONS:
        raise Invalid(f"Tensor {shown(name, 80)!r} has {dimensions} dimensions.")
    values = 1
    for _ in range(dimensions):
        values *= reader.number(reader.length)
    kind, offset = reader.number("I"), reader.number("Q")
    block = _BLOCKS.get(kind)
    if block is None:
        return int(offset)
    return int(offset + -(-values // block[0]) * block[1])


class _Reader:
    """Numbers and texts one after the other, never past the end of the file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size
        self.position = 0
        self.length = "Q"
        file.seek(0)

    def take(self, count: int) -> bytes:
        data = self._file.read(count) if self.position + count <= self._size else b""
        if len(data) != count:
            raise Invalid("The file is cut off within its header.")
        self.position += count
        return data

    def skip(self, count: int) -> None:
        if self.position + count > self._size:
            raise Invalid("The file is cut off within its header.")
        self.position += count
        self._file.seek(self.position)

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self, limit: int) -> str:
        length = self.number(self.length)
        if length > limit:
            raise Invalid(f"A text of {length:,} bytes stands where at most {limit:,} may.")
        return self.take(length).decode("utf-8", errors="replace").replace("\x00", "")

    def value(self, kind: int, depth: int) -> Any:
        if kind in _FORMATS:
            return self.number(_FORMATS[kind])
        if kind == _STRING:
            length = self.number(self.length)
            kept = self.take(min(length, _KEPT_TEXT)).decode("utf-8", errors="replace")
            self.skip(max(0, length - _KEPT_TEXT))
            return kept.replace("\x00", "")
        if kind == _ARRAY and depth < MAX_DEPTH:
            return self._array(depth)
        raise Invalid(f"A value of the unknown type {kind} stands in the header.")

    def _array(self, depth: int) -> None:
        kind, count = self.number("I"), self.number(self.length)
        if count > MAX_ARRAY_ITEMS:
            raise Invalid(f"A list of {count:,} items stands in the header.")
        if kind in _FORMATS:
            self.skip(count * struct.calcsize(f"<{_FORMATS[kind]}"))
            return
        for _ in range(count):
            if kind == _STRING:
                self.skip(self.number(self.length))
            else:
                self.value(kind, depth + 1)
