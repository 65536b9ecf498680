"""Reading JSON that strangers wrote: every function here answers something for every value.

An answer of a source may lack any key, hold null or a value of another type anywhere, numbers that
no float can hold, lone surrogates, NUL, bidirectional overrides and text without an end. What comes
out of here is of the promised type, bounded, and can be stored in a database and shown in a page.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import nh3

MAX_WORD = 100
MAX_NAME = 300
MAX_HTML = 100_000
MAX_URL = 2048
MAX_ITEMS = 500
MAX_BYTES = 1 << 50  # a petabyte: beyond it a size is a mistake
MAX_NUMBER = 1 << 53

_EXTRA_DEPTH = 4
_EXTRA_TEXT = 2000
_EXTRA_ITEMS = 50
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_FRACTION = re.compile(r"\.(\d{1,6})\d*")
_SPACES = re.compile(r"\s+")
# The tags that both sites' editors write. No pictures: they would be fetched from strangers.
_TAGS = {
    *("a", "b", "strong", "i", "em", "u", "s", "del", "sub", "sup", "code", "pre", "blockquote"),
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "span", "div"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


def as_dict(value: object) -> dict[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """`value` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_dicts(value: object) -> list[dict[str, Any]]:
    """The objects of an array; whatever else stands in it is left out."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def as_bool(value: object) -> bool | None:
    """True or False, None for everything else."""
    return value if isinstance(value, bool) else None


def as_number(value: object) -> int | float | None:
    """A finite number that JSON and the database can hold, or None. A boolean is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if abs(value) <= MAX_NUMBER else None


def as_id(value: object, maximum: int = MAX_NUMBER) -> int | None:
    """A positive whole number, also when it was written as text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,16}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= maximum else None


def as_size(value: object) -> int | None:
    """A size in bytes: a whole number that is not negative, or None."""
    number = as_number(value)
    if number is None or not 0 <= number <= MAX_BYTES:
        return None
    return int(number)


def as_text(value: object, limit: int = MAX_NAME) -> str:
    """One line: no control, invisible or direction characters, spaces collapsed, cut at `limit`."""
    if not isinstance(value, str):
        return ""
    visible = "".join(
        " " if char in "\t\n\r\x0b\x0c\u2028\u2029" else char
        for char in value[: limit * 4]
        if char in "\t\n\r\x0b\x0c" or unicodedata.category(char)[0] != "C"
    )
    return _SPACES.sub(" ", unicodedata.normalize("NFC", visible)).strip()[:limit].rstrip()


def as_prose(value: object, limit: int = MAX_HTML) -> str:
    """Text with its lines, without control characters and lone surrogates, cut at `limit`."""
    if not isinstance(value, str):
        return ""
    return "".join(
        char
        for char in value[:limit]
        if char in "\t\n" or unicodedata.category(char) not in {"Cc", "Cs"}
    )


def as_html(value: object) -> str:
    """Harmless HTML: known tags, http(s) links that open elsewhere and give no referrer away."""
    text = as_prose(value)
    if not text:
        return ""
    return nh3.clean(
        text,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    ).strip()


def as_words(value: object, limit: int = MAX_WORD) -> tuple[str, ...]:
    """An array of texts, or of objects with a `name`; empty and repeated ones are left out."""
    words: dict[str, None] = {}
    for item in as_list(value)[:MAX_ITEMS]:
        text = as_text(item.get("name") if isinstance(item, dict) else item, limit)
        if text:
            words.setdefault(text)
    return tuple(words)


def as_hex(value: object, *lengths: int) -> str:
    """A digest in lower case, "" unless it is hex of one of `lengths` digits."""
    text = value.strip().lower() if isinstance(value, str) and len(value) <= 200 else ""
    return text if len(text) in lengths and _HEX.fullmatch(text) else ""


def as_url(value: object) -> str:
    """An absolute http(s) link without spaces and user info, or ""."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_URL:
        return ""
    if any(unicodedata.category(char)[0] in "CZ" or char == "\\" for char in value):
        return ""
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and parts.username is None
    except ValueError:
        return ""
    return value if sound and parts.scheme in {"http", "https"} else ""


def as_moment(value: object) -> datetime | None:
    """A moment from ISO 8601 text; without a zone it is UTC (as some of CivitAI's are)."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(_six_digits, value.strip()))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _six_digits(match: re.Match[str]) -> str:
    return f".{match[1]:0<6}"


def as_moment_text(value: object) -> str:
    """`as_moment` as text of one form, "" when it is none."""
    moment = as_moment(value)
    return moment.isoformat().replace("+00:00", "Z") if moment else ""


def later(moment: datetime, days: float) -> datetime | None:
    """`moment` plus `days`, None where the calendar ends."""
    try:
        return moment + timedelta(days=days)
    except (ValueError, OverflowError):
        return None


def as_extra(values: dict[str, Any]) -> dict[str, Any]:
    """What has no place of its own, bounded in every direction; empty values are left out."""
    bounded = _bounded(values, _EXTRA_DEPTH)
    return bounded if isinstance(bounded, dict) else {}


def _bounded(value: object, depth: int) -> Any:
    match value:
        case bool():
            return value
        case int() | float():
            return as_number(value)
        case str():
            return as_prose(value, _EXTRA_TEXT) or None
        case dict() if depth:
            return dict(_bounded_items(value, depth))
        case list() | tuple() if depth:
            items = [_bounded(item, depth - 1) for item in value[:_EXTRA_ITEMS]]
            return [item for item in items if item is not None]
    return None


def _bounded_items(value: dict[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for key, item in list(value.items())[:_EXTRA_ITEMS]:
        kept = _bounded(item, depth - 1)
        if kept is not None and kept not in ({}, []):
            yield as_text(str(key), MAX_WORD), kept
