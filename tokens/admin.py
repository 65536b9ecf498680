"""Secrets in the console: written, never read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from tokens import services
from tokens.errors import TokenError
from tokens.models import ApiKey, ApiToken


class TokenForm(forms.ModelForm):
    """A token is checked at its service when the form is checked, and shown never again."""

    token = forms.CharField(
        label="Token",
        strip=False,
        max_length=10_000,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"}),
        help_text="Checked at the service when saved. Only its last four characters stay visible.",
    )
    checked: services.CheckedToken

    class Meta:
        model = ApiToken
        fields = ("user", "service_name")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        service = self.instance.service_name or values.get("service_name")
        if self.errors or not service:
            return values
        try:
            self.checked = services.check_new_token(
                service_name=service, token=values.pop("token", "")
            )
        except TokenError as error:
            raise forms.ValidationError({"token": error.message}) from error
        return values


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    form = TokenForm
    list_display = ("user", "service_name", "token_hint", "validity", "account", "last_used_at")
    list_filter = ("service_name", "validity")
    list_select_related = ("user",)
    search_fields = ("user__username",)
    readonly_fields = ("token_hint", "validity", "account", "checked_at", "last_used_at")
    fields = ("user", "service_name", "token", *readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        # The ciphertext is bound to both.
        fixed = ("user", "service_name") if obj else ()
        return (*fixed, *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:  # noqa: FBT001
        row = services.store_token(user=obj.user, checked=form.checked, actor=_actor(request))
        obj.pk = row.pk
        obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        services.delete_token(user=obj.user, service_name=obj.service_name, actor=_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset.select_related("user"):
            self.delete_model(request, row)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    list_display = ("prefix", "user", "name", "created_at", "last_used_at", "revoked_at")
    list_filter = ("revoked_at",)
    list_select_related = ("user",)
    search_fields = ("prefix", "user__username", "name")
    fields = ("user", "name", "prefix", "created_at", "last_used_at", "revoked_at")
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return ("user", *self.readonly_fields) if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # A revoked key stays, so that the audit log can be understood.

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:  # noqa: FBT001
        if change:
            obj.save(update_fields=["name"])
            return
        key, plain = services.create_api_key(user=obj.user, name=obj.name, actor=_actor(request))
        obj.pk = key.pk
        obj.refresh_from_db()
        request.new_api_key = plain  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The key in this one answer: a redirect would have to keep it somewhere."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Copy the new key",
            "opts": self.opts,
            "key": obj,
            "plain": getattr(request, "new_api_key", ""),
        }
        return TemplateResponse(
            request, "tokens/admin_key_created.html", context, headers={"Cache-Control": "no-store"}
        )

    @admin.action(description="Revoke the chosen keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        for key in queryset:
            services.revoke_api_key(key=key, actor=_actor(request))
        self.message_user(request, "The keys are revoked.")


def _actor(request: HttpRequest) -> Any:
    return request.user
