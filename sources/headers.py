"""The beginning of a file at the end of a link, and what its safetensors header says there.

    8 bytes  the length N, little-endian     N bytes  JSON, in which every tensor has its name

A header is asked for by range. A server that ignores ranges sends the file from its first byte, and
no more of it is read than the header has.
"""

from __future__ import annotations

import json
import struct

from config.errors import ModelyardError
from sources.calls import Calls
from sources.detect import Detected, detect_safetensors
from sources.reading import as_dict
from transfer.errors import TransferError
from transfer.http import Answer

HEAD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 5 * 1024 * 1024


def header_length(start: bytes) -> int | None:
    """The length of a safetensors header, None when these are no such bytes."""
    if len(start) < 10 or start[8:9] != b"{":
        return None
    (length,) = struct.unpack("<Q", start[:8])
    return int(length) if 2 <= length <= 100_000_000 else None


def read_start(answer: Answer) -> bytes:
    """The first 64 KiB of a body, and the rest of a header that is longer than that."""
    start = answer.read(HEAD_BYTES)
    length = header_length(start)
    if length is not None and HEAD_BYTES - 8 < length <= MAX_HEADER_BYTES:
        start += answer.read(8 + length - len(start))
    return start


def detect_start(url: str, start: bytes, calls: Calls, *, has_ranges: bool) -> Detected:
    """What the header says that begins in `start`; nothing when it is long or does not come."""
    length = header_length(start)
    if length is None or length > MAX_HEADER_BYTES:
        return Detected()
    body = start[8 : 8 + length]
    if len(body) < length and has_ranges:
        try:
            with calls.open(url, {"Range": f"bytes=8-{7 + length}"}) as answer:
                body = answer.read(length) if answer.status == 206 else b""
        except (TransferError, ModelyardError):
            return Detected()
    try:
        return detect_safetensors(as_dict(json.loads(body)))
    except (ValueError, RecursionError):
        return Detected()


def detect_at(url: str, calls: Calls) -> Detected:
    """What the header of the file at `url` says; nothing when the file does not come."""
    try:
        with calls.open(url, {"Range": f"bytes=0-{HEAD_BYTES - 1}"}) as answer:
            start, has_ranges = read_start(answer), answer.status == 206
    except (TransferError, ModelyardError):
        return Detected()
    return detect_start(url, start, calls, has_ranges=has_ranges)
