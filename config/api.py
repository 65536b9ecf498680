"""What every API view shares: one shape of errors, strict inputs, cursors."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.utils import DataError
from django.http import Http404
from rest_framework import exceptions, pagination, serializers, status
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from config.errors import InternalError, ModelyardError

logger = logging.getLogger(__name__)


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
                    {name[:100]: ["This field is not known."] for name in unknown[:20]}
                )
        return super().to_internal_value(data)


BASE64 = re.compile(r"[A-Za-z0-9+/=]+", re.ASCII)


class CursorPagination(pagination.CursorPagination):
    """Pages by cursor; a cursor or a size that makes no sense is a 400, never a 500."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-pk")

    def get_page_size(self, request: Request) -> int | None:
        text = request.query_params.get(self.page_size_query_param)
        if text is not None and not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
            raise exceptions.ValidationError(
                {self.page_size_query_param: [f"A number from 1 to {self.max_page_size}."]}
            )
        return super().get_page_size(request)

    def decode_cursor(self, request: Request) -> Any:
        text = request.query_params.get(self.cursor_query_param)
        if text is not None and not BASE64.fullmatch(text):  # REST framework skips other characters
            raise exceptions.NotFound
        return super().decode_cursor(request)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (
            exceptions.NotFound,  # what REST framework calls a cursor that is not base64
            DjangoValidationError,  # a position that is no date
            ValueError,
            OverflowError,
            DataError,
        ) as exc:
            raise exceptions.ValidationError(
                {"cursor": ["This cursor is not one of ours. Start without it."]}
            ) from exc


class AnyAccept(BaseContentNegotiation):
    """Answers in its one form whatever the client says it accepts."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return next(iter(parsers), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, str(first.media_type)


def error_response(code: str, message: str, http_status: int, details: Any = None) -> Response:
    return Response(
        {"code": code, "message": message, "details": details or {}}, status=http_status
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """Every error as `{code, message, details}`; what is not ours and not DRF's is a bare 500."""
    set_rollback()
    if isinstance(exc, ModelyardError):
        return _from_ours(exc)
    if isinstance(exc, Http404 | exceptions.NotFound):
        return error_response(
            "not_found",
            "There is nothing here, or it is not yours to see.",
            status.HTTP_404_NOT_FOUND,
        )
    if isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if isinstance(exc, exceptions.APIException):
        return _from_drf(exc)
    view = context.get("view")
    logger.error("%s failed unexpectedly", type(view).__name__, exc_info=exc)
    return _from_ours(unexpected())


def unexpected() -> InternalError:
    """What a user reads when something of ours broke: no detail, those are in the log."""
    return InternalError(
        "Something went wrong inside Modelyard; the server's log has the details. "
        "Try again, and tell your admin if it happens twice."
    )


def _from_ours(exc: ModelyardError) -> Response:
    response = error_response(exc.code, exc.message, exc.http_status, exc.details)
    retry_after = getattr(exc, "retry_after_s", None)
    if retry_after is not None:
        response["Retry-After"] = str(max(1, int(retry_after)))
    return response


def _from_drf(exc: exceptions.APIException) -> Response:
    if isinstance(exc, exceptions.ValidationError):
        detail = exc.detail if isinstance(exc.detail, dict) else {"non_field_errors": exc.detail}
        name, reason = _first_reason(detail)
        where = "" if name == "non_field_errors" else f"{name}: "
        response = error_response("invalid", f"{where}{reason}", exc.status_code, detail)
    else:
        codes = exc.get_codes()
        code = codes if isinstance(codes, str) else exc.default_code
        response = error_response(code, str(exc.detail), exc.status_code)
    header = getattr(exc, "auth_header", None)
    if header:
        response["WWW-Authenticate"] = header
    wait = getattr(exc, "wait", None)
    if wait:
        response["Retry-After"] = str(math.ceil(wait))
    return response


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
