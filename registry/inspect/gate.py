"""The validity gate: name, declared type and bytes must agree. Runs in the child process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from registry.inspect import gguf, safetensors, simple, verdict
from registry.inspect.kinds import (
    ARCHIVE,
    EXTENSIONS,
    WEIGHTS,
    Expected,
    endings,
    extension_of,
    kinds_for,
)
from registry.inspect.report import Refused, Report
from registry.inspect.sniff import HEAD_BYTES, decode, sniff
from sources.detect import detect_safetensors
from sources.resolution import FileRole

#: What a file is called that is not what its name says.
_NAMES = {
    "zip": "a zip archive",
    "pickle": "a Python pickle",
    "binary": "of no format known here",
    "text": "plain text",
    "json": "JSON text",
    "safetensors": "a safetensors file",
    "gguf": "a GGUF file",
    "onnx": "an ONNX model",
    "hdf5": "an HDF5 file",
    "png": "a PNG picture",
    "jpeg": "a JPEG picture",
    "pdf": "a PDF document",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was declared about the file."""

    file_name: str
    model_type: str
    role: str = FileRole.WEIGHTS
    content_type: str = ""


def check(file: IO[bytes], size: int, question: Question) -> Report:
    """The report on an accepted file. Raises Refused."""
    if size < 2:
        return _check_empty(size, question)
    head = file.read(HEAD_BYTES)
    found = sniff(head, size)
    _refuse_foreign(found, head, question)
    extension = extension_of(question.file_name)
    expected = EXTENSIONS.get(extension) or _without_extension(extension, found, question)
    kinds = kinds_for(question.model_type, question.role)
    if expected.kind not in kinds:
        raise Refused(
            verdict.FORMAT_MISMATCH,
            f"A {extension} file is not a {question.model_type.replace('_', ' ')}. "
            f"Expected one of: {endings(kinds)}.",
        )
    if found not in expected.formats:
        _refuse_mismatch(found, head, size, extension)
    report = _read(file, size, extension, expected, found)
    if extension not in EXTENSIONS:
        report.warnings.append(f"The name has no ending; the bytes are {_NAMES[found]}.")
    return report


def _check_empty(size: int, question: Question) -> Report:
    if question.role == FileRole.COMPANION:
        return Report(format="text", warnings=["The file is empty."])
    raise Refused(verdict.EMPTY_FILE, f"The file has {size} bytes; that is no model.")


def _refuse_foreign(found: str, head: bytes, question: Question) -> None:
    """What is never wanted, whatever it is called."""
    called_html = question.content_type.lower().startswith(("text/html", "application/xhtml"))
    if found == "web_page" or (found == "text" and called_html and head.lstrip()[:1] == b"<"):
        raise Refused(verdict.NOT_A_MODEL_FILE, simple.WEB_PAGE)
    if found == "program":
        raise Refused(verdict.NOT_A_MODEL_FILE, "The file is a program, not a model.")
    if found == "lfs_pointer":
        raise Refused(
            verdict.NOT_A_MODEL_FILE,
            "The file is only a Git LFS pointer, not the model it points to.",
        )


def _without_extension(extension: str, found: str, question: Question) -> Expected:
    """A name without an ending is taken at its bytes when they say safetensors or GGUF."""
    if question.role == FileRole.COMPANION:
        return Expected("config", (found,))
    if not extension and found in {"safetensors", "gguf"}:
        return Expected(WEIGHTS, (found,))
    kinds = kinds_for(question.model_type, question.role)
    named = f"The ending {extension!r} is not known" if extension else "The name has no ending"
    raise Refused(verdict.FORMAT_MISMATCH, f"{named}. Expected one of: {endings(kinds)}.")


def _refuse_mismatch(found: str, head: bytes, size: int, extension: str) -> None:
    if found in {"text", "json"}:
        text = decode(head, complete=size <= len(head)) or ""
        simple.refuse_error_text(text)
        simple.refuse_api_error(simple.json_or_none(text))
    what = _NAMES.get(found, f"a {found} file")
    raise Refused(
        verdict.FORMAT_MISMATCH, f"The file is named {extension}, and its bytes are {what}."
    )


def _read(file: IO[bytes], size: int, extension: str, expected: Expected, found: str) -> Report:
    if found in _READERS:
        return _READERS[found](file, size)
    if found in {"zip", "pickle"}:
        return _read_with_pickles(file, size, extension, expected, found)
    if found in {"text", "json"}:
        return _read_text(file, size, extension)
    if expected.kind == ARCHIVE:
        return simple.recognised("archive", "The archive was not looked into.")
    return simple.recognised(found, "Only the beginning of the file was checked.")


def _read_text(file: IO[bytes], size: int, extension: str) -> Report:
    if extension == ".json":
        return simple.read_json(file, size)
    return simple.read_text(file, size, may_hold_html=extension == ".md")


def _read_safetensors(file: IO[bytes], size: int) -> Report:
    report, header = safetensors.read(file, size)
    detected = detect_safetensors(header)
    report.detected_type = str(detected.model_type or "") if detected.is_sure else ""
    report.detected_base_model = detected.base_model or ""
    report.header["trigger_words"] = list(detected.trigger_words)
    report.header["details"] = detected.details
    return report


def _read_with_pickles(
    file: IO[bytes], size: int, extension: str, expected: Expected, found: str
) -> Report:
    from registry.inspect import pickles, zips  # noqa: PLC0415  (picklescan is slow to load)

    if found == "pickle":
        return pickles.read_pickle(file, size)
    if expected.kind == WEIGHTS and extension not in {".npz", ".keras"}:
        return zips.read_torch(file, size)
    return zips.read_archive(file, size, numpy=extension == ".npz")


_READERS: dict[str, Callable[[IO[bytes], int], Report]] = {
    "safetensors": _read_safetensors,
    "gguf": gguf.read,
    "onnx": simple.read_onnx,
    "npy": simple.read_npy,
    "png": simple.read_png,
    "jpeg": simple.read_picture,
    "webp": simple.read_picture,
}
