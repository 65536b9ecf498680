"""The registry in the console: rules with a preview, assets with their commands, roots, pictures.

Whatever changes goes through the services, so the same rules and the same audit log hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from config.errors import ModelyardError
from registry import services
from registry.errors import PlacementNotPossible
from registry.models import (
    MODEL_TYPE_CHOICES,
    Asset,
    AssetPreview,
    Companion,
    PlacementRule,
    Root,
)
from registry.placement import clean_target
from registry.services import rules
from registry.services.keeping import EDITABLE


class ReadOnly:
    """Rows that only the service itself makes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Root)
class RootAdmin(ReadOnly, admin.ModelAdmin):
    """The first root comes from MODELYARD_MODELS_DIR; only its label is a matter of taste."""

    list_display = ("label", "path", "is_default", "writable", "created_at")
    fields = ("label", "path", "is_default", "writable", "marker", "created_at")
    readonly_fields = ("path", "is_default", "writable", "marker", "created_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("registry.change_root")


# --- Rules ----------------------------------------------------------------------------------------


class RuleForm(forms.ModelForm):
    class Meta:
        model = PlacementRule
        fields = rules.FIELDS

    def clean_target_directory(self) -> str:
        try:
            return clean_target(self.cleaned_data["target_directory"])
        except PlacementNotPossible as exc:
            raise ValidationError(exc.message) from exc

    def clean_base_model(self) -> str | None:
        return " ".join((self.cleaned_data["base_model"] or "").split()) or None


class PreviewForm(forms.Form):
    model_type = forms.ChoiceField(choices=MODEL_TYPE_CHOICES)
    base_model = forms.CharField(max_length=100, required=False)
    file_name = forms.CharField(max_length=255, initial="model.safetensors")


@admin.register(PlacementRule)
class PlacementRuleAdmin(admin.ModelAdmin):
    form = RuleForm
    list_display = ("id", "model_type", "base_model", "target_directory", "priority", "is_active")
    list_display_links = ("id",)
    list_editable = ("base_model", "target_directory", "priority", "is_active")
    list_filter = ("model_type", "is_active")
    search_fields = ("base_model", "target_directory")
    actions = ("switch_on", "switch_off")

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[RuleForm]:
        return RuleForm

    def get_urls(self) -> list[URLPattern]:
        preview = path(
            "preview/",
            self.admin_site.admin_view(self.preview),
            name="registry_placementrule_preview",
        )
        return [preview, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Which rule decides, and why: reads only."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = PreviewForm(request.GET or None)
        answer, error = None, ""
        if form.is_bound and form.is_valid():
            try:
                answer = services.preview_placement(**form.cleaned_data)
            except ModelyardError as exc:
                error = exc.message
        context = {
            **self.admin_site.each_context(request),
            "title": "Where would … go?",
            "form": form,
            "answer": answer,
            "error": error,
        }
        return TemplateResponse(request, "admin/registry/placementrule/preview.html", context)

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, queryset: QuerySet[PlacementRule]) -> None:
        self._switch(request, queryset, is_active=True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, queryset: QuerySet[PlacementRule]) -> None:
        self._switch(request, queryset, is_active=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[PlacementRule], *, is_active: bool
    ) -> None:
        if not self.has_change_permission(request):
            raise PermissionDenied
        for rule in queryset:
            services.update_rule(rule=rule, user=request.user, is_active=is_active)


# --- Assets ---------------------------------------------------------------------------------------


class AssetForm(forms.ModelForm):
    class Meta:
        model = Asset
        fields = EDITABLE

    def clean_trigger_words(self) -> list[str]:
        return self._words("trigger_words")

    def clean_tags(self) -> list[str]:
        return self._words("tags")

    def _words(self, name: str) -> list[str]:
        value = self.cleaned_data[name] or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValidationError('Write a list of texts: ["one", "two"].')
        return value


class ReasonForm(ActionForm):
    """Beside the choice of the action: why a flagged asset is accepted."""

    reason = forms.CharField(max_length=1000, required=False, label="Reason (to accept)")


class PreviewInline(ReadOnly, admin.TabularInline):
    model = AssetPreview
    extra = 0
    fields = ("position", "picture", "status", "width", "height", "error_message")
    readonly_fields = fields

    @admin.display(description="picture")
    def picture(self, preview: AssetPreview) -> str:
        return _picture(preview)


class CompanionInline(ReadOnly, admin.TabularInline):
    model = Companion
    extra = 0
    fields = ("relative_path", "file_size_bytes", "checksum_sha256")
    readonly_fields = fields


@admin.register(Asset)
class AssetAdmin(admin.ModelAdmin):
    form = AssetForm
    action_form = ReasonForm
    list_display = (
        "name",
        "asset_type",
        "base_model",
        "status",
        "verification",
        "safety",
        "file_size_bytes",
        "virtual_path",
        "created_at",
    )
    list_filter = ("status", "asset_type", "verification", "safety", "source_type")
    search_fields = ("name", "relative_path", "checksum_sha256", "creator")
    date_hierarchy = "created_at"
    list_select_related = ("root",)
    actions = ("verify_again", "refresh_metadata", "accept_flagged")
    inlines = (PreviewInline, CompanionInline)

    def get_readonly_fields(self, request: HttpRequest, obj: Asset | None = None) -> list[str]:
        return [field.name for field in Asset._meta.fields if field.name not in EDITABLE]

    def get_fields(self, request: HttpRequest, obj: Asset | None = None) -> list[Any]:
        return [*EDITABLE, *(n for n in self.get_readonly_fields(request, obj) if n != "id")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(
        self,
        request: HttpRequest,
        obj: Asset,
        form: forms.ModelForm[Asset],
        change: bool,  # noqa: FBT001  (Django's signature)
    ) -> None:
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        row = Asset.objects.get(pk=obj.pk)
        services.edit_asset(asset=row, user=request.user, changes=changes)
        obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: Asset) -> None:
        services.delete_asset(asset=obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Asset]) -> None:
        self._each(
            request, queryset, lambda row: services.delete_asset(asset=row, user=request.user)
        )

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().delete_view(request, *args, **kwargs)
        except ModelyardError as error:
            self.message_user(request, error.message, messages.ERROR)
            return self.response_post_save_change(request, Asset())

    @admin.action(description="Verify again", permissions=["change"])
    def verify_again(self, request: HttpRequest, queryset: QuerySet[Asset]) -> None:
        self._each(
            request, queryset, lambda row: services.request_verify(asset=row, user=request.user)
        )

    @admin.action(description="Fetch the metadata again", permissions=["change"])
    def refresh_metadata(self, request: HttpRequest, queryset: QuerySet[Asset]) -> None:
        self._each(
            request, queryset, lambda row: services.request_refresh(asset=row, user=request.user)
        )

    @admin.action(description="Accept flagged (needs a reason)", permissions=["change"])
    def accept_flagged(self, request: HttpRequest, queryset: QuerySet[Asset]) -> None:
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Say why: write a reason beside the action.", messages.ERROR)
            return
        self._each(
            request,
            queryset,
            lambda row: services.accept_asset(asset=row, user=request.user, reason=reason),
        )

    def _each(
        self, request: HttpRequest, rows: QuerySet[Asset], command: Callable[[Asset], Any]
    ) -> None:
        """Give every row the command; what is refused is said, the others go on."""
        done = 0
        for row in rows.select_related("root"):
            try:
                command(row)
            except ModelyardError as error:
                self.message_user(request, f"{row}: {error.message}", messages.ERROR)
            else:
                done += 1
        if done:
            self.message_user(request, f"Done for {done} of the chosen assets.")


@admin.register(AssetPreview)
class AssetPreviewAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("asset", "position", "picture", "status", "error_message", "created_at")
    list_filter = ("status",)
    list_select_related = ("asset",)

    @admin.display(description="picture")
    def picture(self, preview: AssetPreview) -> str:
        return _picture(preview)


def _picture(preview: AssetPreview) -> str:
    if preview.status != "ready":
        return "–"
    address = reverse("asset-preview-file", args=(preview.asset_id, preview.position))
    return format_html('<img src="{}" alt="" height="80">', address)
