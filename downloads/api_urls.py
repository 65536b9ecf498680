from __future__ import annotations

from django.urls import path

from config.converters import register
from downloads import api, events

register()

urlpatterns = [
    path("downloads/resolve", api.ResolveView.as_view(), name="api-resolve"),
    path("downloads/check-duplicate", api.CheckDuplicateView.as_view(), name="api-check-duplicate"),
    path("downloads/status", api.StatusView.as_view(), name="api-status"),
    path("downloads/limits", api.LimitsView.as_view(), name="api-limits"),
    path("downloads/events", events.events, name="api-events"),
    path("downloads", api.DownloadListView.as_view(), name="api-downloads"),
    path("downloads/<id:pk>", api.DownloadView.as_view(), name="api-download"),
    path("downloads/<id:pk>/children", api.ChildrenView.as_view(), name="api-children"),
    path("downloads/<id:pk>/pause", api.PauseView.as_view(), name="api-pause"),
    path("downloads/<id:pk>/resume", api.ResumeView.as_view(), name="api-resume"),
    path("downloads/<id:pk>/cancel", api.CancelView.as_view(), name="api-cancel"),
    path("downloads/<id:pk>/retry", api.RetryView.as_view(), name="api-retry"),
    path("downloads/<id:pk>/verify", api.VerifyView.as_view(), name="api-verify"),
    path("downloads/<id:pk>/finalize", api.FinalizeView.as_view(), name="api-finalize"),
]
