"""The secrets of a machine of one's own: made at the first start, kept in the data directory.

A deployment sets `SECRET_KEY` and `ENCRYPTION_KEY` itself; see `config.settings`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

FILE_NAME = "secrets.json"


def load_or_create(data_dir: Path) -> dict[str, str]:
    """SECRET_KEY and ENCRYPTION_KEY of this data directory, made once with mode 600.

    The file appears whole or not at all, so two first starts at once agree on one of them.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        beside = data_dir / f".{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(fresh, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    values: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return values
