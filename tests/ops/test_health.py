from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from ops import health
from ops.health import check

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    own: dict[str, Any] = {}
    monkeypatch.setattr(health, "checks", own)
    return own


def test_a_well_service_says_so_to_anybody(checks: dict[str, Any]) -> None:
    check("database")(health.database)
    check("broker")(health.broker)
    answer = APIClient().get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"broker": "ok", "database": "ok"}}
    assert answer["Cache-Control"] == "no-store"


def test_the_reason_of_a_failure_goes_to_the_log_only(
    checks: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    @check("disk")
    def disk() -> str | None:
        return "only 3 bytes left at /srv/secret-place"

    @check("broken")
    def broken() -> str | None:
        raise OSError("cannot open /etc/passwd")

    @check("fine")
    def fine() -> str | None:
        return None

    with caplog.at_level(logging.WARNING):
        answer = APIClient().get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "fail",
        "checks": {"disk": "fail", "broken": "fail", "fine": "ok"},
    }
    assert "only 3 bytes left" in caplog.text
    assert "cannot open" in caplog.text


def test_a_broker_that_is_away_is_a_failure(settings: Any, checks: dict[str, Any]) -> None:
    check("broker")(health.broker)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = APIClient().get("/healthz")
    assert (answer.status_code, answer.json()["checks"]["broker"]) == (503, "fail")


def test_a_database_that_is_away_is_a_failure(
    checks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check("database")(health.database)

    def gone() -> None:
        raise connection.Database.OperationalError("server closed the connection")

    monkeypatch.setattr(connection, "cursor", gone)
    answer = APIClient().get("/healthz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "fail"})


def test_a_wrong_key_does_not_keep_a_load_balancer_out() -> None:
    client = APIClient(headers={"Authorization": "Bearer junk", "Accept": "text/html"})
    assert client.get("/healthz").status_code in {200, 503}
    assert client.post("/healthz").status_code == 405
