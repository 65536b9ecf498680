"""Calls from the registry into packages above it: they register here at start-up."""

from __future__ import annotations

from collections.abc import Callable

from registry.models import Asset

BeforeDelete = Callable[[Asset], None]

_before_delete: list[BeforeDelete] = []


def before_delete(hook: BeforeDelete) -> BeforeDelete:
    """Register `hook`: it is called with an asset whose status is `deleting`, before its files go.

    It may raise AssetInUse, and the asset becomes what it was. Usable as a decorator.
    """
    if hook not in _before_delete:
        _before_delete.append(hook)
    return hook


def run_before_delete(asset: Asset) -> None:
    """Call every hook in the order of registration. Raises what they raise."""
    for hook in _before_delete:
        hook(asset)


def forget(hook: BeforeDelete) -> None:
    """Take `hook` out again."""
    _before_delete.remove(hook)
