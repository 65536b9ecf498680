"""The files of the origin are what they say they are, at any size and in any piece."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickletools
import struct
import zipfile
from io import BytesIO
from pathlib import PurePath

import pytest
from picklescan.scanner import SafetyLevel, scan_bytes

from tests.origin import files
from tests.origin.content import MIB, Content


def header_of(content: Content) -> dict[str, object]:
    (length,) = struct.unpack("<Q", content.read(0, 8))
    header: dict[str, object] = json.loads(content.read(8, 8 + length))
    return header


@pytest.mark.parametrize("kind", files.KINDS)
@pytest.mark.parametrize("size", [None, 5 * MIB + 3])
def test_safetensors_have_exact_offsets_and_size(kind: str, size: int | None) -> None:
    content = files.model_file("x.safetensors", kind, size)
    header = header_of(content)
    header.pop("__metadata__", None)
    spans = sorted(entry["data_offsets"] for entry in header.values())  # type: ignore[index]
    assert spans[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert content.data_start + spans[-1][1] == content.size_bytes
    assert size is None or content.size_bytes == size
    assert len(content.read()) == content.size_bytes


@pytest.mark.parametrize(
    "name",
    [
        "a.safetensors",
        "a_sdxl.gguf",
        "a.ckpt",
        "a.zip",
        "a.png",
        "a.txt",
        "a_workflow.json",
        "a.xyz",
    ],
)
def test_a_name_always_gives_the_same_bytes_in_any_pieces(name: str) -> None:
    whole = files.make(name).read()
    again = files.make(name)
    step = 7919
    pieces = [again.read(at, at + step) for at in range(0, again.size_bytes, step)]
    assert b"".join(pieces) == whole
    assert again.sha256 == hashlib.sha256(whole).hexdigest()
    blob = b"blob %d\0" % len(whole) + whole
    assert again.git_sha1 == hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    assert files.make(f"other-{name}").sha256 != again.sha256


def test_a_large_file_costs_no_memory_and_repeats_no_mebibyte() -> None:
    content = files.make("large_sdxl.safetensors", size_bytes=200 * MIB)
    assert content.size_bytes == 200 * MIB
    middle = content.data_start + 100 * MIB
    assert content.read(middle, middle + MIB) != content.read(middle + MIB, middle + 2 * MIB)


def test_gguf_header_can_be_read_back() -> None:
    content = files.gguf("a.gguf", size_bytes=64 * 1024)
    magic, version, tensors, pairs = struct.unpack("<4sIQQ", content.read(0, 24))
    assert (magic, version, tensors, pairs) == (b"GGUF", 3, 1, 3)


def test_zip_pickles_are_what_torch_writes() -> None:
    with zipfile.ZipFile(BytesIO(files.zip_pickle("a.ckpt").read())) as archive:
        data = archive.read("archive/data.pkl")
        storage = archive.getinfo("archive/data/0").file_size
    found = {argument for op, argument, _ in pickletools.genops(data) if op.name == "GLOBAL"}
    assert found == {
        "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage",
    }  # fmt: skip
    assert storage > 1024


@pytest.mark.parametrize("name", ["a_malicious.ckpt", "a_malicious.pkl", "a_malicious.pt"])
def test_a_scanner_finds_the_malicious_pickles(name: str) -> None:
    result = scan_bytes(BytesIO(files.make(name).read()), name, file_ext=PurePath(name).suffix)
    assert result.issues_count == 1
    assert {entry.safety for entry in result.globals} == {SafetyLevel.Dangerous}


@pytest.mark.parametrize("name", ["a.ckpt", "a.pkl"])
def test_a_scanner_finds_nothing_in_the_others(name: str) -> None:
    result = scan_bytes(BytesIO(files.make(name).read()), name, file_ext=PurePath(name).suffix)
    assert (result.issues_count, result.scan_err) == (0, False)
