from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from ops.api import HealthView, MetricsView

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", HealthView.as_view(), name="healthz"),
    path("metrics", MetricsView.as_view(), name="metrics"),
]
