"""What the frame of every page shows."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, Any]:
    """Free and total bytes of the disk that holds the models."""
    place = settings.MODELS_DIR if settings.MODELS_DIR.exists() else settings.DATA_DIR
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return {"disk": None}
    return {
        "disk": {
            "free": usage.free,
            "total": usage.total,
            "used_share": 1 - usage.free / usage.total,
        }
    }
