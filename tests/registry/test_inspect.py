"""The corpus: what the validity gate says to good, broken and hostile files."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.inspect import Verdict, gate, inspect_file, runner
from registry.inspect.report import Refused
from tests.origin import files
from tests.registry import hostile as h

TORCH = files._torch_state(16)
GOOD = h.safetensors({"a": h.tensor(0, 4), "b": h.tensor(4, 12, "F32", [2])}, b"x" * 12)
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"


def verdict_on(
    tmp_path: Path, name: str, body: bytes, model_type: str = "checkpoint", **more: Any
) -> Verdict:
    path = tmp_path / "partial"
    path.write_bytes(body)
    return inspect_file(path, file_name=name, model_type=model_type, **more)


@pytest.mark.parametrize("kind", sorted(files.KINDS))
def test_every_kind_of_safetensors_passes(tmp_path: Path, kind: str) -> None:
    verdict = verdict_on(tmp_path, "x.safetensors", files.model_file("x", kind).read())
    assert verdict.accepted
    assert verdict.format == "safetensors"
    assert verdict.safety == "safe"
    assert verdict.header["tensors"] > 0


@pytest.mark.parametrize(
    ("name", "body", "model_type", "said"),
    [
        ("x.gguf", files.gguf("x").read(), "diffusion_model", ("gguf", "safe")),
        ("x.ckpt", h.torch_zip(TORCH), "checkpoint", ("pickle", "harmless_pickle")),
        ("x.PT", h.torch_zip(TORCH), "embedding", ("pickle", "harmless_pickle")),
        ("x.bin", files.plain_pickle("x").read(), "embedding", ("pickle", "harmless_pickle")),
        ("x.pth", h.torch_legacy(TORCH), "upscaler", ("pickle", "harmless_pickle")),
        ("x.onnx", h.onnx(), "detection", ("onnx", "safe")),
        ("x.npy", h.npy("<f8"), "other", ("numpy", "safe")),
        ("x.zip", files.archive("x").read(), "poses", ("archive", "safe")),
        ("x.zip", files.archive("x").read(), "checkpoint", ("archive", "safe")),
        ("x.json", files.workflow("x").read(), "workflow", ("json", "safe")),
        ("x.txt", files.wildcards("x").read(), "wildcards", ("text", "safe")),
        ("x.txt", b"{red|blue} hair\n__colour__ eyes\n", "wildcards", ("text", "safe")),
        ("x.txt", "cheveux dorés\n".encode("latin-1"), "wildcards", ("text", "safe")),
        ("x.yaml", b"colours:\n  - red\n", "wildcards", ("text", "safe")),
        ("x.png", files.picture("x.png").read(), "poses", ("image", "safe")),
        ("x.webp", files.picture("x.webp").read(), "workflow", ("image", "safe")),
        ("x", GOOD, "lora", ("safetensors", "safe")),
    ],
)
def test_good_files_pass(
    tmp_path: Path, name: str, body: bytes, model_type: str, said: tuple[str, str]
) -> None:
    verdict = verdict_on(tmp_path, name, body, model_type)
    assert verdict.accepted, verdict.reason
    assert (verdict.format, verdict.safety) == said
    assert Verdict.from_dict(json.loads(json.dumps(verdict.as_dict()))) == verdict


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("config.json", b'{"architectures": ["CLIP"], "error_rate": 1}'),
        ("config.yaml", b"model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n"),
        ("README.md", b'<h1 align="center">A model</h1>\n'),
        ("README.md", b"---\nlicense: mit\n---\n# A model\n"),
        ("tokenizer.model", b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02"),
        ("merges.txt", b"#version: 0.2\ni n\nt h\n"),
        ("LICENSE", b"MIT License\n"),
        ("empty.txt", b""),
    ],
)
def test_companions_pass(tmp_path: Path, name: str, body: bytes) -> None:
    verdict = verdict_on(tmp_path, name, body, role="companion")
    assert verdict.accepted, verdict.reason


WEB_PAGES = [
    PAGE,
    b"\n\n  \t<html lang=en>",
    b"\xef\xbb\xbf<!doctype HTML>",
    b"<!-- a comment -->\n<!DOCTYPE html>",
    '\ufeff<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'.encode(),
    "<!DOCTYPE html>".encode("utf-16"),
    b"<HEAD><TITLE>403 Forbidden</TITLE></HEAD>",
    b"<Error><Code>NoSuchKey</Code></Error>",
    b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
]
API_ERRORS = [
    b'{"error":"Unauthorized","message":"The creator of this asset requires you to be logged in"}',
    b'{"error": {"issues": []}, "code": "FORBIDDEN"}',
    b'{"message": "Not found"}',
    b'{"detail": "Authentication credentials were not provided."}',
    b'{"status": 404, "error": "File not found"}',
]
ERROR_TEXTS = [
    b"Unauthorized",
    b"404: Not Found",
    b"Not found\n",
    b"Error: token expired",
    b"Invalid username or password.",
    b"Access to model meta-llama/Llama-3 is restricted.",
    b"502 Bad Gateway",
]


@pytest.mark.parametrize("body", [*WEB_PAGES, *API_ERRORS, *ERROR_TEXTS])
@pytest.mark.parametrize(
    ("name", "model_type", "role"),
    [
        ("x.safetensors", "lora", "weights"),
        ("x.ckpt", "checkpoint", "weights"),
        ("x.zip", "poses", "weights"),
        ("x.txt", "wildcards", "weights"),
        ("x.json", "workflow", "weights"),
        ("x.json", "checkpoint", "companion"),
    ],
)
def test_web_pages_and_errors_are_never_models(
    name: str, model_type: str, role: str, body: bytes, tmp_path: Path
) -> None:
    """In this process: the table is long, and the child is proven by the other tests."""
    path = tmp_path / "partial"
    path.write_bytes(body)
    with path.open("rb") as file, pytest.raises(Refused) as caught:
        gate.check(file, len(body), gate.Question(file_name=name, model_type=model_type, role=role))
    expected = {"not_a_model_file"}
    if name.endswith(".json") and body in ERROR_TEXTS:
        expected.add("format_invalid")
    assert caught.value.code in expected


def gap() -> bytes:
    return h.safetensors({"a": h.tensor(0, 4), "b": h.tensor(6, 8)}, b"x" * 8)


BROKEN = [
    # B16 and A33: empty, header only, cut off, duplicated, overlapping, bombs.
    ("x.safetensors", b"", "empty_file"),
    ("x.safetensors", b"x", "empty_file"),
    ("x.safetensors", GOOD[:5], "format_mismatch"),
    ("x.safetensors", GOOD[:40], "format_invalid"),
    ("x.safetensors", GOOD[:-1], "format_invalid"),
    ("x.safetensors", GOOD + b"!", "format_invalid"),
    ("x.safetensors", h.safetensors({}), "format_invalid"),
    ("x.safetensors", h.safetensors({"__metadata__": {"a": "b"}}), "format_invalid"),
    ("x.safetensors", h.safetensors({"__metadata__": {"a": 1}, "a": h.tensor(0, 1)}, b"x"), "format_invalid"),
    ("x.safetensors", gap(), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": h.tensor(0, 4), "b": h.tensor(2, 6)}, b"x" * 6), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": h.tensor(4, 0)}, b"x" * 4), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": h.tensor(0, 4, "F32", [2])}, b"x" * 4), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": h.tensor(0, 4, "F32", [2**40, 2**40])}, b"x" * 4), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": h.tensor(0, 4, "F32", [-1])}, b"x" * 4), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": h.tensor(0, 4, "F32", [True])}, b"x" * 4), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": h.tensor(0, 4, "../x")}, b"x" * 4), "format_invalid"),
    ("x.safetensors", h.safetensors({"a": []}, b"x" * 4), "format_invalid"),
    (
        "x.safetensors",
        h.safetensors(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"x",
        ),
        "format_invalid",
    ),
    ("x.safetensors", h.safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000), "format_invalid"),
    ("x.safetensors", h.safetensors(b'{"a": \xff\xfe}'), "format_invalid"),
    ("x.safetensors", h.safetensors(b"{", length=2**39), "format_invalid"),
    ("x.safetensors", h.safetensors(b"{" + b" " * 200, length=101_000_000), "format_invalid"),
    ("x.gguf", h.gguf(2**63, 2**63), "format_invalid"),
    ("x.gguf", h.gguf(0, 0), "format_invalid"),
    ("x.gguf", h.gguf(1, 0), "format_invalid"),
    ("x.gguf", h.gguf(1, 1, struct.pack("<Q", 2**62)), "format_invalid"),
    ("x.gguf", h.gguf(version=77, rest=b"x" * 64), "format_invalid"),
    ("x.gguf", h.gguf(1, 1, h.struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 9, 1) * 9), "format_invalid"),
    ("x.gguf", files.gguf("x").read()[:-1000], "format_invalid"),
    ("x.ckpt", h.torch_zip(TORCH)[:-30], "format_invalid"),
    ("x.ckpt", h.torch_zip(TORCH[:-1]), "format_invalid"),
    ("x.ckpt", h.torch_legacy(TORCH)[:60], "format_invalid"),
    ("x.ckpt", pickle.dumps([1, 2], 2)[:-1], "format_invalid"),
    ("x.onnx", h.onnx()[:-1], "format_invalid"),
    ("x.onnx", b"\x08\x08\x12\x07pytorch", "format_invalid"),
    ("x.zip", files.archive("x").read()[:-4], "format_invalid"),
    ("x.zip", h.zipped({}), "format_invalid"),
    ("x.png", files.picture("x.png").read()[:-20], "format_mismatch"),
    # A32: the bytes are not what the name says.
    ("x.safetensors", pickle.dumps({"a": 1}, 2), "format_mismatch"),
    ("x.safetensors", h.torch_zip(TORCH), "format_mismatch"),
    ("x.safetensors", files.gguf("x").read(), "format_mismatch"),
    ("x.safetensors", files.picture("x.png").read(), "format_mismatch"),
    ("x.safetensors", bytes(range(200, 250)) * 40, "format_mismatch"),
    ("x.ckpt", GOOD, "format_mismatch"),
    ("x.ckpt", files.archive("x").read(), "format_mismatch"),
    ("x.gguf", GOOD, "format_mismatch"),
    ("x.zip", GOOD, "format_mismatch"),
    ("x.txt", b"just text", "format_mismatch"),
    ("x.safetensors.html", GOOD, "format_mismatch"),
    ("x.exe", GOOD, "format_mismatch"),
    ("x", h.torch_zip(TORCH), "format_mismatch"),
    # Never wanted, whatever they are called.
    ("x.safetensors", b"\x7fELF" + b"\x00" * 60, "not_a_model_file"),
    ("x.bin", b"MZ" + b"\x00" * 60, "not_a_model_file"),
    ("x.ckpt", b"#!/bin/sh\nrm -rf ~\n", "not_a_model_file"),
    (
        "x.safetensors",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "not_a_model_file",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "code"), BROKEN)
def test_broken_files_are_refused_with_a_reason(
    tmp_path: Path, name: str, body: bytes, code: str
) -> None:
    path = tmp_path / "partial"
    path.write_bytes(body)
    question = gate.Question(file_name=name, model_type="checkpoint")
    with path.open("rb") as file, pytest.raises(Refused) as caught:
        gate.check(file, len(body), question)
    assert caught.value.code == code
    assert caught.value.reason.endswith((".", "?")), caught.value.reason


def test_what_the_server_calls_html_and_looks_like_it_is_refused(tmp_path: Path) -> None:
    body = b"<h1>Please wait</h1> checking your browser"
    assert verdict_on(tmp_path, "x.txt", body, "wildcards").accepted
    page = verdict_on(tmp_path, "x.txt", body, "wildcards", content_type="text/html; charset=utf-8")
    assert page.code == "not_a_model_file"
    # A server that calls everything HTML does not make a model a page.
    assert verdict_on(tmp_path, "x.safetensors", GOOD, content_type="text/html").accepted


def test_a_refusal_passes_through_the_child(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, "x.safetensors", PAGE)
    assert not verdict.accepted
    assert verdict.code == "not_a_model_file"
    assert "web page" in verdict.reason
    assert not verdict.needs_quarantine


PICKLES = [
    # A31: everything that is not innocuous, in every wrapping.
    (h.calling("os", "system"), "dangerous"),
    (h.calling("posix", "system"), "dangerous"),
    (h.calling("builtins", "eval"), "dangerous"),
    (h.calling("subprocess", "Popen"), "dangerous"),
    (h.calling_by_stack("os", "system"), "dangerous"),
    (h.calling("runpy", "run_path"), "dangerous"),
    (h.calling("importlib", "import_module"), "suspicious"),
    (h.calling("logging.config", "fileConfig"), "suspicious"),
    (h.calling("some_module", "Thing"), "suspicious"),
    (h.calling("torch.nn.modules.linear", "Linear"), "suspicious"),
    (h.calling("os", "system")[:-1], "dangerous"),
    (b"\x80\x02cos\nsystem\n\xff", "dangerous"),
    (b"\x80\x02\x82\x01.", "suspicious"),  # an extension code of copyreg
    (b"cos\nsystem\n(S'true'\ntR.", "dangerous"),
]


@pytest.mark.parametrize(("body", "safety"), PICKLES)
@pytest.mark.parametrize("wrap", ["plain", "zip", "odd name", "legacy"])
def test_pickles_that_ask_for_more_are_not_safe(body: bytes, safety: str, wrap: str) -> None:
    wrapped = {
        "plain": body,
        "zip": h.torch_zip(body),
        "odd name": h.torch_zip(TORCH, **{"archive/readme": body}),
        "legacy": h.torch_legacy(body),
    }[wrap]
    if wrap == "odd name" and not body.startswith(b"\x80"):
        wrapped = h.torch_zip(TORCH, **{"archive/extra.pkl": body})
    question = gate.Question(file_name="x.pt", model_type="embedding")
    report = gate.check(io.BytesIO(wrapped), len(wrapped), question)
    order = ["safe", "harmless_pickle", "suspicious", "dangerous"]
    assert order.index(report.safety) >= order.index(safety)
    assert report.findings
    assert report.reason


def test_nothing_of_a_pickle_runs(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    body = h.calling("os", "system", f"touch {witness}")
    for name, wrapped in (
        ("x.pt", body),
        ("y.pt", h.torch_zip(body)),
        ("z.pt", h.torch_legacy(body)),
    ):
        verdict = verdict_on(tmp_path, name, wrapped, "embedding")
        assert verdict.accepted
        assert verdict.needs_quarantine
    assert not witness.exists()


@pytest.mark.parametrize(
    ("members", "finding"),
    [
        ({"archive/data.pkl": TORCH, "archive/code/model.py": b"x=1"}, "TorchScript"),
        ({"archive/data.pkl": TORCH, "../../evil": b"x"}, "leads outside"),
    ],
)
def test_odd_torch_archives_are_suspicious(members: dict[str, bytes], finding: str) -> None:
    body = h.zipped(members)
    question = gate.Question(file_name="x.pt", model_type="embedding")
    report = gate.check(io.BytesIO(body), len(body), question)
    assert report.safety == "suspicious"
    assert any(finding in text for text in report.findings)


@pytest.mark.parametrize(
    ("members", "safety", "finding"),
    [
        ({"a.png": b"x", "run.exe": b"MZ"}, "suspicious", "program"),
        ({"../../.bashrc": b"x"}, "suspicious", "leads outside"),
        ({"/etc/passwd": b"x"}, "suspicious", "leads outside"),
        ({"..\\..\\x.txt": b"x"}, "suspicious", "leads outside"),
        ({"m.pt": h.calling("os", "system")}, "dangerous", "os system"),
        ({"m.pt": h.torch_zip(h.calling("os", "system"))}, "dangerous", "os system"),
        ({"m.pt": h.torch_zip(TORCH)}, "harmless_pickle", "pickle m.pt"),
    ],
)
def test_archives_are_looked_into(members: dict[str, bytes], safety: str, finding: str) -> None:
    body = h.zipped(members)
    question = gate.Question(file_name="x.zip", model_type="poses")
    report = gate.check(io.BytesIO(body), len(body), question)
    assert report.safety == safety
    assert any(finding in text for text in report.findings)


def test_a_zip_bomb_is_told_from_its_list() -> None:
    body = h.zipped({"zeros": b"\x00" * 50_000_000}, compression=zipfile.ZIP_DEFLATED)
    # The list says 4 GB; nothing is unpacked to find out.
    at = body.rindex(b"PK\x01\x02")
    body = body[: at + 24] + struct.pack("<I", 4_000_000_000) + body[at + 28 :]
    question = gate.Question(file_name="x.zip", model_type="poses")
    report = gate.check(io.BytesIO(body), len(body), question)
    assert report.safety == "suspicious"


def test_a_zip_with_a_million_entries_is_not_listed(tmp_path: Path) -> None:
    body = h.zipped({"a": b"x"})
    end = body.rindex(b"PK\x05\x06")
    locator_at = end + 56
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 10**6, 10**6, 10**8, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert locator_at > 0
    verdict = verdict_on(tmp_path, "x.zip", body[:end] + record + locator + tail, "poses")
    assert verdict.code == "format_invalid"
    assert "1,000,000" in verdict.reason


def two_lists() -> bytes:
    """Two archives in one file: the list before the end is harmless, the one the end names is not.

    Python's zipfile reads the first one, torch's reader the other.
    """
    attack = h.calling("os", "system")
    # Both lists stand at the same distance, so that zipfile finds what its list names.
    longer = max(len(attack), len(TORCH))
    evil, good = (
        h.torch_zip(data, **{"archive/data/0": b"\0" * (1 + longer - len(data))})
        for data in (attack, TORCH)
    )
    return evil + good


def two_ends() -> bytes:
    """The locator names another record than the one that stands before it."""
    body = h.torch_zip(TORCH)
    end = body.rindex(b"PK\x05\x06")
    (list_bytes, list_at) = struct.unpack("<II", body[end + 12 : end + 20])
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2, 2, list_bytes, list_at)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    return body[:end] + record + record + locator + body[end:]


def test_an_archive_that_shows_each_reader_another_list_is_not_trusted() -> None:
    body = two_lists()
    question = gate.Question(file_name="x.pt", model_type="embedding")
    report = gate.check(io.BytesIO(body), len(body), question)
    assert report.safety == "suspicious"
    assert "a list of entries that is not where the end says" in report.findings
    body = two_ends()
    with pytest.raises(Refused, match="contradicts itself"):
        gate.check(io.BytesIO(body), len(body), question)


def test_a_large_archive_s_own_end_is_read() -> None:
    body = h.torch_zip(TORCH)
    end = body.rindex(b"PK\x05\x06")
    (list_bytes, list_at) = struct.unpack("<II", body[end + 12 : end + 20])
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2, 2, list_bytes, list_at)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    body = body[:end] + record + locator + body[end:]
    question = gate.Question(file_name="x.pt", model_type="embedding")
    assert gate.check(io.BytesIO(body), len(body), question).safety == "harmless_pickle"


def test_a_header_bomb_ends_the_child_not_us(tmp_path: Path) -> None:
    entry = b'"%07d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
    raw = b"{" + b"".join(entry % n for n in range(200_000))[:-1] + b"}"
    started = time.monotonic()
    verdict = verdict_on(tmp_path, "x.safetensors", h.safetensors(raw))
    assert not verdict.accepted
    assert verdict.code == "format_invalid"
    assert time.monotonic() - started < 30


def test_a_file_that_takes_too_long_is_refused_or_suspicious(tmp_path: Path) -> None:
    weights = verdict_on(tmp_path, "x.safetensors", GOOD, timeout_s=0.001)
    assert (weights.accepted, weights.code) == (False, "format_invalid")
    torch = verdict_on(tmp_path, "x.ckpt", h.torch_zip(TORCH), timeout_s=0.001)
    assert torch.needs_quarantine
    assert torch.reason


def test_the_child_knows_no_secret_and_can_open_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the child's process looks like while it works, asked of a child that stops half-way."""
    monkeypatch.setenv("ENCRYPTION_KEY", "a-secret-of-the-service")
    probe = (
        "import os, sys, json; from registry.inspect import child;"
        "child._limit(child.resource.RLIMIT_AS, child.MEMORY_BYTES); child._load_code('zip');"
        "child._close_the_door();"
        "said = {}\n"
        "try:\n    open('/etc/hostname')\nexcept OSError as e: said['open'] = e.errno\n"
        "try:\n    import socket; socket.socket()\nexcept (OSError, ImportError) as e: said['net'] = 1\n"
        "said['django'] = 'django' in sys.modules\n"
        "sys.stdout.write(json.dumps(said))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=runner.PROJECT,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={},
        check=True,
    )
    assert json.loads(done.stdout) == {"open": 24, "net": 1, "django": False}


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(GOOD)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic"):
        inspect_file(tmp_path / "link", file_name="x.safetensors", model_type="lora")


@pytest.mark.parametrize(
    ("kind", "model_type", "base_model", "said"),
    [
        ("lora-sdxl", "lora", "Pony", ""),
        ("lora-sdxl", "lora", "", ""),
        ("lora-sdxl", "checkpoint", "SDXL 1.0", "Declared as checkpoint"),
        ("lora-sdxl", "lora", "SD 1.5", "Declared for SD 1.5"),
    ],
)
def test_a_header_that_contradicts_what_was_declared_asks_for_review(
    tmp_path: Path, kind: str, model_type: str, base_model: str, said: str
) -> None:
    kinds = [name for name in files.KINDS if "lora" in name and "xl" in name]
    body = files.model_file("x", kinds[0]).read()
    verdict = verdict_on(tmp_path, "x.safetensors", body, model_type, base_model=base_model)
    assert verdict.accepted
    assert verdict.asks_review is bool(said)
    assert any(said in warning for warning in verdict.warnings) or not said


@pytest.mark.parametrize(
    ("tensor", "shape", "model_type"),
    [
        # Little to go by, or no claim at all.
        ("weight", [1, 768], "lora"),
        ("model.diffusion_model.input_blocks.0.0.weight", [4, 4], "checkpoint"),
        ("lora_unet_x.lora_up.weight", [4, 4], "other"),
        ("image_proj.latents", [4, 4], "controlnet"),
        ("weight", [2, 2], "vae"),
    ],
)
def test_a_header_that_says_little_contradicts_nobody(
    tmp_path: Path, tensor: str, shape: list[int], model_type: str
) -> None:
    size = 2 * shape[0] * shape[1]
    body = h.safetensors({tensor: h.tensor(0, size, "F16", shape)}, bytes(size))
    verdict = verdict_on(tmp_path, "x.safetensors", body, model_type, base_model="SD 1.5")
    assert (verdict.accepted, verdict.asks_review, verdict.warnings) == (True, False, ())


def test_own_metadata_is_kept_and_thumbnails_are_not(tmp_path: Path) -> None:
    header = {
        "__metadata__": {
            "ss_output_name": "my lora",
            "modelspec.thumbnail": "data:image/jpeg;base64," + "A" * 100_000,
            "long": "x" * 100_000,
        },
        "a": h.tensor(0, 2, "F16", [1]),
    }
    verdict = verdict_on(tmp_path, "x.safetensors", h.safetensors(header, b"xx"), "lora")
    metadata = verdict.header["metadata"]
    assert metadata["ss_output_name"] == "my lora"
    assert "modelspec.thumbnail" not in metadata
    assert len(metadata["long"]) < 5000
    assert verdict.header["precision"] == "fp16"


def test_what_a_header_says_can_be_stored(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"a": "half \ud800 and NUL \x00", "b\x00": "\x1b[31mred"},
        "t": h.tensor(0, 1),
    }
    verdict = verdict_on(tmp_path, "x.safetensors", h.safetensors(header, b"x"), "lora")
    assert verdict.header["metadata"] == {"a": "half  and NUL ", "b": "[31mred"}
    not_a_number = (
        struct.pack("<Q", 1) + b"k" + struct.pack("<If", 6, float("nan"))
        + struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 4, 24, 0)
    )  # fmt: skip
    body = h.gguf(1, 1, not_a_number).ljust(200, b"\x00")
    verdict = verdict_on(tmp_path, "x.gguf", body, "lora")
    assert verdict.header["metadata"] == {"k": None}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=st.binary(max_size=400)
    | st.builds(
        lambda cut, junk: GOOD[:cut] + junk, st.integers(0, len(GOOD)), st.binary(max_size=40)
    )
    | st.builds(
        lambda cut, junk: files.gguf("x", size_bytes=1024).read()[:cut] + junk,
        st.integers(0, 400),
        st.binary(max_size=40),
    )
    | st.builds(
        lambda cut, junk: TORCH[:cut] + junk, st.integers(0, len(TORCH)), st.binary(max_size=40)
    )
    | st.builds(
        lambda cut, junk: h.torch_zip(TORCH)[:cut] + junk,
        st.integers(0, 500),
        st.binary(max_size=40),
    ),
    name=st.sampled_from(
        ["x.safetensors", "x.gguf", "x.pt", "x.onnx", "x.zip", "x.npy", "x.json", "x.png", "x"]
    ),
)
def test_any_bytes_get_a_report_or_a_refusal(body: bytes, name: str) -> None:
    try:
        report = gate.check(
            io.BytesIO(body), len(body), gate.Question(file_name=name, model_type="other")
        )
    except Refused:
        return
    json.dumps(report.header)
