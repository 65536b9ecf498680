"""What a person may say about a download: checked text, or InvalidOption with the field's name."""

from __future__ import annotations

import re
import unicodedata

from downloads.errors import InvalidOption
from downloads.models import OnDuplicate, Priority
from registry.placement import clean_directory
from sources.resolution import ModelType

MAX_NAME = 300
MAX_BASE_MODEL = 100
SHA256 = re.compile(r"[0-9a-f]{64}")
#: They turn the text around them, so that it reads as another one; no name needs them.
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_name(text: str) -> str:
    """A name of a model: one line, 1 to 300 characters."""
    return _line("model_name", text, MAX_NAME)


def checked_base_model(text: str) -> str:
    """Any text, because new base models appear; "" means unknown."""
    return _line("base_model", text, MAX_BASE_MODEL, empty=True)


def checked_type(text: str) -> ModelType:
    try:
        return ModelType(text)
    except ValueError as exc:
        known = ", ".join(ModelType)
        raise InvalidOption("model_type", f"This type is not known. Known are: {known}.") from exc


def checked_folder(text: str) -> str:
    """A folder below the models directory, "" for the one that the rules choose.

    Raises PlacementNotPossible for one that leads elsewhere.
    """
    return clean_directory(text, field="folder") if text.strip() else ""


def checked_hash(text: str) -> str:
    """A SHA-256 in lower case; "" means none is known."""
    digest = text.strip().lower().removeprefix("sha256:")
    if digest and (not SHA256.fullmatch(digest) or set(digest) == {"0"}):
        raise InvalidOption("expected_hash", "A SHA-256 has 64 hexadecimal digits.")
    return digest


def checked_on_duplicate(text: str) -> OnDuplicate:
    try:
        return OnDuplicate(text)
    except ValueError as exc:
        known = ", ".join(OnDuplicate.values)
        raise InvalidOption("on_duplicate", f"Possible are: {known}.") from exc


def checked_priority(number: int) -> Priority:
    if number not in {Priority.USER, Priority.EXPANSION}:
        raise InvalidOption("priority", "2 (now) and 3 (when there is room) are possible.")
    return Priority(number)


def _line(field: str, text: str, limit: int, *, empty: bool = False) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    if not text and not empty:
        raise InvalidOption(field, "This must not be empty.")
    if len(text) > limit:
        raise InvalidOption(field, f"This must have at most {limit} characters.")
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in text):
        raise InvalidOption(field, "This must be one line without control characters.")
    if TURNING & set(text):
        raise InvalidOption(field, "This must not hold characters that turn the text around.")
    return text
