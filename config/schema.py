"""How the API is described to drf-spectacular."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

from config.api import ErrorSerializer


class ModelyardSchema(AutoSchema):
    """Documents the error answers that every route may give."""

    ERRORS = ("400", "401", "403", "404", "409")

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:  # type: ignore[override]
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for code in self.ERRORS:
            bodies.setdefault(
                code, self._get_response_for_code(ErrorSerializer, code, direction=direction)
            )
        return bodies
