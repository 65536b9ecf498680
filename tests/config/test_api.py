"""Every error in one shape: from views, from outside of views, from the server in front."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from config import urls
from config.api import StrictSerializer
from config.asgi import BodyLimit
from config.errors import ModelyardError
from tests.factories import make_admin, make_user


class Busy(ModelyardError):
    code = "busy"
    http_status = 503
    retry_after_s = 0.2


class Wanted(StrictSerializer):
    number = serializers.IntegerField(min_value=1, max_value=9)
    inner = serializers.DictField(child=serializers.IntegerField(), required=False)


RAISES: dict[str, Exception] = {
    "ours": ModelyardError("It did not work.", status="paused"),
    "busy": Busy("Later."),
    "404": Http404("secret place"),
    "denied": PermissionDenied("secret reason"),
    "throttled": exceptions.Throttled(wait=7.5),
    "validation": exceptions.ValidationError({"inner": [{"name": ["too short"]}]}),
    "broken": ZeroDivisionError("token=very-secret"),
}


class Raising(APIView):
    permission_classes = ()

    def get(self, request: Request, which: str) -> Response:
        raise RAISES[which]

    def post(self, request: Request, which: str) -> Response:
        form = Wanted(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(form.validated_data)


def plain_view(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("token=very-secret")


urlpatterns = [
    path("api/raise/<str:which>", Raising.as_view()),
    path("api/plain", plain_view),
    path("plain", plain_view),
    path("login", plain_view, name="login"),
    path("", include(urls.urlpatterns)),
]
handler400, handler403, handler404, handler500 = (
    urls.handler400, urls.handler403, urls.handler404, urls.handler500,
)  # fmt: skip

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def get(which: str) -> Any:
    return APIClient(raise_request_exception=False).get(f"/api/raise/{which}")


def test_our_errors_keep_code_message_and_facts() -> None:
    answer = get("ours")
    assert answer.status_code == 400
    assert answer.json() == {
        "code": "error", "message": "It did not work.", "details": {"status": "paused"},
    }  # fmt: skip


def test_an_error_that_passes_says_when() -> None:
    assert (get("busy").status_code, get("busy")["Retry-After"]) == (503, "1")
    assert (get("throttled").status_code, get("throttled")["Retry-After"]) == (429, "8")


@pytest.mark.parametrize(("which", "status"), [("404", 404), ("denied", 403)])
def test_reasons_meant_for_nobody_are_not_told(which: str, status: int) -> None:
    answer = get(which)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message", "details"}
    assert "secret" not in answer.content.decode()


def test_a_refused_field_is_named_however_deep() -> None:
    answer = get("validation")
    assert answer.json()["message"] == "name: too short"
    assert answer.json()["details"] == {"inner": [{"name": ["too short"]}]}


@pytest.mark.parametrize("address", ["/api/raise/broken", "/api/plain"])
def test_what_breaks_unexpectedly_is_a_bare_500_and_the_log_has_it(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = APIClient(raise_request_exception=False).get(address)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["details"] == {}
    assert "secret" not in answer.content.decode()
    assert "ZeroDivisionError" in caplog.text


def test_a_page_that_breaks_is_a_page() -> None:
    answer = Client(raise_request_exception=False).get("/plain")
    assert answer.status_code == 500
    assert answer["Content-Type"].startswith("text/html")
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize(
    "address", ["/api", "/api/", "/api/none", "/api/none/", "/metrics/", "/api/%2e%2e"]
)
def test_no_route_below_the_api_is_json(address: str) -> None:
    answer = Client().get(address)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_no_route_elsewhere_is_a_page() -> None:
    answer = Client().get("/none")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


def test_a_nul_in_the_address_is_a_400() -> None:
    for address in ("/api/none%00", "/api/user/api-keys?cursor=%00", "/none?x=%00"):
        assert Client().get(address).status_code == 400


def test_a_host_that_is_not_ours_is_a_400(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["models.example.org"]
    answer = Client().get("/api/none", headers={"Host": "evil.example"})
    assert answer.status_code in {400, 404}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"number": 0}, "number"), ({"number": -1}, "number"), ({"number": 10**12}, "number"),
        ({"number": 10**40}, "number"), ({"number": []}, "number"), ({"number": {}}, "number"),
        ({"number": None}, "number"), ({"number": "x"}, "number"), ({"number": 1.5}, "number"),
        ({"number": 5, "is_admin": True}, "is_admin"), ({"Number": 5}, "Number"),
        ({"number": 5, "inner": {"a": "x"}}, "inner"), ({}, "number"),
    ],
)  # fmt: skip
def test_b12_a_strange_value_is_a_400_that_names_the_field(body: Any, name: str) -> None:
    answer = APIClient().post("/api/raise/x", body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert name in answer.json()["details"]


def test_a_flood_of_unknown_fields_is_answered_briefly() -> None:
    body = {f"field{number}{'x' * 200}": 1 for number in range(1000)}
    answer = APIClient().post("/api/raise/x", body, format="json")
    assert answer.status_code == 400
    assert len(answer.content) < 10_000


def test_a_large_body_is_a_413() -> None:
    answer = APIClient().post("/api/raise/x", {"number": "x" * 2_000_000}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


# --- The description of the API ---------------------------------------------------------------------


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_description_needs_a_login() -> None:
    assert Client().get("/api/schema").status_code == 401
    assert Client().get("/api/docs").status_code == 302
    client = client_of(make_user())
    schema = client.get("/api/schema")
    assert (schema.status_code, schema["Content-Type"]) == (200, "application/json")
    assert schema.json()["openapi"].startswith("3.")
    docs = client.get("/api/docs")
    assert docs.status_code == 200
    assert "script-src 'self';" in docs["Content-Security-Policy"]
    assert "<script>" not in docs.content.decode()
    assert client.get("/api/docs?script=1").status_code == 200


@pytest.mark.parametrize(
    "query", ["version=%0d%0aX-Evil:1", "lang=xx-%0a", "lang=../..", "format=x"]
)
def test_the_description_does_what_it_does_whatever_is_asked(query: str) -> None:
    answer = client_of(make_user()).get(f"/api/schema?{query}")
    assert answer.status_code == 200
    assert "X-Evil" not in answer.headers


def test_the_description_can_be_yaml() -> None:
    client = client_of(make_admin())
    answer = client.get("/api/schema", headers={"Accept": "application/vnd.oai.openapi"})
    assert answer.content.startswith(b"openapi: 3")


# --- The limit in front of everything ---------------------------------------------------------------


class Inner:
    """An ASGI application that reads everything, as Django does."""

    def __init__(self) -> None:
        self.received = 0
        self.was_disconnected = False
        self.was_called = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.was_called = True
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.was_disconnected = True
                return
            self.received += len(message.get("body", b""))
            if not message.get("more_body"):
                return


def run_limit(chunks: list[bytes], headers: list[tuple[bytes, bytes]]) -> tuple[Inner, list[Any]]:
    inner, sent = Inner(), []
    left = list(chunks)

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": headers}
    asyncio.run(BodyLimit(inner, 100)(scope, receive, send))
    return inner, sent


def test_a_small_body_passes() -> None:
    inner, sent = run_limit([b"x" * 50, b"y" * 50], [(b"content-length", b"100")])
    assert (inner.received, inner.was_disconnected, sent) == (100, False, [])


def test_a_declared_length_that_is_too_large_is_a_413_before_a_byte_is_read() -> None:
    inner, sent = run_limit([b"x"], [(b"content-length", b"1073741824")])
    assert not inner.was_called
    assert sent[0]["status"] == 413
    assert b'"body_too_large"' in sent[1]["body"]


def test_a_body_without_a_length_is_a_413_when_it_has_grown_too_large() -> None:
    inner, sent = run_limit([b"x" * 60] * 1000, [])
    assert inner.was_disconnected
    assert inner.received == 60
    assert sent[0]["status"] == 413
