"""Files that must not become models, and good ones cut, turned and stuffed. Nothing is loaded."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


def safetensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(start: int, end: int, dtype: str = "U8", shape: Any = None) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": [end - start] if shape is None else shape,
        "data_offsets": [start, end],
    }


def zipped(members: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data, compression)
    return buffer.getvalue()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def calling(module: str, name: str, argument: str = "true") -> bytes:
    """A pickle that calls `module.name(argument)` when it is loaded, which nobody does."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + text(argument) + b"\x85R."


def calling_by_stack(module: str, name: str) -> bytes:
    """The same with protocol 4's STACK_GLOBAL."""

    def short(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return b"\x80\x04" + short(module) + short(name) + b"\x93" + short("true") + b"\x85R."


def torch_zip(data: bytes, **members: bytes) -> bytes:
    return zipped({"archive/data.pkl": data, "archive/version": b"3\n", **members})


def torch_legacy(data: bytes) -> bytes:
    streams = [
        pickle.dumps(MAGIC_NUMBER, 2),
        pickle.dumps(1001, 2),
        pickle.dumps({"little_endian": True, "protocol_version": 1001}, 2),
        data,
        pickle.dumps(["0"], 2),
    ]
    return b"".join(streams) + b"\x00" * 64


def gguf(tensors: int = 1, pairs: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


def onnx(graph: bytes = b"\x0a\x00") -> bytes:
    """ir_version 8, a producer, a graph."""
    return b"\x08\x08" + b"\x12\x07pytorch" + b"\x3a" + bytes([len(graph)]) + graph


def npy(descr: str) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (4,), }}".encode()
    header = header.ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\x00" * 32
