"""The API of the registry: checks the shape of the input, calls one service."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, QuerySet, Value, When
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api import AnyAccept
from config.permissions import HasPermission
from registry import services
from registry.filters import AssetFilter
from registry.models import Asset, AssetQuerySet, AssetStatus, PlacementRule
from registry.previews import fetch_thumbnail, preview_path, read_signed
from registry.serializers import (
    AcceptInput,
    AssetDetailSerializer,
    AssetEdit,
    AssetSerializer,
    DigestInput,
    EmptyInput,
    PlacementAnswer,
    PlacementQuestion,
    RefreshManyAnswer,
    RefreshManyInput,
    RuleInput,
    RuleSerializer,
)

EDIT_CATALOG = "registry.change_asset"
SEE_RULES = "registry.view_placementrule"
EDIT_RULES = "registry.change_placementrule"
#: A picture of ours: nothing in it runs, nothing guesses its type, shared caches keep it not.
PICTURE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=86400",
    "Content-Disposition": "inline",
}
PICTURE_TYPE = "image/webp"


def checked(serializer_class: type[Any], data: Any, **options: Any) -> dict[str, Any]:
    """The validated fields. Raises ValidationError (400) that names the refused one."""
    serializer = serializer_class(data=data, **options)
    serializer.is_valid(raise_exception=True)
    values: dict[str, Any] = serializer.validated_data
    return values


def all_assets() -> AssetQuerySet:
    return Asset.objects.select_related("root", "added_by").prefetch_related("previews")


def accepted(asset: Asset) -> Response:
    return Response(AssetSerializer(asset).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(
    get=extend_schema(summary="Assets, the newest first", operation_id="assets_list")
)
class AssetListView(generics.ListAPIView[Asset]):
    serializer_class = AssetSerializer
    filterset_class = AssetFilter

    def get_queryset(self) -> QuerySet[Asset]:
        return all_assets()


@extend_schema_view(
    get=extend_schema(summary="One asset with all that is known", operation_id="assets_get"),
    patch=extend_schema(
        summary="Edit an asset; a refresh leaves edited fields alone",
        operation_id="assets_edit",
        request=AssetEdit,
        responses={200: AssetDetailSerializer},
    ),
    delete=extend_schema(
        summary="Delete an asset; its file goes to the trash",
        operation_id="assets_delete",
        responses={204: None},
    ),
)
class AssetView(generics.RetrieveAPIView[Asset]):
    serializer_class = AssetDetailSerializer
    permission_classes = (HasPermission,)
    required_permissions = {"PATCH": EDIT_CATALOG, "DELETE": EDIT_CATALOG}

    def get_queryset(self) -> QuerySet[Asset]:
        return all_assets().prefetch_related("companions")

    def patch(self, request: Request, pk: int) -> Response:
        asset = self.get_object()
        changes = checked(AssetEdit, request.data)
        asset = services.edit_asset(asset=asset, user=request.user, changes=changes)
        return Response(AssetDetailSerializer(asset).data)

    def delete(self, request: Request, pk: int) -> Response:
        services.delete_asset(asset=self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class AssetCommandView(APIView):
    """One command to one asset; answers 202 with the row."""

    permission_classes = (HasPermission,)
    required_permissions = {"*": EDIT_CATALOG}

    def get_asset(self, pk: int) -> Asset:
        return get_object_or_404(all_assets(), pk=pk)


class RefreshView(AssetCommandView):
    @extend_schema(
        summary="Fetch the metadata again from the source",
        operation_id="assets_refresh",
        request=EmptyInput,
        responses={202: AssetSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        asset = self.get_asset(pk)
        checked(EmptyInput, request.data)
        return accepted(services.request_refresh(asset=asset, user=request.user))


class PreviewView(AssetCommandView):
    @extend_schema(
        summary="Fetch pictures that are missing or failed",
        operation_id="assets_preview",
        request=EmptyInput,
        responses={202: AssetSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        asset = self.get_asset(pk)
        checked(EmptyInput, request.data)
        services.request_previews(asset=asset, user=request.user)
        return accepted(self.get_asset(pk))


class VerifyView(AssetCommandView):
    @extend_schema(
        summary="Hash the file again",
        operation_id="assets_verify",
        request=EmptyInput,
        responses={202: AssetSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        asset = self.get_asset(pk)
        checked(EmptyInput, request.data)
        return accepted(services.request_verify(asset=asset, user=request.user))


class AcceptView(AssetCommandView):
    @extend_schema(
        summary="Take a flagged asset out of quarantine",
        operation_id="assets_accept",
        request=AcceptInput,
        responses={202: AssetSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        asset = self.get_asset(pk)
        options = checked(AcceptInput, request.data)
        return accepted(
            services.accept_asset(asset=asset, user=request.user, reason=options["reason"])
        )


class RefreshManyView(APIView):
    permission_classes = (HasPermission,)
    required_permissions = {"*": EDIT_CATALOG}

    @extend_schema(
        summary="Fetch the metadata of many assets again",
        operation_id="assets_refresh_many",
        request=RefreshManyInput,
        responses={202: RefreshManyAnswer},
    )
    def post(self, request: Request) -> Response:
        options = checked(RefreshManyInput, request.data)
        assets = all_assets()
        if "ids" in options:
            assets = assets.filter(pk__in=options["ids"])
        count = services.request_refresh_many(user=request.user, assets=assets)
        return Response({"requested": count}, status=status.HTTP_202_ACCEPTED)


class ByHashView(APIView):
    @extend_schema(
        summary="The asset with that digest",
        description="SHA-256, BLAKE3, git SHA-1, AutoV3, AutoV2 or CRC32. Of several assets the "
        "active and oldest one.",
        operation_id="assets_by_hash",
        parameters=[OpenApiParameter("digest", str, OpenApiParameter.PATH)],
        responses={200: AssetDetailSerializer},
    )
    def get(self, request: Request, digest: str) -> Response:
        values = checked(DigestInput, {"digest": digest})
        active_first = Case(When(status=AssetStatus.ACTIVE, then=Value(0)), default=Value(1))
        found = all_assets().with_digest(values["digest"]).order_by(active_first, "pk").first()
        if found is None:
            raise Http404
        return Response(AssetDetailSerializer(found).data)


class PreviewFileView(APIView):
    content_negotiation_class = AnyAccept

    @extend_schema(
        summary="A picture of an asset",
        operation_id="assets_preview_file",
        responses={(200, PICTURE_TYPE): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, pk: int, position: int) -> HttpResponse | FileResponse:
        asset = get_object_or_404(Asset, pk=pk)
        preview = asset.previews.filter(position=position, status="ready").first()
        path = preview_path(preview) if preview else None
        if path is None:
            raise Http404
        return HttpResponse(path.read_bytes(), content_type=PICTURE_TYPE, headers=PICTURE_HEADERS)


class ThumbnailView(APIView):
    content_negotiation_class = AnyAccept

    @extend_schema(
        summary="A picture from a source, fetched and shrunk by the server",
        operation_id="previews_thumbnail",
        parameters=[
            OpenApiParameter(
                "token", str, required=True, description="Signed by the page's server."
            )
        ],
        responses={(200, PICTURE_TYPE): OpenApiTypes.BINARY},
    )
    def get(self, request: Request) -> HttpResponse:
        url = read_signed(request.query_params.get("token", ""))
        return HttpResponse(
            fetch_thumbnail(url), content_type=PICTURE_TYPE, headers=PICTURE_HEADERS
        )


class RulesView(APIView):
    permission_classes = (HasPermission,)
    required_permissions = {"GET": SEE_RULES, "*": EDIT_RULES}


class RuleFilter(filters.FilterSet):
    class Meta:
        model = PlacementRule
        fields = ("model_type", "is_active")


@extend_schema_view(
    get=extend_schema(summary="Placement rules", operation_id="placement_rules_list"),
    post=extend_schema(
        summary="Add a placement rule",
        operation_id="placement_rules_create",
        request=RuleInput,
        responses={201: RuleSerializer},
    ),
)
class RuleListView(RulesView, generics.ListAPIView[PlacementRule]):
    serializer_class = RuleSerializer
    filterset_class = RuleFilter
    queryset = PlacementRule.objects.all()

    def post(self, request: Request) -> Response:
        values = checked(RuleInput, request.data)
        rule = services.create_rule(user=request.user, **values)
        return Response(RuleSerializer(rule).data, status=status.HTTP_201_CREATED)


@extend_schema_view(
    get=extend_schema(summary="One placement rule", operation_id="placement_rules_get"),
    patch=extend_schema(
        summary="Change a placement rule",
        operation_id="placement_rules_edit",
        request=RuleInput(partial=True),
        responses={200: RuleSerializer},
    ),
    delete=extend_schema(
        summary="Delete a placement rule",
        operation_id="placement_rules_delete",
        responses={204: None},
    ),
)
class RuleView(RulesView, generics.RetrieveAPIView[PlacementRule]):
    serializer_class = RuleSerializer
    queryset = PlacementRule.objects.all()

    def patch(self, request: Request, pk: int) -> Response:
        rule = self.get_object()
        changes = checked(RuleInput, request.data, partial=True)
        rule = services.update_rule(rule=rule, user=request.user, **changes)
        return Response(RuleSerializer(rule).data)

    def delete(self, request: Request, pk: int) -> Response:
        services.delete_rule(rule=self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RulePreviewView(APIView):
    permission_classes = (HasPermission,)
    required_permissions = {"*": SEE_RULES}

    @extend_schema(
        summary="Where would such a file go, and which rule decides?",
        operation_id="placement_rules_preview",
        request=PlacementQuestion,
        responses={200: PlacementAnswer},
    )
    def post(self, request: Request) -> Response:
        question = checked(PlacementQuestion, request.data)
        return Response(PlacementAnswer(services.preview_placement(**question)).data)
