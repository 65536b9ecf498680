"""`/api/user/api-tokens` (tokens of other services) and `/api/user/api-keys` (our own)."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tokens import services
from tokens.models import ApiKey, ApiToken, Service
from tokens.serializers import (
    CreateKeySerializer,
    KeySerializer,
    NewKeySerializer,
    SaveTokenSerializer,
    TokenSerializer,
)


def _user(request: Request) -> AbstractBaseUser:
    return cast("AbstractBaseUser", request.user)


class TokenListView(generics.ListAPIView[ApiToken]):
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.all()

    def get_queryset(self) -> QuerySet[ApiToken]:
        return super().get_queryset().filter(user=_user(self.request).pk)

    @extend_schema(operation_id="list_api_tokens")
    def get(self, request: Request) -> Response:
        return self.list(request)

    @extend_schema(
        operation_id="save_api_token",
        request=SaveTokenSerializer,
        responses={201: TokenSerializer},
        description="Checked at the service, then stored encrypted in place of the old one. "
        "A token that the service refuses is not stored (`token_refused`); when the service does "
        "not answer, it is stored as `unchecked`.",
    )
    def post(self, request: Request) -> Response:
        form = SaveTokenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = services.save_token(
            user=_user(request),
            service_name=form.validated_data["service_name"],
            token=form.validated_data["token"],
        )
        return Response(TokenSerializer(row).data, status=status.HTTP_201_CREATED)


class TokenView(APIView):
    @extend_schema(
        operation_id="delete_api_token",
        parameters=[
            OpenApiParameter("service", OpenApiTypes.STR, "path", enum=list(Service.values))
        ],
        responses={204: None},
    )
    def delete(self, request: Request, service: str) -> Response:
        services.delete_token(user=_user(request), service_name=service)
        return Response(status=status.HTTP_204_NO_CONTENT)


class KeyListView(generics.ListAPIView[ApiKey]):
    serializer_class = KeySerializer
    queryset = ApiKey.objects.filter(revoked_at__isnull=True)

    def get_queryset(self) -> QuerySet[ApiKey]:
        return super().get_queryset().filter(user=_user(self.request).pk)

    @extend_schema(operation_id="list_api_keys")
    def get(self, request: Request) -> Response:
        return self.list(request)

    @extend_schema(
        operation_id="create_api_key",
        request=CreateKeySerializer,
        responses={201: NewKeySerializer},
    )
    def post(self, request: Request) -> Response:
        form = CreateKeySerializer(data=request.data)
        form.is_valid(raise_exception=True)
        key, plain = services.create_api_key(user=_user(request), name=form.validated_data["name"])
        body = NewKeySerializer(key, context={"plain": plain}).data
        return Response(body, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class KeyView(APIView):
    @extend_schema(operation_id="revoke_api_key", responses={204: None})
    def delete(self, request: Request, key_id: int) -> Response:
        key = services.own_api_key(user=_user(request), key_id=key_id)
        services.revoke_api_key(key=key, actor=_user(request))
        return Response(status=status.HTTP_204_NO_CONTENT)
