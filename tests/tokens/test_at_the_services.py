"""The real client and resolver against a CivitAI and a Hub of our own, over sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.canaries import canary, traces
from tests.origin.server import Origin
from tests.tokens.conftest import client_of
from tokens import clients, services
from tokens.models import ApiToken, Service

pytestmark = pytest.mark.django_db


@pytest.fixture
def services_at(origin: Origin, settings: Any) -> Iterator[Origin]:
    settings.CIVITAI_ENDPOINT = origin.civitai_url
    settings.HF_ENDPOINT = origin.huggingface_url
    settings.OUTBOUND_ALLOW = ()
    yield origin
    clients.guarded_client().close()


def save(user: Any, service: str, token: str) -> Any:
    body = {"service_name": service, "token": token}
    return client_of(user).post("/api/user/api-tokens", body, format="json")


@pytest.mark.parametrize("service", Service.values)
def test_a_good_token_is_valid_with_its_account(
    services_at: Origin, user: Any, service: str
) -> None:
    answer = save(user, service, canary(service))
    assert answer.status_code == 201
    assert (answer.json()["validity"], answer.json()["account"]) == ("valid", "made_user")
    assert not traces(answer.content)


@pytest.mark.parametrize("service", Service.values)
def test_a_wrong_token_is_refused_and_not_stored(
    services_at: Origin, user: Any, service: str
) -> None:
    answer = save(user, service, canary(f"{service} nobody's"))
    assert (answer.status_code, answer.json()["code"]) == (400, "token_refused")
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("service", Service.values)
def test_a_service_that_is_away_leaves_the_token_unchecked(
    settings: Any, user: Any, service: str
) -> None:
    settings.CIVITAI_ENDPOINT = settings.HF_ENDPOINT = "http://127.0.0.1:1"
    answer = save(user, service, canary(service))
    assert (answer.status_code, answer.json()["validity"]) == (201, "unchecked")


def test_a_token_goes_to_its_own_service_only(services_at: Origin, user: Any) -> None:
    save(user, "civitai", canary("civitai"))
    credential = services.credential_for(user=user, service_name="civitai")
    assert credential is not None
    assert [origin.port for origin in credential.origins] == [
        int(services_at.civitai_url.rpartition(":")[2])
    ]
