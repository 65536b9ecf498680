"""What the inspection of one file said. No Django here: the child process imports it too."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

SAFE = "safe"
HARMLESS_PICKLE = "harmless_pickle"
SUSPICIOUS = "suspicious"
DANGEROUS = "dangerous"

#: Codes of refusals; "" when the file is accepted.
NOT_A_MODEL_FILE = "not_a_model_file"  # a web page, an API error, a program, plain text
FORMAT_MISMATCH = "format_mismatch"  # the bytes are not what the name or the type says
FORMAT_INVALID = "format_invalid"  # the right format, but cut off or contradicting itself
EMPTY_FILE = "empty_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the bytes may become a model, and what their own header says.

    Not accepted: never register it, `code` and `reason` say why. Accepted but `needs_quarantine`:
    a pickle or an archive that could do harm, to be registered as flagged. `findings` are facts of
    the scan ("os system"), `warnings` are sentences for people. `header` is the bounded own
    metadata of the file. `detected_type` and `detected_base_model` are "" when the bytes do not
    tell; when they contradict what was declared, `asks_review` is set.
    """

    accepted: bool
    code: str = ""
    reason: str = ""
    format: str = ""
    findings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    header: dict[str, Any] = field(default_factory=dict)
    detected_type: str = ""
    detected_base_model: str = ""
    safety: str = SAFE
    asks_review: bool = False

    @property
    def needs_quarantine(self) -> bool:
        return self.accepted and self.safety in {SUSPICIOUS, DANGEROUS}

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back to an equal verdict."""
        plain = asdict(self)
        plain["findings"] = list(self.findings)
        plain["warnings"] = list(self.warnings)
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The reverse of `as_dict`; ignores unknown keys. Raises TypeError without `accepted`."""
        values = {item.name: plain[item.name] for item in fields(cls) if item.name in plain}
        for name in ("findings", "warnings"):
            values[name] = tuple(values.get(name) or ())
        return cls(**values)
