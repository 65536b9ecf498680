"""What every page view shares: who may open it, and how it answers htmx and plain forms alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

P = ParamSpec("P")


class PageRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: User
    htmx: HtmxDetails


def page(
    view: Callable[Concatenate[PageRequest, P], HttpResponse] | None = None, *, permission: str = ""
) -> Any:
    """Let in who is logged in (and has `permission`); others go to the login page, or get a 403.

    A request by htmx would show the login page inside the page, so it is told to go there.
    """

    def decorate(
        inner: Callable[Concatenate[PageRequest, P], HttpResponse],
    ) -> Callable[..., HttpResponse]:
        @wraps(inner)
        def wrapped(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                if request.htmx:
                    return HttpResponseClientRedirect(resolve_url(settings.LOGIN_URL))
                return redirect_to_login(request.get_full_path())
            if permission and not request.user.has_perm(permission):
                raise PermissionDenied
            return inner(request, *args, **kwargs)

        return wrapped

    return decorate(view) if view is not None else decorate


def back(request: PageRequest, default: str, *args: Any) -> HttpResponseRedirect:
    """To where the form named by its `next` field, if that is a place of ours."""
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = resolve_url(default, *args)
    return HttpResponseRedirect(target)


def say(request: HttpRequest, text: str, *, error: bool = False) -> None:
    """A sentence at the top of the next page that this person sees."""
    (messages.error if error else messages.success)(request, text)
