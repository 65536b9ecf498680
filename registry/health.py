"""Can models be kept now? For `/healthz`."""

from __future__ import annotations

from ops.health import check
from registry.models import Root
from registry.roots import root_path


@check("models_directory")
def models_directory() -> str | None:
    """Every root that was ever used is where it should be."""
    for root in Root.objects.all():
        root_path(root)  # RootUnavailable is a failure too.
    return None
