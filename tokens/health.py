"""What `tokens` adds to `/healthz`."""

from __future__ import annotations

from ops.health import check
from tokens import rotation


@check("encryption_keys")
def encryption_keys() -> str | None:
    missing = rotation.missing_key_ids()
    return f"keys that are not loaded: {', '.join(sorted(missing))}" if missing else None
