"""Downloads in the console: look at everything, command rows, queue a link. No field is edited by
hand, because only the pipeline may say what happened to bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from config.errors import ModelyardError
from downloads import services
from downloads.models import Download, OnDuplicate, Priority
from registry.models import MODEL_TYPE_CHOICES


class RequestForm(forms.ModelForm):
    """Queue a link: what the page does, with every option in view."""

    url = forms.CharField(
        max_length=2048, label="Link", help_text="CivitAI, HuggingFace, direct, AIR or owner/name."
    )
    model_name = forms.CharField(max_length=300, required=False)
    model_type = forms.ChoiceField(
        choices=[("", "as the source says"), *MODEL_TYPE_CHOICES], required=False
    )
    base_model = forms.CharField(max_length=100, required=False)
    expected_hash = forms.CharField(max_length=64, required=False, label="SHA-256")
    on_duplicate = forms.ChoiceField(choices=OnDuplicate.choices, initial=OnDuplicate.LINK)
    priority = forms.TypedChoiceField(
        choices=[(Priority.USER, "now"), (Priority.EXPANSION, "when there is room")], coerce=int
    )
    review = forms.BooleanField(required=False, label="Review before registering")

    class Meta:
        model = Download
        fields: tuple[str, ...] = ()

    user: Any = None

    def clean(self) -> dict[str, Any]:
        """Queues the link, so that a refusal is shown beside the field."""
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        said = {key: value for key, value in values.items() if value not in {"", None}}
        try:
            self.instance = services.enqueue(user=self.user, **said)
        except ModelyardError as error:
            raise ValidationError({"url": error.message}) from error
        return values

    def _post_clean(self) -> None:
        """The instance came out of the service; there is nothing to construct or validate."""


def command(label: str, run: Callable[..., Download]) -> Any:
    """An admin action that gives one command to each selected row and reports what was refused."""

    @admin.action(description=label, permissions=("change",))
    def action(_admin: Any, request: HttpRequest, rows: QuerySet[Download]) -> None:
        done = 0
        for download in rows:
            try:
                run(download=download, user=request.user)
                done += 1
            except ModelyardError as error:
                messages.warning(request, f"{download}: {error.message}")
        if done:
            messages.success(request, f"{label}: {done}")

    action.__name__ = label.lower().replace(" ", "_")
    return action


@admin.register(Download)
class DownloadAdmin(admin.ModelAdmin):
    list_display = (
        "id",
        "model_name",
        "file_name",
        "status",
        "progress_text",
        "model_type",
        "base_model",
        "verification",
        "priority",
        "initiated_by",
        "created_at",
        "error_code",
    )
    list_display_links = ("id", "model_name")
    list_filter = ("status", "source_type", "model_type", "verification", "priority", "is_bundle")
    list_select_related = ("initiated_by",)
    search_fields = ("model_name", "file_name", "source_url", "expected_hash", "actual_hash")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    actions = (
        command("Pause", services.pause),
        command("Resume", services.resume),
        command("Cancel", services.cancel),
        command("Retry", services.retry),
        command("Verify again", services.reverify),
        command("Finish review", services.finalize),
    )
    #: Encrypted, and of no use to a person.
    exclude = ("source_secret",)

    @admin.display(description="progress")
    def progress_text(self, download: Download) -> str:
        return "?" if download.progress is None else f"{download.progress:.0%}"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        names = [field.name for field in self.opts.concrete_fields]
        return [name for name in names if name not in self.exclude]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": list(RequestForm.base_fields)})]
        return super().get_fieldsets(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, *args: Any, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, *args, **kwargs)
        return type("RequestForm", (RequestForm,), {"user": request.user})

    def save_model(self, request: HttpRequest, obj: Download, form: Any, change: bool) -> None:  # noqa: FBT001
        """Nothing to save: adding was done by the service, and rows are not edited."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A row goes by cancelling; what was downloaded stays on record."""
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        shown = {**(extra_context or {}), "show_save": False, "show_save_and_continue": False}
        return super().change_view(request, object_id, form_url, shown)
