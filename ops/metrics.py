"""Figures for Prometheus, read from the database at the moment of the question.

    @collector("downloads")
    def downloads() -> Iterable[Metric]:
        family = GaugeMetricFamily("modelyard_downloads", "Downloads by status.", labels=["status"])
        ...
        yield family

Counters per process would lie with several processes; the rows are the truth for all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from config.errors import ModelyardError, boundary

logger = logging.getLogger(__name__)

Collect = Callable[[], Iterable[Metric]]

collectors: dict[str, Collect] = {}


def collector(name: str) -> Callable[[Collect], Collect]:
    """Register a function that yields metric families. The last one of a name counts."""

    def register(collect: Collect) -> Collect:
        collectors[name] = collect
        return collect

    return register


class _Everything:
    """All collectors as one. One that fails is left out and says so in `modelyard_collector_up`."""

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "modelyard_collector_up", "1 when the collector answered.", labels=["collector"]
        )
        for name, collect in sorted(collectors.items()):
            families, works = _families(name, collect)
            up.add_metric([name], 1.0 if works else 0.0)
            yield from families
        yield up

    def describe(self) -> list[Metric]:
        return []


def _families(name: str, collect: Collect) -> tuple[list[Metric], bool]:
    errors: list[ModelyardError] = []
    families: list[Metric] = []
    with boundary(f"The metrics collector {name}", errors.append):
        families = list(collect())
    return families, not errors


def render() -> str:
    """All figures in Prometheus' text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Everything())
    return generate_latest(registry).decode()
