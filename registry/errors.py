"""What can go wrong with a file, a folder or an asset."""

from __future__ import annotations

from config.errors import ModelyardError


class RegistryError(ModelyardError):
    code = "registry_error"


class NotAModelFile(RegistryError):
    """The bytes are a web page, an API error, cut off, or not of the kind that was declared."""

    code = "not_a_model_file"
    http_status = 422


class PlacementNotPossible(RegistryError):
    """A rule or a folder that leads outside the models directory, or has a bad part."""

    code = "placement_not_possible"


class RootUnavailable(RegistryError):
    """The root's marker file is not there: not mounted, or moved."""

    code = "root_unavailable"
    http_status = 503
    retryable = True


class AssetInUse(RegistryError):
    code = "asset_in_use"
    http_status = 409


class AssetStateRefused(RegistryError):
    code = "asset_state"
    http_status = 409
