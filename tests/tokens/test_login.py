from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import HttpResponse
from django.template import engines
from django.test import Client, RequestFactory
from django.urls import include, path

from config import urls
from ops.models import AuditEvent
from tokens.errors import TooManyLogins
from tokens.login import FAILURES_PER_ADDRESS, LimitedLoginView, begin_attempt, end_attempt
from tokens.models import LoginFailure


class PlainLogin(LimitedLoginView):
    """The view without the pages' template."""

    def render_to_response(self, context: Any, **kwargs: Any) -> HttpResponse:
        template = engines["django"].from_string("{{ limit_message }}{{ form.errors }}")
        return HttpResponse(template.render({**context}), **kwargs)


urlpatterns = [path("login", PlainLogin.as_view(next_page="/healthz"), name="login")]
urlpatterns += [path("", include(urls.urlpatterns))]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=False) as travelled:
        yield travelled


def sign_in(client: Client, password: str, name: str = "alice", address: str = "10.0.0.1") -> Any:
    body = {"username": name, "password": password}
    return client.post("/login", body, REMOTE_ADDR=address)


def test_the_sixth_try_is_a_429_even_with_the_right_password(user: Any) -> None:
    client = Client()
    for _ in range(5):
        assert sign_in(client, "wrong").status_code == 200
    answer = sign_in(client, "secret-pass-1")
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 15 * 60 + 1
    assert "Try again in 16 minutes" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_after_the_window_the_right_password_opens(user: Any, clock: Any) -> None:
    client = Client()
    for _ in range(5):
        sign_in(client, "wrong")
    wait = int(sign_in(client, "wrong")["Retry-After"])
    clock.shift(wait)
    assert sign_in(client, "secret-pass-1").status_code == 302
    assert not LoginFailure.objects.exists()


def test_refused_tries_do_not_lengthen_the_wait(user: Any, clock: Any) -> None:
    client = Client()
    for _ in range(5):
        sign_in(client, "wrong")
    first = int(sign_in(client, "wrong")["Retry-After"])
    clock.shift(600)
    assert int(sign_in(client, "wrong")["Retry-After"]) == first - 600


def test_another_name_and_another_address_are_counted_apart(user: Any, other: Any) -> None:
    for _ in range(6):
        sign_in(Client(), "wrong")
    assert sign_in(Client(), "secret-pass-1", name="bob").status_code == 302
    assert sign_in(Client(), "secret-pass-1", address="10.0.0.2").status_code == 302


def test_case_does_not_make_another_name(user: Any) -> None:
    for name in ("alice", "ALICE", "Alice", "aLICE", "alicE"):
        sign_in(Client(), "wrong", name=name)
    assert sign_in(Client(), "wrong").status_code == 429


def test_a_right_password_takes_the_failures_back(user: Any) -> None:
    for _ in range(4):
        sign_in(Client(), "wrong")
    assert sign_in(Client(), "secret-pass-1").status_code == 302
    for _ in range(5):
        assert sign_in(Client(), "wrong").status_code == 200


def test_many_names_from_one_address_end_too() -> None:
    for number in range(FAILURES_PER_ADDRESS):
        begin_attempt(username=f"u{number}", address="10.0.0.9")
    with pytest.raises(TooManyLogins):
        begin_attempt(username="one-more", address="10.0.0.9")


def test_a_made_up_forwarding_header_changes_nothing(user: Any) -> None:
    for number in range(5):
        Client().post(
            "/login", {"username": "alice", "password": "x"},
            REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=f"1.2.3.{number}",
        )  # fmt: skip
    assert sign_in(Client(), "wrong").status_code == 429


def test_names_are_not_kept_in_the_clear(user: Any) -> None:
    sign_in(Client(), "wrong", name="alice")
    assert "alice" not in str(LoginFailure.objects.values())


@pytest.mark.parametrize("name", ["", "x" * 10_000, "nul\0", "\ud800", "' or 1=1 --", "😀"])
def test_strange_names_are_counted_like_others(name: str) -> None:
    for _ in range(5):
        begin_attempt(username=name, address="")
    with pytest.raises(TooManyLogins):
        begin_attempt(username=name, address="")


def test_logins_and_failures_are_in_the_audit_log_without_the_password(user: Any) -> None:
    client = Client()
    sign_in(client, "wrong-pass-77")
    sign_in(client, "secret-pass-1")
    client.logout()
    entries = AuditEvent.objects.order_by("pk")
    assert [entry.action for entry in entries] == ["login.failed", "login", "logout"]
    assert "wrong-pass-77" not in str(list(entries.values()))


def test_the_consoles_own_login_leads_to_ours(user: Any) -> None:
    answer = Client().get("/admin/login/?next=/admin/tokens/")
    assert answer.status_code == 302
    assert answer["Location"] == "/login?next=/admin/tokens/"
    signed_in = Client()
    signed_in.force_login(user)
    assert signed_in.get("/admin/login/").status_code == 403


def test_a_form_without_the_csrf_token_is_refused(user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    assert sign_in(client, "secret-pass-1").status_code == 403
    assert not LoginFailure.objects.exists()


def test_the_view_is_django_s_with_the_limit_in_front() -> None:
    request = RequestFactory().get("/login")
    request.user = AnonymousUser()
    assert PlainLogin.as_view()(request).status_code == 200


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_tries_sent_at_once_do_not_slip_past_the_count() -> None:
    def attempt(_number: int) -> bool:
        try:
            begin_attempt(username="alice", address="10.0.0.1")
        except TooManyLogins:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(12) as pool:
        admitted = sum(pool.map(attempt, range(24)))
    assert 1 <= admitted <= 5
    end_attempt(LoginFailure.objects.earliest("pk"))
    assert not LoginFailure.objects.exists()
