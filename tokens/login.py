"""The login page and its limiter.

After 5 wrong passwords for one name from one address within 15 minutes, or 50 from one address for
any names, the page answers 429 until the oldest of them is forgotten. A try is written down before
the password is looked at, so that tries sent at once do not slip past the count; a right password
takes its name's failures back. The rows are in the database: they hold for all processes, and a
cache that is away opens nothing.

The address is the connection's. `X-Forwarded-For` can be made up; a proxy in front is trusted by
the web server's own setting, not here.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Min
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone

from tokens.errors import TooManyLogins
from tokens.models import LoginFailure

WINDOW = timedelta(minutes=15)
FAILURES_PER_NAME = 5
FAILURES_PER_ADDRESS = 50


def begin_attempt(*, username: str, address: str, now: datetime | None = None) -> LoginFailure:
    """Write a try down. Raises TooManyLogins instead when there were too many before it."""
    now = now or timezone.now()
    LoginFailure.objects.filter(at__lte=now - WINDOW).delete()
    attempt = LoginFailure.objects.create(user_hash=_hash(username), address=address[:64], at=now)
    from_address = LoginFailure.objects.filter(address=attempt.address, pk__lt=attempt.pk)
    for rows, limit in (
        (from_address.filter(user_hash=attempt.user_hash), FAILURES_PER_NAME),
        (from_address, FAILURES_PER_ADDRESS),
    ):
        if rows.count() >= limit:
            oldest = rows.aggregate(oldest=Min("at"))["oldest"] or now
            attempt.delete()
            wait = max(1, int((oldest + WINDOW - now).total_seconds()) + 1)
            raise TooManyLogins(
                f"Too many wrong passwords. Try again in {-(-wait // 60)} minutes.",
                retry_after_s=wait,
            )
    return attempt


def end_attempt(attempt: LoginFailure) -> None:
    """The password was right: the name's failures from this address are forgotten."""
    LoginFailure.objects.filter(address=attempt.address, user_hash=attempt.user_hash).delete()


def _hash(username: str) -> str:
    text = f"{settings.SECRET_KEY}\0login\0{username.casefold()[:500]}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class LimitedLoginView(LoginView):
    """Django's login page behind the limiter; a refused try shows the form again with 429."""

    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            attempt = begin_attempt(
                username=request.POST.get("username", ""),
                address=request.META.get("REMOTE_ADDR", ""),
            )
        except TooManyLogins as error:
            return self._refuse(error)
        response = super().post(request, *args, **kwargs)
        if request.user.is_authenticated:
            end_attempt(attempt)
        return response

    def _refuse(self, error: TooManyLogins) -> HttpResponse:
        # An unbound form: a bound one would look at the password to show its errors.
        form = self.get_form_class()(self.request)
        response = self.render_to_response(
            self.get_context_data(form=form, limit_message=error.message), status=error.http_status
        )
        response["Retry-After"] = str(error.retry_after_s)
        return response


def console_login(request: HttpRequest) -> HttpResponseBase:
    """The console's own login page would pass the limiter by; this leads to ours."""
    if request.user.is_authenticated:
        raise PermissionDenied("Your account may not use the console.")
    return redirect_to_login(
        request.GET.get(REDIRECT_FIELD_NAME, "/admin/"), str(settings.LOGIN_URL)
    )
