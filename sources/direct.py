"""A plain link: what its server and the first bytes of the file say.

One byte is asked for first, because HEAD fails or lies at too many places: a 206 gives the whole
size in Content-Range, a 200 means that ranges are ignored, and its body is read a little. Then the
head of the file tells its format by magic, and a safetensors header tells what the model is. What a
page for people starts with is no model, whatever the link is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from sources.calls import Calls
from sources.detect import Detected
from sources.errors import NotAModel
from sources.families import base_model_from_name, family_of
from sources.headers import HEAD_BYTES, detect_start, header_length, read_start
from sources.reading import MAX_BYTES, as_moment_text, as_text
from sources.refs import DIRECT, DirectReference
from sources.refusals import explain
from sources.resolution import ModelType, Resolution, SourceFile
from sources.types import format_from_name, lacks_extension, type_from_name
from transfer.errors import RemoteRefused, TransferError
from transfer.names import name_from_headers, safe_name

FILE_ID = "file"

_TOTAL = re.compile(r"bytes \d+-\d+/(\d{1,18})$")
_EMPTY_TOTAL = re.compile(r"bytes \*/0$")
_PAGE = re.compile(
    rb"^\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|script|\?xml)", re.IGNORECASE
)
_MAGICS = (
    (b"GGUF", "gguf"),
    (b"PK\x03\x04", "zip"),
    (b"\x80\x02", "pickle"),
    (b"\x80\x03", "pickle"),
    (b"\x80\x04", "pickle"),
    (b"\x80\x05", "pickle"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"Rar!", "archive"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
)
# Where neither the name nor the header tells the type.
_TYPES_OF_FORMATS = {
    "safetensors": ModelType.CHECKPOINT,
    "pickle": ModelType.CHECKPOINT,
    "gguf": ModelType.DIFFUSION_MODEL,
    "config": ModelType.WORKFLOW,
    "text": ModelType.WILDCARDS,
}
_WEIGHTS = frozenset({"safetensors", "pickle", "gguf", "onnx"})


@dataclass(frozen=True, slots=True)
class Head:
    """What the first answers told: the beginning of the file and its size, None when unknown."""

    headers: Message
    final_url: str
    start: bytes
    size_bytes: int | None
    has_ranges: bool


def resolve(reference: DirectReference, *, calls: Calls) -> Resolution:
    """What lies behind a link.

    Raises NotAModel for a page, an error message or an empty file, NotFound, TokenRequired,
    SourceUnavailable; UrlNotAllowed and RedirectRefused as they come.
    """
    head = _read_head(reference.url, calls)
    _refuse_what_is_no_file(head)
    name = _name(reference, head)
    file_format = _format(head.start, name)
    _refuse_texts_as_weights(head, file_format)
    detected = Detected()
    if file_format == "safetensors":
        detected = detect_start(reference.url, head.start, calls, has_ranges=head.has_ranges)
    return build(reference, head, name, file_format, detected)


def _read_head(url: str, calls: Calls) -> Head:
    try:
        return calls.attempt(url, lambda _deadline_s: _ask(url, calls))
    except RemoteRefused as error:
        if error.status == 416 and _EMPTY_TOTAL.match(str(error.headers.get("Content-Range", ""))):
            raise NotAModel("The file behind this link is empty.") from error
        raise explain(error, DIRECT, had_token=False) from error
    except TransferError as error:
        raise explain(error, DIRECT, had_token=False) from error


def _ask(url: str, calls: Calls) -> Head:
    with calls.open(url, {"Range": "bytes=0-0"}) as answer:
        if answer.status == 200:
            size = answer.length
            return Head(answer.headers, answer.url, read_start(answer), size, has_ranges=False)
        answer.read(1)
        headers, final_url = answer.headers, answer.url
    size = _total(headers)
    start = b""
    if size != 0:
        last = min(size or HEAD_BYTES, HEAD_BYTES) - 1
        with calls.open(url, {"Range": f"bytes=0-{last}"}) as answer:
            start = answer.read(HEAD_BYTES)
    return Head(headers, final_url, start, size, has_ranges=True)


def _total(headers: Message) -> int | None:
    match = _TOTAL.match(str(headers.get("Content-Range") or "").strip())
    size = int(match[1]) if match else None
    return size if size is not None and size <= MAX_BYTES else None


def _refuse_what_is_no_file(head: Head) -> None:
    kind = str(head.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/xhtml+xml"} or _PAGE.match(head.start[:1000]):
        raise NotAModel(
            "This link leads to a web page, not to a file. Copy the link of the download itself; "
            "if the page asks for a login, the file needs a token."
        )
    if head.size_bytes == 0 or not head.start:
        raise NotAModel("The file behind this link is empty.")


def _name(reference: DirectReference, head: Head) -> str:
    """From Content-Disposition, the link, or where it led to: the first that has an extension.

    Where none has one, the bytes tell it if they can.
    """
    disposition = str(head.headers.get("Content-Disposition") or "")
    named = name_from_headers(disposition, reference.url, "")
    final = name_from_headers("", head.final_url, "")
    if not lacks_extension(named):
        return named
    suffix = {"gguf": ".gguf", "safetensors": ".safetensors"}.get(_format(head.start, ""), "")
    if format_from_name(final) == "other" and (suffix or lacks_extension(final)):
        return safe_name(f"{named}{suffix}")
    return final


def _format(start: bytes, name: str) -> str:
    """By magic where there is one, else what the extension promises."""
    by_name = format_from_name(name)
    for magic, found in _MAGICS:
        if start.startswith(magic):
            if found == "zip":
                # PyTorch's own files are zip archives.
                return by_name if by_name in {"pickle", "archive"} else "archive"
            return found
    return "safetensors" if header_length(start) is not None else by_name


def _refuse_texts_as_weights(head: Head, file_format: str) -> None:
    """An error message of an API is no model, even when it is called model.safetensors."""
    start = head.start.lstrip()[:1]
    if file_format in _WEIGHTS and start in {b"{", b"["} and header_length(head.start) is None:
        raise NotAModel(
            "The server sent a message instead of the file; a token is probably missing."
        )


def build(
    reference: DirectReference, head: Head, name: str, file_format: str, detected: Detected
) -> Resolution:
    """The resolution that the answers make; nothing is asked."""
    named = type_from_name(name)
    model_type = detected.model_type or named or _TYPES_OF_FORMATS.get(file_format, ModelType.OTHER)
    base_model = detected.base_model or base_model_from_name(name)
    is_guess = detected.model_type is None and named is None
    title = as_text(detected.details.get("title")) or name.rpartition(".")[0] or name
    url = reference.display
    file = SourceFile(
        file_id=FILE_ID,
        name=name,
        url=url,
        model_type=model_type,
        size_bytes=head.size_bytes,
        format=file_format,
        precision=as_text(detected.details.get("precision"), 32),
        primary=True,
    )
    return Resolution(
        source_type=DIRECT,
        reference=url,
        source_url=url,
        name=as_text(unquote(title)) or "model",
        model_type=model_type,
        files=(file,),
        chosen=(FILE_ID,),
        base_model=base_model,
        base_model_family=family_of(base_model),
        trigger_words=detected.trigger_words,
        creator=as_text(detected.details.get("author"), 200),
        updated_at=_last_modified(head.headers),
        warnings=("Nothing says what kind of model this is; check the type.",) if is_guess else (),
        extra=_extra(head, detected),
    )


def _last_modified(headers: Message) -> str:
    try:
        return as_moment_text(parsedate_to_datetime(headers.get("Last-Modified") or "").isoformat())
    except (ValueError, OverflowError):
        return ""


def _extra(head: Head, detected: Detected) -> dict[str, Any]:
    kind = as_text(str(head.headers.get("Content-Type") or ""), 100)
    values: dict[str, Any] = {"content_type": kind, "accepts_ranges": head.has_ranges}
    host = urlsplit(head.final_url).hostname or ""
    return {**values, "served_by": as_text(host), "header": detected.details}
