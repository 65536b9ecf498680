"""The API of the queue: checks the shape of the input, calls one service, answers the row."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.permissions import HasPermission
from downloads import answers, services
from downloads.models import STATUS_CHOICES, Download
from downloads.serializers import (
    CreateInput,
    DownloadDetailSerializer,
    DownloadSerializer,
    DuplicateInput,
    DuplicateSerializer,
    EmptyInput,
    FinalizeInput,
    LimitSerializer,
    QueueStatusSerializer,
    ReorderInput,
    ResolveAnswer,
    ResolveInput,
)
from registry.models import MODEL_TYPE_CHOICES

REQUEST_CONTENT = "downloads.request_content"


class DownloadFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=STATUS_CHOICES)
    model_type = filters.ChoiceFilter(choices=MODEL_TYPE_CHOICES)
    source_type = filters.CharFilter(max_length=32)
    search = filters.CharFilter(field_name="model_name", lookup_expr="icontains", max_length=200)

    class Meta:
        model = Download
        fields = ("status", "model_type", "source_type")


def checked(serializer_class: type[Any], data: Any) -> dict[str, Any]:
    """The validated fields. Raises ValidationError (400) that names the refused one."""
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    values: dict[str, Any] = serializer.validated_data
    return values


def accepted(download: Download) -> Response:
    return Response(DownloadSerializer(download).data, status=status.HTTP_202_ACCEPTED)


class OwnDownloads(APIView):
    """Users see their own rows; another user's row is not found."""

    def get_queryset(self) -> QuerySet[Download]:
        if getattr(self, "swagger_fake_view", False):  # The schema is made without a user.
            return Download.objects.none()
        return Download.objects.of_user(self.request.user).select_related("initiated_by")

    def get_download(self, pk: int) -> Download:
        """The row, for a command to it."""
        rows = Download.objects.commanded_by(self.request.user)
        return get_object_or_404(rows.select_related("initiated_by"), pk=pk)


@extend_schema_view(
    get=extend_schema(summary="Downloads, the newest first", operation_id="downloads_list"),
    post=extend_schema(
        summary="Resolve a link and queue it",
        operation_id="downloads_create",
        request=CreateInput,
        responses={202: DownloadSerializer},
    ),
)
class DownloadListView(OwnDownloads, generics.ListAPIView[Download]):
    serializer_class = DownloadSerializer
    permission_classes = (HasPermission,)
    required_permissions = {"POST": REQUEST_CONTENT}
    filterset_class = DownloadFilter

    def get_queryset(self) -> QuerySet[Download]:
        return super().get_queryset().top_level()  # type: ignore[attr-defined,no-any-return]

    def post(self, request: Request) -> Response:
        options = checked(CreateInput, request.data)
        return accepted(services.enqueue(user=request.user, **options))


@extend_schema_view(
    get=extend_schema(
        summary="One download with what its source said", operation_id="downloads_get"
    ),
    patch=extend_schema(
        summary="Move a waiting download within your queue",
        operation_id="downloads_reorder",
        request=ReorderInput,
        responses={202: DownloadSerializer},
    ),
)
class DownloadView(OwnDownloads, generics.RetrieveAPIView[Download]):
    serializer_class = DownloadDetailSerializer
    permission_classes = (HasPermission,)
    required_permissions = {"PATCH": REQUEST_CONTENT}

    def patch(self, request: Request, pk: int) -> Response:
        download = self.get_download(pk)
        options = checked(ReorderInput, request.data)
        return accepted(services.reorder(download=download, user=request.user, **options))


@extend_schema_view(
    get=extend_schema(summary="The files of a bundle", operation_id="downloads_children")
)
class ChildrenView(OwnDownloads, generics.ListAPIView[Download]):
    serializer_class = DownloadSerializer
    filterset_class = DownloadFilter

    def get_queryset(self) -> QuerySet[Download]:
        own = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return own
        parent = get_object_or_404(own, pk=self.kwargs["pk"])
        return parent.children.select_related("initiated_by")


class CommandView(OwnDownloads):
    """One command to one download; answers 202 with the row."""

    permission_classes = (HasPermission,)
    required_permissions = {"POST": REQUEST_CONTENT}
    input_class: type[Any] = EmptyInput

    def command(self, download: Download, options: dict[str, Any]) -> Download:
        raise RuntimeError("every command says what it does")

    def post(self, request: Request, pk: int) -> Response:
        download = self.get_download(pk)
        return accepted(self.command(download, checked(self.input_class, request.data)))


def command_schema(summary: str, name: str, request: type[Any] | None = None) -> Any:
    return extend_schema(
        summary=summary,
        operation_id=f"downloads_{name}",
        request=request,
        responses={202: DownloadSerializer},
    )


@extend_schema_view(post=command_schema("Pause; the bytes stay", "pause"))
class PauseView(CommandView):
    def command(self, download: Download, options: dict[str, Any]) -> Download:
        return services.pause(download=download, user=self.request.user)


@extend_schema_view(post=command_schema("Queue again; bytes on disk are kept", "resume"))
class ResumeView(CommandView):
    def command(self, download: Download, options: dict[str, Any]) -> Download:
        return services.resume(download=download, user=self.request.user)


@extend_schema_view(post=command_schema("Cancel; no byte stays", "cancel"))
class CancelView(CommandView):
    def command(self, download: Download, options: dict[str, Any]) -> Download:
        return services.cancel(download=download, user=self.request.user)


@extend_schema_view(post=command_schema("Try a failed or cancelled download again", "retry"))
class RetryView(CommandView):
    def command(self, download: Download, options: dict[str, Any]) -> Download:
        return services.retry(download=download, user=self.request.user)


@extend_schema_view(post=command_schema("Hash the registered file again", "verify"))
class VerifyView(CommandView):
    def command(self, download: Download, options: dict[str, Any]) -> Download:
        return services.reverify(download=download, user=self.request.user)


@extend_schema_view(
    post=command_schema("Register a reviewed download, edited", "finalize", FinalizeInput)
)
class FinalizeView(CommandView):
    input_class = FinalizeInput

    def command(self, download: Download, options: dict[str, Any]) -> Download:
        return services.finalize(download=download, user=self.request.user, **options)


class ResolveView(APIView):
    permission_classes = (HasPermission,)
    required_permissions = {"POST": REQUEST_CONTENT}

    @extend_schema(
        summary="What a link means, where it would go, and whether it is here already",
        operation_id="downloads_resolve",
        request=ResolveInput,
        responses=ResolveAnswer,
    )
    def post(self, request: Request) -> Response:
        options = checked(ResolveInput, request.data)
        resolved = services.resolve_reference(user=request.user, **options)
        return Response(ResolveAnswer(answers.resolve_answer(resolved)).data)


class CheckDuplicateView(APIView):
    permission_classes = (HasPermission,)
    required_permissions = {"POST": REQUEST_CONTENT}

    @extend_schema(
        summary="Whether a file is registered already, by SHA-256 or by link",
        operation_id="downloads_check_duplicate",
        request=DuplicateInput,
        responses=DuplicateSerializer,
    )
    def post(self, request: Request) -> Response:
        options = checked(DuplicateInput, request.data)
        url = options.pop("url", None)
        report = services.check_duplicate(
            user=request.user, url=url, sha256=next(iter(options.values()), None)
        )
        return Response(DuplicateSerializer(answers.duplicate(report)).data)


class StatusView(APIView):
    @extend_schema(
        summary="Counts, speed and bytes left of what you may see",
        operation_id="downloads_status",
        responses=QueueStatusSerializer,
    )
    def get(self, request: Request) -> Response:
        rows = Download.objects.of_user(request.user)
        return Response(QueueStatusSerializer(answers.queue_status(rows)).data)


class LimitsView(APIView):
    @extend_schema(
        summary="Your limits and what of them is used",
        operation_id="downloads_limits",
        responses=LimitSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        uses = services.limits_of(request.user)
        return Response(LimitSerializer(uses, many=True).data)
