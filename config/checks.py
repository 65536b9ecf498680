"""What `manage.py check` says about the configuration."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks


def check_toml_names(app_configs: Any = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """`config.W001` for a name in the TOML file that means nothing."""
    return [
        checks.Warning(
            f"The TOML file of MODELYARD_CONFIG sets {name}, which is no setting.",
            hint="docs/configuration.md has all names.",
            id="config.W001",
        )
        for name in settings.UNKNOWN_TOML_NAMES
    ]
