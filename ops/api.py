"""Health and figures."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api import AnyAccept
from config.permissions import HasPermission
from ops import health, metrics

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok", "fail"])
    checks = serializers.DictField(child=serializers.ChoiceField(choices=["ok", "fail"]))


class HealthView(APIView):
    """For load balancers and people in a hurry: names with ok or fail, no reasons."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="healthz",
        auth=[],
        responses={
            200: HealthSerializer,
            503: OpenApiResponse(HealthSerializer, description="At least one check fails."),
        },
    )
    def get(self, request: Request) -> Response:
        results = health.run_checks()
        well = all(results.values())
        return Response(
            {
                "status": "ok" if well else "fail",
                "checks": {name: "ok" if ok else "fail" for name, ok in results.items()},
            },
            status=200 if well else 503,
            headers={"Cache-Control": "no-store"},
        )


class MetricsView(APIView):
    """Figures for Prometheus, for who may see them."""

    permission_classes = (HasPermission,)
    required_permissions = {"*": "ops.view_analytics"}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="metrics",
        responses={
            (200, "text/plain"): OpenApiResponse(
                OpenApiTypes.STR, description="Prometheus text format 0.0.4."
            )
        },
    )
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(metrics.render(), content_type=METRICS_TYPE)
