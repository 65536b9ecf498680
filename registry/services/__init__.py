"""What people and the pipeline ask of the registry; each command in the module of its subject."""

from registry.services.keeping import (
    accept_asset,
    delete_asset,
    edit_asset,
    request_previews,
    request_refresh,
    request_refresh_many,
    request_verify,
)
from registry.services.placing import (
    DuplicateReport,
    Placement,
    PlacementPreview,
    find_duplicate,
    preview_placement,
    resolve_placement,
)
from registry.services.registering import (
    attach_companions,
    register_companion,
    register_file,
)
from registry.services.rules import create_rule, delete_rule, update_rule

__all__ = [
    "DuplicateReport",
    "Placement",
    "PlacementPreview",
    "accept_asset",
    "attach_companions",
    "create_rule",
    "delete_asset",
    "delete_rule",
    "edit_asset",
    "find_duplicate",
    "preview_placement",
    "register_companion",
    "register_file",
    "request_previews",
    "request_refresh",
    "request_refresh_many",
    "request_verify",
    "resolve_placement",
    "update_rule",
]
