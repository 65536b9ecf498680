"""The ways in: the API, the page, the command line and the resolver, with nothing replaced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from config.errors import ModelyardError, boundary
from downloads import pull
from downloads.exit_codes import exit_code_of
from downloads.models import Download
from sources.parse import parse_reference
from sources.resolution import Resolution
from tokens import clients


def is_queued() -> bool:
    """Whether anything was asked for yet; for a source, whose threads keep no connection."""
    try:
        return Download.objects.exists()
    finally:
        connection.close()


@dataclass(frozen=True)
class Pulled:
    """What `manage.py pull` would say: its exit code, its sentence, its JSON."""

    exit_code: int
    message: str
    values: dict[str, Any]


class Doors:
    """One person at all doors, signed in once, when it is needed."""

    def __init__(self, user: User) -> None:
        self.user = user

    @cached_property
    def page(self) -> Client:
        client = Client()
        client.force_login(self.user)
        return client

    @cached_property
    def api(self) -> APIClient:
        client = APIClient()
        client.cookies = self.page.cookies
        return client

    def post(self, path: str, **body: Any) -> Any:
        """`POST /api/downloads<path>`."""
        return self.api.post(f"/api/downloads{path}", body, format="json")

    def show(self, url: str) -> str:
        """The page's preview of a link."""
        answer = self.page.post("/downloads/resolve", {"url": url}, headers={"HX-Request": "true"})
        assert answer.status_code == 200, answer.content[:300]
        return str(answer.content.decode())

    def pull(self, url: str, **options: Any) -> Pulled:
        """What the command does, in this process; it sets nothing of the process up."""
        failures: list[ModelyardError] = []
        with boundary("pull", failures.append):
            report = pull.pull(
                user=self.user,
                url=url,
                options=options,
                should_stop=lambda: False,
                on_start=lambda _download: None,
                on_progress=lambda *_said: None,
            )
            return Pulled(int(report.exit_code), report.sentence, report.as_dict())
        (error,) = failures
        return Pulled(int(exit_code_of(error.code)), error.message, error.as_dict())

    def resolve(self, url: str) -> Resolution:
        """The resolver of the product, without its cache."""
        reference = parse_reference(url, clients.endpoints())
        return clients.resolver(cached=False).resolve(reference, deadline_s=10)
