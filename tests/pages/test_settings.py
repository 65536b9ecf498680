from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.factories import make_user
from tests.origin import Origin
from tokens import services
from tokens.models import ApiKey, ApiToken

pytestmark = pytest.mark.django_db


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_a_token_is_saved_tested_and_forgotten(visitor: Client, wired: Origin) -> None:
    token = wired.civitai.token
    save = reverse("token-save", args=["civitai"])
    page = text_of(visitor.post(save, {"token": f" {token}\n"}, follow=True))
    assert "valid" in page
    assert token[-4:] in page
    assert token not in page
    page = text_of(visitor.post(reverse("token-check", args=["civitai"]), follow=True))
    assert "the token is valid" in page
    visitor.post(reverse("token-delete", args=["civitai"]))
    assert not ApiToken.objects.exists()


def test_a_refused_token_says_so_beside_its_field(visitor: Client, wired: Origin) -> None:
    answer = visitor.post(reverse("token-save", args=["civitai"]), {"token": "wrong-wrong-wrong"})
    assert answer.status_code == 400
    assert 'id="error-civitai"' in text_of(answer)
    assert "wrong-wrong-wrong" not in text_of(answer)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("token", ["", "  ", "a b", "x" * 600, "line\nbreak", "a\0b"])
def test_what_cannot_be_a_token_is_refused(visitor: Client, token: str) -> None:
    answer = visitor.post(reverse("token-save", args=["civitai"]), {"token": token})
    assert answer.status_code == 400
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("name", ["token-save", "token-check", "token-delete"])
def test_an_unknown_service_is_refused(visitor: Client, name: str) -> None:
    answer = visitor.post(reverse(name, args=["myspace"]), {"token": "x" * 20})
    assert answer.status_code in {400, 404}


def test_a_new_key_is_shown_once_and_works(visitor: Client, client: Client) -> None:
    answer = visitor.post(reverse("key-create"), {"name": "<b>farm</b>"})
    page = text_of(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    key = ApiKey.objects.get()
    plain = page[page.index(f"my_{key.prefix}_") :].split("<")[0].split('"')[0]
    assert "<b>farm" not in page
    assert plain not in text_of(visitor.get(reverse("settings")))
    answer = Client().get("/api/downloads/limits", HTTP_AUTHORIZATION=f"Bearer {plain}")
    assert answer.status_code == 200
    visitor.post(reverse("key-revoke", args=[key.pk]))
    answer = Client().get("/api/downloads/limits", HTTP_AUTHORIZATION=f"Bearer {plain}")
    assert answer.status_code == 401


def test_somebody_elses_key_is_not_mine_to_end(visitor: Client) -> None:
    key, _plain = services.create_api_key(user=make_user("other"))
    answer = visitor.post(reverse("key-revoke", args=[key.pk]))
    assert answer.status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None


@pytest.mark.parametrize(
    ("wanted", "after", "cookie", "location"),
    [
        ("dark", "/library", "dark", "/library"),
        ("light", "https://evil.example/", "light", "/settings"),
        ("dark", "//evil.example/", "dark", "/settings"),
        ('"><script>', "/", None, "/"),
    ],
)
def test_the_theme_is_a_cookie(
    client: Client, wanted: str, after: str, cookie: str | None, location: str
) -> None:
    answer = client.post(reverse("theme"), {"theme": wanted, "next": after})
    assert answer.headers["Location"] == location
    morsel = answer.cookies.get("theme")
    assert (morsel.value if morsel else None) == cookie
    assert client.get(reverse("theme")).status_code == 405


def test_a_made_up_theme_changes_nothing(visitor: Client) -> None:
    visitor.cookies["theme"] = '"><script>alert(1)</script>'
    assert "<script>alert" not in text_of(visitor.get("/settings"))


def test_signing_in_and_out(client: Client, creator: User) -> None:
    page = client.get("/login?next=/library")
    assert 'name="next" value="/library"' in text_of(page)
    wrong = client.post("/login", {"username": "creator", "password": "no", "next": "/library"})
    assert 'role="alert"' in text_of(wrong)
    form = {"username": "creator", "password": "secret-pass-1", "next": "/library"}
    assert client.post("/login", form).headers["Location"] == "/library"
    assert client.post("/logout").headers["Location"] == "/login"
    assert client.get("/library").headers["Location"].startswith("/login")


def test_too_many_wrong_passwords_are_said_on_the_page(client: Client, creator: User) -> None:
    for _ in range(5):
        client.post("/login", {"username": "creator", "password": "no"})
    answer = client.post("/login", {"username": "creator", "password": "secret-pass-1"})
    assert answer.status_code == 429
    assert "Too many wrong passwords" in text_of(answer)


def test_errors_have_pages(visitor: Client, client: Client, settings: Any) -> None:
    assert "Nothing here" in text_of(visitor.get("/no-such-page"))
    assert "Nothing here" in text_of(Client().get("/no-such-page"))
    assert "Not allowed" in text_of(visitor.get(reverse("placement")))
    assert visitor.get("/library/99999999999999999999999").status_code == 404
