"""The id in a route: digits that fit a database's 64-bit integer, so that a longer one is a 404."""

from __future__ import annotations

from django.urls import register_converter
from django.urls.converters import IntConverter, get_converters


class RowIdConverter(IntConverter):
    regex = "[0-9]{1,18}"


def register() -> None:
    """Make `<id:…>` known; calling it again is harmless."""
    if "id" not in get_converters():
        register_converter(RowIdConverter, "id")
