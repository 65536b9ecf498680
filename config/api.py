"""What every API view shares: one shape of errors, strict inputs, cursors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions, pagination, serializers, status
from rest_framework.response import Response

from config.errors import ModelyardError


class ErrorSerializer(serializers.Serializer[Any]):
    """The body of every answer that is not a success."""

    code = serializers.CharField(help_text="A stable word that clients may test.")
    message = serializers.CharField(help_text="What happened and what to do next.")
    details = serializers.DictField(help_text="Facts; for a refused field its name and reason.")


class StrictSerializer(serializers.Serializer[Any]):
    """An input whose unknown fields are refused by name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(map(str, data)) - set(self.fields))
            if unknown:
                raise serializers.ValidationError(
                    {name: ["This field is not known."] for name in unknown}
                )
        return super().to_internal_value(data)


class CursorPagination(pagination.CursorPagination):
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-pk")


def error_response(code: str, message: str, http_status: int, details: Any = None) -> Response:
    return Response(
        {"code": code, "message": message, "details": details or {}}, status=http_status
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Every error as `{code, message, details}`; what is not ours and not DRF's stays a 500."""
    if isinstance(exc, ModelyardError):
        response = error_response(exc.code, exc.message, exc.http_status, exc.details)
        retry_after = getattr(exc, "retry_after_s", None)
        if retry_after is not None:
            response["Retry-After"] = str(int(retry_after))
        return response
    if isinstance(exc, Http404 | exceptions.NotFound):
        return error_response(
            "not_found",
            "There is nothing here, or it is not yours to see.",
            status.HTTP_404_NOT_FOUND,
        )
    if isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if not isinstance(exc, exceptions.APIException):
        return None
    response = _from_drf(exc)
    header = getattr(exc, "auth_header", None)
    if header:
        response["WWW-Authenticate"] = header
    wait = getattr(exc, "wait", None)
    if wait:
        response["Retry-After"] = str(int(wait) + 1)
    return response


def _from_drf(exc: exceptions.APIException) -> Response:
    if isinstance(exc, exceptions.ValidationError):
        detail = exc.detail if isinstance(exc.detail, dict) else {"non_field_errors": exc.detail}
        name, reason = _first_reason(detail)
        where = "" if name == "non_field_errors" else f"{name}: "
        return error_response("invalid", f"{where}{reason}", exc.status_code, detail)
    codes = exc.get_codes()
    return error_response(
        codes if isinstance(codes, str) else exc.default_code, str(exc.detail), exc.status_code
    )


def _first_reason(detail: Any) -> tuple[str, str]:
    """Name of the first refused field and why, however deep."""
    name = "non_field_errors"
    while True:
        if isinstance(detail, Mapping):
            key, detail = next(iter(detail.items()))
            name = str(key)
        elif isinstance(detail, list):
            detail = next((item for item in detail if item), "This is not valid.")
        else:
            return name, str(detail)
