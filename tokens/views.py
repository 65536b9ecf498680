"""Settings: the person's tokens of other services, and keys of our own API; the theme."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from config.errors import ModelyardError
from config.pages import PageRequest, page, say
from tokens import services
from tokens.errors import NoSuchSecret
from tokens.models import ApiKey, ApiToken, Service

THEME_AGE_S = 365 * 24 * 3600
WHERE_MADE = {
    Service.CIVITAI: ("https://civitai.com/user/account", "civitai.com, Account, API keys"),
    Service.HUGGINGFACE: (
        "https://huggingface.co/settings/tokens",
        "huggingface.co, Settings, Access tokens; read access is enough",
    ),
}


@require_safe
@page
def settings_page(request: PageRequest) -> HttpResponse:
    return _settings(request)


def _settings(
    request: PageRequest,
    *,
    error: ModelyardError | None = None,
    service: str = "",
    new_key: str = "",
) -> HttpResponse:
    mine = {row.service_name: row for row in ApiToken.objects.filter(user=request.user)}
    context = {
        "section": "settings",
        "tab": "tokens",
        "services": [
            {
                "name": each.value,
                "label": each.label,
                "token": mine.get(each.value),
                "page": WHERE_MADE[each][0],
                "where": WHERE_MADE[each][1],
                "error": error.message if error is not None and service == each.value else "",
            }
            for each in Service
        ],
        "keys": ApiKey.objects.filter(user=request.user, revoked_at__isnull=True).order_by("-pk"),
        "new_key": new_key,
        "error": error if error is not None and not service else None,
    }
    response = render(
        request,
        "tokens/settings.html",
        context,
        status=error.http_status if error is not None else 200,
    )
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@page
def token_save(request: PageRequest, service: str) -> HttpResponse:
    try:
        row = services.save_token(
            user=request.user, service_name=service, token=request.POST.get("token", "")
        )
    except ModelyardError as error:
        return _settings(request, error=error, service=service)
    say(request, f"The {row.get_service_name_display()} token is saved.")
    return redirect("settings")


@require_POST
@page
def token_check(request: PageRequest, service: str) -> HttpResponse:
    try:
        row = ApiToken.objects.filter(user=request.user, service_name=service).first()
        if row is None:
            raise NoSuchSecret("There is no token of that service to test.")
        row = services.check_token(token_row=row, actor=request.user)
    except ModelyardError as error:
        return _settings(request, error=error, service=service)
    name = row.get_service_name_display()
    if row.is_valid:
        say(request, f"{name} was asked: the token is {row.get_validity_display()}.")
    else:
        say(request, f"{name} refuses this token. Save a new one.", error=True)
    return redirect("settings")


@require_POST
@page
def token_delete(request: PageRequest, service: str) -> HttpResponse:
    try:
        services.delete_token(user=request.user, service_name=service)
    except ModelyardError as error:
        return _settings(request, error=error, service=service)
    say(request, "The token is forgotten.")
    return redirect("settings")


@require_POST
@page
def key_create(request: PageRequest) -> HttpResponse:
    """The new key is in this answer and never again."""
    try:
        name = " ".join(request.POST.get("name", "").split())[:100]
        _key, plain = services.create_api_key(user=request.user, name=name)
    except ModelyardError as error:
        return _settings(request, error=error)
    return _settings(request, new_key=plain)


@require_POST
@page
def key_revoke(request: PageRequest, pk: int) -> HttpResponse:
    try:
        key = services.own_api_key(user=request.user, key_id=pk)
        services.revoke_api_key(key=key, actor=request.user)
    except ModelyardError as error:
        return _settings(request, error=error)
    say(request, "The key is ended; whoever uses it gets a 401 now.")
    return redirect("settings")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light or dark, kept in a cookie; a script does the same without asking."""
    wanted = request.POST.get("theme", "")
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = reverse("settings")
    response = redirect(target)
    if wanted in {"light", "dark"}:
        options: dict[str, Any] = {"samesite": "Lax", "secure": request.is_secure()}
        response.set_cookie("theme", wanted, max_age=THEME_AGE_S, **options)
    return response
