"""What can go wrong with a file, a folder or an asset.

RegistryError
├── NotAModelFile            the bytes are not what was declared
├── PlacementNotPossible     a rule or a folder that leads outside, or has a bad part
├── RootUnavailable          the models directory is not mounted             (retryable)
├── PathTaken                another file has that place
├── AssetInUse               somebody above needs the asset now
├── AssetStateRefused        its status does not allow that
└── PreviewUnavailable       a picture that could not be fetched or read
"""

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


class PathTaken(RegistryError):
    """Another asset, or a file that is not ours, is at that path; `asset` is its id or None."""

    code = "path_taken"
    http_status = 409


class AssetInUse(RegistryError):
    code = "asset_in_use"
    http_status = 409


class AssetStateRefused(RegistryError):
    """The asset's status does not allow that; `status` is what it is."""

    code = "asset_state"
    http_status = 409


class PreviewUnavailable(RegistryError):
    code = "preview_unavailable"
    http_status = 404
