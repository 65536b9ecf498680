"""A service that knows some tokens, without the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from rest_framework.test import APIClient

from sources.errors import SourceUnavailable, TokenRejected
from tests.canaries import canary
from tests.factories import make_user
from tokens import clients
from transfer.http import Credential


@dataclass
class Services:
    """Stands in for the resolver: accounts by token, and a switch for "does not answer"."""

    accounts: dict[str, str] = field(default_factory=dict)
    is_down: bool = False
    asked: list[Credential] = field(default_factory=list)

    def check_token(self, service: str, credential: Credential) -> str:
        self.asked.append(credential)
        if self.is_down:
            raise SourceUnavailable("The service does not answer.")
        if credential.secret not in self.accounts:
            raise TokenRejected("The token is wrong.")
        return self.accounts[credential.secret]


@pytest.fixture
def token() -> str:
    return canary("civitai")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, token: str) -> Services:
    stand_in = Services({token: "alice-at-civitai"})
    monkeypatch.setattr(clients, "resolver", lambda **_kwargs: stand_in)
    return stand_in


@pytest.fixture
def user(db: None) -> Any:
    return make_user("alice", "downloads.request_content")


@pytest.fixture
def other(db: None) -> Any:
    return make_user("bob")


def client_of(user: Any) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client
