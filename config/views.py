"""Answers that no view gives: errors outside of one, and the description of the API.

Below /api (and for machines) an error is JSON of the one shape; elsewhere it is Django's page from
`templates/404.html` and its like.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.csrf import csrf_failure as csrf_page
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from config.api import unexpected
from config.middleware import POLICY

#: Swagger UI styles its page from inside, and its script is a second answer of the same view.
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
MACHINE_PATHS = ("/api/", "/metrics", "/healthz")


def is_for_machines(request: HttpRequest) -> bool:
    return request.path == "/api" or request.path.startswith(MACHINE_PATHS)


def _json(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse({"code": code, "message": message, "details": {}}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_for_machines(request):
        return _json(400, "bad_request", "The request cannot be read.")
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_for_machines(request):
        return _json(403, "permission_denied", "You may not do this.")
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_for_machines(request):
        message = "There is nothing here. The routes are described at /api/schema."
        return _json(404, "not_found", message)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if is_for_machines(request):
        error = unexpected()
        return JsonResponse(error.as_dict(), status=error.http_status)
    return defaults.server_error(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if is_for_machines(request):
        return _json(403, "csrf_failed", "The CSRF token is missing or old. Load the page again.")
    return csrf_page(request, reason)


class SchemaView(SpectacularAPIView):
    """OpenAPI, as JSON unless the client asks for YAML; an error here is JSON too."""

    renderer_classes = [
        OpenApiJsonRenderer2,
        OpenApiJsonRenderer,
        OpenApiYamlRenderer,
        OpenApiYamlRenderer2,
    ]

    def _get_version_parameter(self, request: Request) -> None:
        # The library would put this text of the client into a header.
        return None


class DocsView(SpectacularSwaggerSplitView):
    """The pages of Swagger UI, from our own static files."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        draw: Any = super().get
        response: Response = draw(request, *args, **kwargs)
        response["Content-Security-Policy"] = DOCS_POLICY
        return response
