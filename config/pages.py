"""What every page view shares: who may open it, and how it answers htmx and plain forms alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

P = ParamSpec("P")


class PageRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: User
    htmx: HtmxDetails


View = Callable[Concatenate[PageRequest, P], HttpResponseBase]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def page(view: View[P]) -> Guarded[P]:
    """Let in who is logged in; others go to the login page.

    A request by htmx would show the login page inside the page, so it is told to go there.
    """
    return _guarded(view, "")


def page_for(permission: str) -> Callable[[View[P]], Guarded[P]]:
    """As `page`, for people who have `permission`; others get a 403."""

    def decorate(view: View[P]) -> Guarded[P]:
        return _guarded(view, permission)

    return decorate


def _guarded(view: View[P], permission: str) -> Guarded[P]:
    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        wanted = cast("PageRequest", request)
        if not wanted.user.is_authenticated:
            if wanted.htmx:
                return HttpResponseClientRedirect(resolve_url(settings.LOGIN_URL))
            return redirect_to_login(request.get_full_path())
        if any("\0" in text for _name, texts in request.POST.lists() for text in texts):
            raise BadRequest("A form never holds NUL; PostgreSQL could not store it.")
        if permission and not wanted.user.has_perm(permission):
            raise PermissionDenied
        return view(wanted, *args, **kwargs)

    return wrapped


def say(request: HttpRequest, text: str, *, error: bool = False) -> None:
    """A sentence at the top of the next page that this person sees."""
    (messages.error if error else messages.success)(request, text)
