"""How the API is described to drf-spectacular."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

from config.api import ErrorSerializer


class ModelyardSchema(AutoSchema):
    """Documents the error answers that every route may give; `default` covers the rest."""

    ERRORS = ("400", "401", "403", "404", "default")

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        describe: Any = self._get_response_for_code
        for code in self.ERRORS:
            bodies.setdefault(code, describe(ErrorSerializer, code, direction=direction))
        return bodies
