"""What the readers of single formats give back to the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.inspect import verdict
from sources.reading import as_number, as_prose

MAX_SHOWN_CHARS = 200
_MAX_STORED_CHARS = 200_000


class Refused(Exception):
    """The bytes must not become a model; `code` is one of `verdict`'s, `reason` a sentence."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Invalid(Refused):
    """The format is right, and the file is cut off or contradicts itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(verdict.FORMAT_INVALID, reason)


@dataclass(slots=True, kw_only=True)
class Report:
    """`levels` collects what was found; `safety` is the worst of them."""

    format: str
    safety: str = verdict.SAFE
    reason: str = ""
    findings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    detected_type: str = ""
    detected_base_model: str = ""

    def worsen(self, level: str, finding: str) -> None:
        """Note a finding; the safety becomes the worse of what it was and `level`."""
        order = (verdict.SAFE, verdict.HARMLESS_PICKLE, verdict.SUSPICIOUS, verdict.DANGEROUS)
        self.safety = max(self.safety, level, key=order.index)
        text = shown(finding)
        if text not in self.findings and len(self.findings) < 100:
            self.findings.append(text)


def shown(value: object, limit: int = MAX_SHOWN_CHARS) -> str:
    """Foreign text for a message: one line, printable, bounded."""
    text = "".join(char if char.isprintable() else "�" for char in str(value)[: limit + 1])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def storable(value: Any, depth: int = 12) -> Any:
    """`value` as both databases and JSON can hold it.

    Texts without NUL, other control characters and half characters, finite numbers, nothing
    endlessly deep; None in place of what cannot be kept.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return as_prose(value, _MAX_STORED_CHARS)
    if isinstance(value, int | float):
        return as_number(value)
    if depth and isinstance(value, Mapping):
        return {
            as_prose(str(key), MAX_SHOWN_CHARS): storable(item, depth - 1)
            for key, item in value.items()
        }
    if depth and isinstance(value, list | tuple):
        return [storable(item, depth - 1) for item in value]
    return None
