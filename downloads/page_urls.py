"""The downloads page: `/`, its moving part, and what its buttons post to."""

from __future__ import annotations

from django.urls import path

from downloads import views

app_name = "downloads"
urlpatterns = [
    path("", views.downloads_page, name="page"),
    path("downloads/queue", views.queue, name="queue"),
    path("downloads/limits", views.limits, name="limits"),
    path("downloads/resolve", views.resolve, name="resolve"),
    path("downloads/add", views.add, name="add"),
    path("downloads/token", views.token_for_link, name="link_token"),
    path("downloads/all/<slug:action>", views.act_all, name="act_all"),
    path("downloads/selected/<slug:action>", views.act_selected, name="act_selected"),
    path("downloads/<id:pk>/finalize", views.finalize, name="finalize"),
    path("downloads/<id:pk>/token", views.token_for_row, name="token"),
    path("downloads/<id:pk>/picture", views.picture, name="picture"),
    path("downloads/<id:pk>/<slug:action>", views.act, name="act"),
]
