"""What the first bytes are, whatever the name says. Pure: bytes in, a word out."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from typing import Any

from registry.inspect.report import shown

HEAD_BYTES = 64 * 1024

#: Formats whose first bytes are enough to tell.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"GGUF", "gguf"),
    (b"lmgg", "ggml"),
    (b"fmgg", "ggml"),
    (b"tjgg", "ggml"),
    (b"algg", "ggml"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x93NUMPY", "npy"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x8b", "gzip"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"\xfe\xed\xfa\xce", "program"),
    (b"\xfe\xed\xfa\xcf", "program"),
    (b"\xcf\xfa\xed\xfe", "program"),
    (b"\xca\xfe\xba\xbe", "program"),
    (b"#!", "program"),
    (b"%PDF-", "pdf"),
    (b"GIF8", "gif"),
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_COMMENT = re.compile(r"\A(?:\s|<!--.*?-->)+", re.DOTALL)
_WEB_PAGE = re.compile(
    r"\A<(?:!doctype|\?xml|html|head|body|script|title|meta|iframe|svg|error|rss)\b", re.IGNORECASE
)
#: A page that hides behind some text first.
_HTML_SOON = re.compile(r"<!doctype\s+html|<html[\s>]", re.IGNORECASE)
_ERROR_KEYS = frozenset({"error", "errors", "message", "detail", "details", "exception"})
_BESIDE_ERRORS = frozenset(
    {
        *(
            "status",
            "statuscode",
            "status_code",
            "code",
            "type",
            "title",
            "reason",
            "success",
            "ok",
        ),
        *("path", "timestamp", "request_id", "requestid", "trace_id", "issues", "deadline"),
        *("name", "instance", "data"),
    }
)
#: The whole text is a status, or it begins with a sentence that the services send.
_STATUS_TEXT = re.compile(
    r"\W*(?:error\W*)?(?:[45]\d\d\W*)?(?:(?:file|entry|page|repository|model)? ?not found"
    r"|unauthori[sz]ed|forbidden|access denied|permission denied|bad request|bad gateway"
    r"|service unavailable|internal server error|too many requests|gateway time-?out"
    r"|rate limit(?:ed| exceeded)?|error)\W*",
    re.IGNORECASE,
)
_ERROR_SENTENCE = re.compile(
    r"\A\W*(?:error\s*[:\d]|access to (?:model|dataset) "
    r"|invalid (?:username|token|credentials|api key)|the creator of this asset"
    r"|you (?:must|need to) (?:be |log|sign|accept)|please (?:log|sign) in|model archived"
    r"|authentication (?:is )?required|no such key)",
    re.IGNORECASE,
)


def sniff(head: bytes, size: int) -> str:
    """The format of a file of `size` bytes that begins with `head`; "binary" when unknown."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    for is_it, name in _RULES:
        if is_it(head):
            return name
    text = decode(head, complete=size <= len(head))
    if text is not None:
        return _sniff_text(text)
    # Last, because two bytes or one are little to go by.
    if head[:1] == b"\x08" and 1 <= head[1] < 32:
        return "onnx"
    if 0x80 <= head[0] <= 0x8F or head[0] in {0xDE, 0xDF}:
        return "msgpack"
    return "binary"


def decode(head: bytes, *, complete: bool) -> str | None:
    """`head` as text, None when it is binary. UTF-16 only with its mark."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if head.startswith(mark):
            return head[: len(head) // 2 * 2].decode(encoding, errors="replace")
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        if complete or exc.start < len(head) - 4:
            text = head.decode("latin-1")  # Old texts in some 8-bit alphabet, which one is unknown.
        else:
            text = head[: exc.start].decode("utf-8-sig")
    return None if _is_binary(text) else text


def _is_binary(text: str) -> bool:
    return any(char < " " and char not in "\t\n\r\f\x1b" for char in text)


def _looks_like_safetensors(head: bytes) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return bool(2 <= length < 2**40)


#: Formats that show elsewhere than in their first bytes.
_RULES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", "webp"),
    (lambda head: head[257:262] == b"ustar", "tar"),
    (lambda head: head[4:8] == b"TFL3", "tflite"),
    (_looks_like_safetensors, "safetensors"),
    (lambda head: head.startswith(_LFS_POINTER), "lfs_pointer"),
    (lambda head: len(head) > 1 and head[0] == 0x80 and head[1] <= 5, "pickle"),
)


def _sniff_text(text: str) -> str:
    body = _COMMENT.sub("", text.lstrip("\ufeff \t\r\n\f"))
    if _WEB_PAGE.match(body):
        return "web_page"
    # Protocol 0 pickles are text; a JSON text begins with one of these too, but never parses so.
    if re.match(r"\A(?:c[\w.]+\n[\w.]+\n|\(d?[lp]p?\d*\n|\(dp\d)", text):
        return "pickle"
    if body[:1] in {"{", "["}:
        return "json"
    return "text"


def has_html_soon(text: str) -> bool:
    """True when a web page begins within the first characters, after some other text."""
    return _HTML_SOON.search(text[:512]) is not None


def api_error(value: Any) -> str:
    """The message of a JSON error body, "" when `value` is something else."""
    if not isinstance(value, dict) or not value or len(value) > 10:
        return ""
    keys = {str(key).lower() for key in value}
    said = keys & _ERROR_KEYS
    if not said or keys - _ERROR_KEYS - _BESIDE_ERRORS:
        return ""
    for key, item in value.items():
        if str(key).lower() in _ERROR_KEYS and item:
            return shown(item if isinstance(item, str) else json.dumps(item))
    return shown(", ".join(sorted(said)))


def error_text(text: str) -> str:
    """The sentence of a plain-text error, "" when the text is something else."""
    line = text.strip()
    if len(line) > 1000 or line.count("\n") > 3:
        return ""
    return shown(line) if _STATUS_TEXT.fullmatch(line) or _ERROR_SENTENCE.match(line) else ""
