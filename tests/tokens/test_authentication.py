from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from rest_framework.test import APIClient

from ops.models import AuditEvent
from tests.tokens.conftest import client_of
from tokens import services
from tokens.models import ApiKey

pytestmark = pytest.mark.django_db

PATH = "/api/user/api-tokens"


def ask(header: str, client: APIClient | None = None) -> Any:
    return (client or APIClient()).get(PATH, headers={"Authorization": header})


def test_a_key_opens_the_api(user: Any) -> None:
    _, plain = services.create_api_key(user=user)
    assert ask(f"Bearer {plain}").status_code == 200
    assert ask(f"bearer  {plain} ").status_code == 200


def test_without_anything_it_is_a_401_that_names_the_scheme(db: None) -> None:
    answer = APIClient().get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="Modelyard"'


def wrong_keys() -> list[str]:
    return ["", "x", "my_", "my_aaaaaaaa_", "my_aaaaaaaa_" + "b" * 43, "my_AAAAAAAA_" + "b" * 43,
            "my_aaaaaaaa_" + "b" * 5000, "hf_" + "x" * 30, "ä" * 50, "my_aaaaaaaa_' or 1=1 --"]  # fmt: skip


@pytest.mark.parametrize("text", wrong_keys())
def test_a_wrong_key_is_a_401_even_beside_a_session(user: Any, text: str) -> None:
    answer = client_of(user).generic("GET", PATH, HTTP_AUTHORIZATION=f"Bearer {text}")
    assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_the_right_prefix_with_another_secret_does_not_open(user: Any) -> None:
    _, plain = services.create_api_key(user=user)
    assert ask(f"Bearer {plain[:-1]}{'A' if plain[-1] != 'A' else 'B'}").status_code == 401
    assert ask(f"Bearer {plain[:12]}{'c' * 43}").status_code == 401


def test_a_revoked_key_and_one_of_an_inactive_user_do_not_open(user: Any, other: Any) -> None:
    key, plain = services.create_api_key(user=user)
    services.revoke_api_key(key=key, actor=user)
    assert ask(f"Bearer {plain}").status_code == 401
    _, plain = services.create_api_key(user=other)
    other.is_active = False
    other.save()
    assert ask(f"Bearer {plain}").status_code == 401


def test_another_scheme_leaves_the_session_to_decide(user: Any) -> None:
    assert ask("Basic YTpi").status_code == 401
    assert ask("Basic YTpi", client_of(user)).status_code == 200


def test_last_use_is_written_at_most_once_a_minute(user: Any) -> None:
    key, plain = services.create_api_key(user=user)
    start = timezone.now().replace(microsecond=0)
    with time_machine.travel(start, tick=False) as clock:
        for seconds, expected in ((0, 0), (30, 0), (31, 61)):
            clock.shift(seconds)
            ask(f"Bearer {plain}")
            key.refresh_from_db()
            assert key.last_used_at == start + timedelta(seconds=expected)


def test_only_a_hash_of_the_key_is_kept(user: Any) -> None:
    key, plain = services.create_api_key(user=user, name="laptop")
    row = str(ApiKey.objects.filter(pk=key.pk).values().get())
    assert plain not in row
    assert plain.split("_", 2)[2] not in row
    log = str(list(AuditEvent.objects.values()))
    assert plain.split("_", 2)[2] not in log


def test_keys_differ(user: Any) -> None:
    made = {services.create_api_key(user=user)[1] for _ in range(20)}
    assert len(made) == 20


def test_revoking_twice_is_one_entry_in_the_log(user: Any) -> None:
    key, _ = services.create_api_key(user=user)
    services.revoke_api_key(key=key, actor=user)
    services.revoke_api_key(key=key, actor=user)
    assert AuditEvent.objects.filter(action="api_key.revoked").count() == 1
