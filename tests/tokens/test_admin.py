from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client

from ops.models import AuditEvent
from tests.canaries import canary, traces
from tests.factories import make_admin
from tests.tokens.conftest import Services
from tokens import services
from tokens.models import ApiKey, ApiToken

pytestmark = pytest.mark.django_db

TOKENS = "/admin/tokens/apitoken/"
KEYS = "/admin/tokens/apikey/"


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(make_admin("root"))
    return client


def test_a_token_can_be_written_and_never_read(
    console: Client, user: Any, known: Services, token: str
) -> None:
    body = {"user": user.pk, "service_name": "civitai", "token": f" Bearer {token}"}
    assert console.post(f"{TOKENS}add/", body).status_code == 302
    row = ApiToken.objects.get()
    assert (row.user, row.account) == (user, "alice-at-civitai")
    credential = services.credential_for(user=user, service_name="civitai")
    assert credential is not None
    assert credential.secret == token
    for page in (TOKENS, f"{TOKENS}{row.pk}/change/", f"{TOKENS}{row.pk}/history/"):
        answer = console.get(page)
        assert answer.status_code == 200
        assert not traces(answer.content)
    assert row.token_hint in console.get(TOKENS).content.decode()
    assert not traces(str(list(LogEntry.objects.values())))
    saved = AuditEvent.objects.get(action="token.saved")
    assert (saved.actor_name, saved.details["owner"]) == ("root", "alice")


def test_a_refused_token_is_an_error_of_the_form_and_not_shown(
    console: Client, user: Any, known: Services
) -> None:
    wrong = canary("wrong admin")
    body = {"user": user.pk, "service_name": "civitai", "token": wrong}
    answer = console.post(f"{TOKENS}add/", body)
    assert answer.status_code == 200
    assert "refuses this token" in answer.content.decode()
    assert not traces(answer.content)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("bad", ["", "two words", "ü" * 20, "x" * 20_000])
def test_b13_a_strange_token_is_an_error_of_the_form(
    console: Client, user: Any, known: Services, bad: str
) -> None:
    body = {"user": user.pk, "service_name": "civitai", "token": bad}
    answer = console.post(f"{TOKENS}add/", body)
    assert answer.status_code == 200
    assert not ApiToken.objects.exists()


def test_a_token_is_replaced_but_not_moved(
    console: Client, user: Any, other: Any, known: Services, token: str
) -> None:
    row = services.save_token(user=user, service_name="civitai", token=token)
    newer = canary("newer admin")
    known.accounts[newer] = "alice-2"
    body = {"user": other.pk, "service_name": "huggingface", "token": newer}
    assert console.post(f"{TOKENS}{row.pk}/change/", body).status_code == 302
    row.refresh_from_db()
    assert (row.user, row.service_name, row.account) == (user, "civitai", "alice-2")


def test_deleting_tokens_is_noted(console: Client, user: Any, known: Services, token: str) -> None:
    row = services.save_token(user=user, service_name="civitai", token=token)
    console.post(TOKENS, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert not ApiToken.objects.exists()
    assert AuditEvent.objects.get(action="token.deleted").actor_name == "root"


def test_a_new_key_is_shown_in_one_answer_and_kept_nowhere(console: Client, user: Any) -> None:
    answer = console.post(f"{KEYS}add/", {"user": user.pk, "name": "laptop"})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    key = ApiKey.objects.get()
    secret = answer.content.decode().split(f"my_{key.prefix}_")[1].split("<")[0]
    assert services.hash_key(f"my_{key.prefix}_{secret}") == key.key_hash
    for page in (KEYS, f"{KEYS}{key.pk}/change/"):
        assert secret not in console.get(page).content.decode()
    kept = [ApiKey, LogEntry, AuditEvent]
    assert secret not in str([list(model._default_manager.values()) for model in kept])
    assert secret not in str([session.get_decoded() for session in Session.objects.all()])


def test_keys_are_revoked_and_never_deleted(console: Client, user: Any) -> None:
    key, plain = services.create_api_key(user=user)
    assert console.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    console.post(KEYS, {"action": "revoke", "_selected_action": [key.pk]})
    assert AuditEvent.objects.get(action="api_key.revoked").actor_name == "root"
    answer = Client().get("/api/user/api-keys", headers={"Authorization": f"Bearer {plain}"})
    assert answer.status_code == 401


def test_a_key_can_be_renamed_and_nothing_else(console: Client, user: Any, other: Any) -> None:
    key, _ = services.create_api_key(user=user, name="old")
    before = key.key_hash
    body = {"name": "new", "user": other.pk, "prefix": "aaaaaaaa", "key_hash": "0" * 64}
    assert console.post(f"{KEYS}{key.pk}/change/", body).status_code == 302
    key.refresh_from_db()
    assert (key.name, key.user, key.key_hash) == ("new", user, before)
