"""Names for files, made from what strangers call them.

One rule for names from links, headers, APIs and people: the last component, without what is
invisible, reserved or special on any system, at most 200 bytes of UTF-8, its extension kept.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from transfer.errors import UnsafePath, UrlNotAllowed
from transfer.urls import parse_url

MAX_NAME_BYTES = 200
MAX_PATH_BYTES = 1000
MAX_DEPTH = 16
_MAX_EXTENSION_BYTES = 24
_MAX_HEADER_CHARS = 8192

# Slashes, backslashes and colons, and what looks like them or becomes them under NFKC.
_SLASHES = re.compile("[/\\\\\u2044\u2215\u2216\u29f5\u29f8\u29f9\uff0f\uff3c\ufe68]")
_SPECIAL = re.compile('[<>:"|?*\uff1a\ufe55\ua789]')
# Letters and symbols that show as nothing.
_BLANK = "\u034f\u115f\u1160\u2800\u3164\uffa0"
_DRIVE = re.compile(r"[A-Za-z]:")
_SPACES = re.compile(r"\s+")
_RESERVED = re.compile(
    "(?:CON|PRN|AUX|NUL|CONIN\\$|CONOUT\\$|CLOCK\\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3])",
    re.IGNORECASE,
)


def safe_name(text: str, *, fallback: str = "model") -> str:
    """One path component that is harmless on every system; `fallback` when nothing is left."""
    return _clean(_last_component(text)) or fallback


def safe_relative_path(text: str) -> str:
    """A path of several components below some root, each one safe.

    Raises UnsafePath when it climbs, is absolute (POSIX or Windows), too deep or too long: such a
    path was never meant well, so it is not repaired.
    """
    components = text.split("/")
    shown = text[:200].encode("utf-8", "replace").decode()
    if "\\" in text or "\x00" in text or _DRIVE.match(text) or len(components) > MAX_DEPTH:
        raise UnsafePath("This path cannot be used below a models directory.", path=shown)
    cleaned = [_clean(component) for component in components]
    if not all(cleaned) or any(part.strip() in {".", ".."} for part in components):
        raise UnsafePath("This path cannot be used below a models directory.", path=shown)
    path = "/".join(cleaned)
    if len(path.encode()) > MAX_PATH_BYTES:
        raise UnsafePath("This path is too long.", path=shown)
    return path


def path_key(relative_path: str) -> str:
    """What two paths share that some file system or some eye takes for the same."""
    folded = unicodedata.normalize("NFC", relative_path).casefold()
    return unicodedata.normalize("NFC", folded)


def numbered(name: str, n: int) -> str:
    """`x.safetensors`, 2 → `x-2.safetensors`, still within the length limit."""
    stem, extension = _split_extension(name)
    return _shorten(stem, f"-{n}{extension}")


def name_from_headers(content_disposition: str, url: str, fallback: str) -> str:
    """The name a server suggests: Content-Disposition (RFC 6266), else the URL's path, else
    `fallback`. Always safe."""
    for candidate in (_disposition_name(content_disposition), _url_name(url)):
        name = _clean(_last_component(candidate))
        if name:
            return name
    return safe_name(fallback)


def _last_component(text: str) -> str:
    parts = [part for part in _SLASHES.split(text) if part.strip(" .")]
    return re.sub(f"^{_DRIVE.pattern}", "", parts[-1]) if parts else ""


def _clean(text: str) -> str:
    visible = "".join(
        " " if ch in "\t\n\r" else ch
        for ch in text
        # Controls, format characters (bidi, zero-width), lone surrogates, private use, unassigned.
        if ch in "\t\n\r" or (unicodedata.category(ch)[0] != "C" and ch not in _BLANK)
    )
    visible = unicodedata.normalize("NFC", visible)
    visible = _SPACES.sub(" ", _SPECIAL.sub("_", _SLASHES.sub("_", visible)))
    # No hidden file, no option of a command, no home directory, no ending that Windows drops.
    name = visible.lstrip(" .-~").rstrip(" .")
    if _RESERVED.fullmatch(name.split(".")[0].rstrip()):
        name = f"_{name}"
    return _shorten(*_split_extension(name))


def _split_extension(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not stem or not dot or len(extension.encode()) > _MAX_EXTENSION_BYTES:
        return name, ""
    return stem, f".{extension}"


def _shorten(stem: str, ending: str) -> str:
    room = MAX_NAME_BYTES - len(ending.encode())
    cut = stem.encode()[:room].decode("utf-8", errors="ignore")
    return (cut if cut == stem else cut.rstrip(" .")) + ending


def _url_name(url: str) -> str:
    try:
        path = parse_url(url).target.partition("?")[0]
    except UrlNotAllowed:
        return ""
    return unquote_to_bytes(path.rpartition("/")[2]).decode("utf-8", errors="replace")


_PARAMETER = re.compile(
    r""";\s*(?P<key>filename\*?)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;]*))""",
    re.IGNORECASE,
)


def _disposition_name(header: str) -> str:
    """`filename*` wins over `filename`; of two equal ones the first (RFC 6266 4.3)."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(f";{header[:_MAX_HEADER_CHARS]}"):
        quoted = match["quoted"]
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["plain"].strip()
        found.setdefault(match["key"].lower(), value)
    return _extended(found.get("filename*", "")) or _utf8(found.get("filename", ""))


def _extended(value: str) -> str:
    """RFC 8187 `UTF-8''na%20me`; "" when it is written wrongly."""
    charset, quote1, rest = value.partition("'")
    _language, quote2, encoded = rest.partition("'")
    if not quote1 or not quote2 or charset.lower() not in {"utf-8", "iso-8859-1"}:
        return ""
    try:
        return unquote_to_bytes(encoded).decode(charset)
    except UnicodeDecodeError:
        return ""


def _utf8(value: str) -> str:
    """Headers arrive as Latin-1; most servers mean UTF-8."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
