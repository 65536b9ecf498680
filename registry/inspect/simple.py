"""Formats of which the outline is enough: ONNX, NumPy, texts, and what is only recognised."""

from __future__ import annotations

import ast
import json
import struct
from typing import IO, Any

from registry.inspect import verdict
from registry.inspect.report import Invalid, Refused, Report, shown
from registry.inspect.sniff import api_error, decode, error_text, has_html_soon

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_TEXT_BYTES = 64 * 1024 * 1024
_ONNX_GRAPH = 7
_ONNX_MAX_FIELD = 1000
_MAX_NPY_HEADER = 64 * 1024
_MAX_PNG_CHUNKS = 100_000
WEB_PAGE = "The server sent a web page instead of the file; a token or a login is probably missing."


def read_onnx(file: IO[bytes], size: int) -> Report:
    """The outermost fields of the protobuf message must fill the file exactly, a graph among them.

    https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (ModelProto), and the encoding:
    https://protobuf.dev/programming-guides/encoding/
    """
    file.seek(0)
    fields: set[int] = set()
    while file.tell() < size:
        tag = _varint(file)
        field, wire = tag >> 3, tag & 7
        if not 1 <= field <= _ONNX_MAX_FIELD:
            raise Invalid("The file is not an ONNX model: a field number is out of range.")
        fields.add(field)
        if wire == 0:
            _varint(file)
            continue
        width = {1: 8, 5: 4}.get(wire)
        if width is None and wire != 2:
            raise Invalid("The file is not an ONNX model: a field has an unknown encoding.")
        length = _varint(file) if width is None else width
        if file.tell() + length > size:
            raise Invalid("The file is cut off: a field of the ONNX model is longer than the file.")
        file.seek(length, 1)
    if _ONNX_GRAPH not in fields:
        raise Invalid("The ONNX model holds no graph.")
    return Report(format="onnx")


def read_npy(file: IO[bytes], size: int) -> Report:
    """A NumPy array; one of Python objects is a pickle and was not looked into."""
    file.seek(6)
    version = file.read(2)
    width = 2 if version[:1] == b"\x01" else 4
    raw = file.read(width)
    if len(raw) < width:
        raise Invalid("The NumPy header is cut off.")
    length = int.from_bytes(raw, "little")
    if length > _MAX_NPY_HEADER:
        raise Invalid("The NumPy header is too long.")
    text = file.read(length)
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
        descr = str(header["descr"])
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError) as exc:
        raise Invalid("The NumPy header cannot be read.") from exc
    report = Report(format="numpy")
    if "O" in descr:
        report.worsen(verdict.SUSPICIOUS, "array of Python objects")
        report.reason = "The array holds pickled Python objects."
    return report


def read_json(file: IO[bytes], size: int) -> Report:
    report = Report(format="json")
    if size > MAX_JSON_BYTES:
        report.warnings.append("The JSON file is too large to be checked.")
        return report
    file.seek(0)
    text = decode(file.read(), complete=True)
    if text is None:
        raise Refused(verdict.FORMAT_MISMATCH, "The file is named .json and is binary.")
    refuse_error_text(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Invalid(f"The JSON file cannot be read: {shown(exc)}.") from exc
    refuse_api_error(value)
    if isinstance(value, dict):
        report.header = {"keys": [shown(key, 60) for key in list(value)[:30]]}
    return report


def read_text(file: IO[bytes], size: int, *, may_hold_html: bool = False) -> Report:
    """Any text; `may_hold_html` for Markdown, which often begins with tags."""
    report = Report(format="text")
    file.seek(0)
    text = decode(file.read(MAX_TEXT_BYTES), complete=size <= MAX_TEXT_BYTES)
    if text is None:
        raise Refused(verdict.FORMAT_MISMATCH, "The file should be text and is binary.")
    refuse_error_text(text)
    if has_html_soon(text) and not may_hold_html:
        raise Refused(verdict.NOT_A_MODEL_FILE, WEB_PAGE)
    if text.lstrip()[:1] in {"{", "["} and size <= MAX_JSON_BYTES:
        refuse_api_error(json_or_none(text))
    return report


def refuse_error_text(text: str) -> None:
    """Raises Refused for a plain-text error message."""
    said = error_text(text)
    if said:
        raise Refused(
            verdict.NOT_A_MODEL_FILE,
            f"The server sent an error message instead of the file: {said}",
        )


def refuse_api_error(value: Any) -> None:
    """Raises Refused when `value` is the JSON body of an error."""
    said = api_error(value)
    if said:
        raise Refused(
            verdict.NOT_A_MODEL_FILE,
            f"The server sent an error message instead of the file: {said}",
        )


def read_picture(file: IO[bytes], size: int) -> Report:
    """A JPEG or WebP, told by its beginning; it is decoded only to make a thumbnail."""
    return Report(format="image")


def recognised(name: str, warning: str = "") -> Report:
    """A format that is told by its first bytes and not looked into."""
    return Report(format=name, warnings=[warning] if warning else [])


def json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise Invalid("The file is cut off within the ONNX model.")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise Invalid("The file is not an ONNX model: a number is too long.")


def read_png(file: IO[bytes], size: int) -> Report:
    """The chunks of a PNG up to its IEND. Raises Invalid when it is cut off."""
    report = Report(format="image")
    position = 8
    for _ in range(_MAX_PNG_CHUNKS):
        file.seek(position)
        start = file.read(8)
        if len(start) < 8:
            break
        length, kind = struct.unpack(">I4s", start)
        position += 12 + length
        if kind == b"IEND" and position <= size:
            if position < size:
                report.warnings.append("The picture has other bytes after its end.")
            return report
    raise Invalid("The PNG picture is cut off.")
