from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from ops import metrics
from ops.metrics import collector
from tests.factories import make_admin, make_user
from tokens import services

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "collectors", {})


@collector("outside")
def outside() -> Iterable[Metric]:
    yield GaugeMetricFamily("modelyard_outside", "x", value=1)


def samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def watcher() -> APIClient:
    client = APIClient()
    client.force_login(make_user("watcher", "ops.view_analytics"))
    return client


def test_collectors_become_prometheus_text() -> None:
    @collector("queue")
    def queue() -> Iterable[Metric]:
        family = GaugeMetricFamily("modelyard_queue", "Waiting.", labels=["status"])
        family.add_metric(["queued"], 3)
        yield family

    answer = watcher().get("/metrics")
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(answer.content.decode())
    assert found["modelyard_queue[('status', 'queued')]"] == 3
    assert found["modelyard_collector_up[('collector', 'queue')]"] == 1


def test_a_collector_that_fails_is_left_out_and_says_so() -> None:
    @collector("broken")
    def broken() -> Iterable[Metric]:
        yield GaugeMetricFamily("modelyard_half", "x", value=1)
        raise ZeroDivisionError("token=abcdef")

    @collector("fine")
    def fine() -> Iterable[Metric]:
        yield GaugeMetricFamily("modelyard_fine", "x", value=1)

    text = watcher().get("/metrics").content.decode()
    found = samples(text)
    assert found["modelyard_collector_up[('collector', 'broken')]"] == 0
    assert found["modelyard_fine[]"] == 1
    assert "modelyard_half" not in text
    assert "abcdef" not in text


@pytest.mark.parametrize(
    "accept", ["text/plain", "application/openmetrics-text", "text/html", "*/*"]
)
def test_whatever_the_client_accepts_it_gets_the_one_format(accept: str) -> None:
    answer = watcher().get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200


def test_figures_are_for_who_may_see_them() -> None:
    assert APIClient().get("/metrics").status_code == 401
    plain_user: Any = make_user("bob", "downloads.request_content")
    client = APIClient()
    client.force_login(plain_user)
    assert client.get("/metrics").status_code == 403
    _, key = services.create_api_key(user=make_admin())
    bearer = APIClient(headers={"Authorization": f"Bearer {key}"})
    assert bearer.get("/metrics").status_code == 200
