"""Tiny files that are valid in their format and say little."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile


def safetensors(*names: str, rows: int = 2, **metadata: str) -> bytes:
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    size = rows * 2 * 4
    names = names or ("weight",)
    for number, name in enumerate(names):
        offsets = [number * size, (number + 1) * size]
        header[name] = {"dtype": "F32", "shape": [rows, 2], "data_offsets": offsets}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size * len(names))


def torch(**values: object) -> bytes:
    return zipped({"archive/data.pkl": pickle.dumps(values, 2), "archive/data/0": bytes(16)})


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return packed.getvalue()


def gguf(tensor: str = "w") -> bytes:
    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    body = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text("general.architecture")
    body += struct.pack("<I", 8) + text("flux") + text(tensor)
    body += struct.pack("<IQIQ", 1, 4, 0, 0)
    return body + bytes(-len(body) % 32) + bytes(16)
