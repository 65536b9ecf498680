"""Tokens for the suite that can be found again: every one carries the mark of this run.

    token = canary("huggingface")          # hf_… with the mark inside
    assert not traces(dump)                # the places in `dump` where a token lies open

The mark is shared by all processes of a run through the environment, so that whoever searches
(the hooks at the end, or a test that looks into a database) needs no list of the tokens.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets

RUN = os.environ.setdefault("MODELYARD_CANARY_RUN", secrets.token_hex(8))
#: What every token of this run contains, in the middle, where no hint of four characters shows it.
MARK = "c0ffee" + hashlib.sha256(RUN.encode()).hexdigest()[:10]

_made: dict[str, str] = {}
_used = 0
_watched: list[bytes] = []


def canary(name: str) -> str:
    """The token of that name in this run: shaped as HuggingFace's or as CivitAI's (hex)."""
    global _used  # noqa: PLW0603  (one counter for the process)
    _used += 1
    if name not in _made:
        digest = hashlib.sha256(f"{RUN} {name}".encode()).hexdigest()
        if name.startswith(("huggingface", "hf")):
            _made[name] = f"hf_{digest[:6]}{MARK}{digest[6:18]}"
        else:
            _made[name] = f"{digest[:6]}{MARK}{digest[6:16]}"
    return _made[name]


def used() -> int:
    """How often this process asked for a token so far."""
    return _used


def watch(secret: str) -> str:
    """Search for this text too, in this process: for secrets that the product makes itself."""
    _watched.append(secret.encode())
    return secret


def _spellings(mark: str) -> list[bytes]:
    """The mark as text, and as it looks inside base64 at each of the three alignments."""
    plain = mark.encode()
    found = [plain, mark.upper().encode(), plain.hex().encode(), mark.encode("utf-16-le")]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        # The characters at both ends also depend on the neighbours.
        found.append(encoded[4 if shift else 0 : -2])
    return found


_PATTERN = re.compile(b"|".join(re.escape(spelling) for spelling in _spellings(MARK)))


def traces(data: bytes | str) -> list[str]:
    """Where tokens of this run lie open in `data`: some text around each, with the token cut out."""
    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    spans = [hit.span() for hit in _PATTERN.finditer(raw)]
    for secret in _watched:
        spans += [hit.span() for hit in re.finditer(re.escape(secret), raw)]
    return [f"…{raw[max(0, start - 60) : start]!r}<token>" for start, _ in sorted(spans)]
