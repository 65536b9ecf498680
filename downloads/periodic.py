"""What runs by the clock, and what operators can see: jobs, metrics, health."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Min, Sum
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from downloads import reconciler, tasks
from downloads.models import Download, Slot, Sweep
from downloads.states import RUNNING, DownloadStatus
from ops.health import check
from ops.jobs import Hook, job
from ops.metrics import collector

S = DownloadStatus

#: So many passes may be missed before the health check says so.
MISSED_PASSES = 4
LEAST_ALARM = timedelta(minutes=2)


@job(
    reconciler.NAME,
    name="Reconcile downloads",
    description="Finds downloads that should be running and starts them again.",
    every_s=settings.RECONCILE_SECONDS,
    hooks=(Hook.STARTUP,),
)
def reconcile() -> None:
    tasks.send_stages(reconciler.reconcile())


@job(
    "downloads.stale_partials",
    name="Delete stale partials",
    description="Deletes unfinished bytes that no download needs any more.",
    cron="17 * * * *",
)
def delete_stale_partials() -> None:
    reconciler.delete_stale_partials()


@check("downloads")
def reconciler_is_alive() -> str | None:
    """The last pass is recent; without one, nothing that was lost is found again."""
    finished = (
        Sweep.objects.filter(name=reconciler.NAME).values_list("finished_at", flat=True).first()
    )
    if finished is None:
        return "no pass of the reconciler has finished yet"
    age = timezone.now() - finished
    limit = max(LEAST_ALARM, timedelta(seconds=settings.RECONCILE_SECONDS * MISSED_PASSES))
    if age > limit:
        return f"the last pass of the reconciler was {int(age.total_seconds())} seconds ago"
    return None


@collector("downloads")
def collect() -> Iterable[Metric]:
    yield from _rows()
    yield _gauge(
        "modelyard_download_slots_taken",
        "Slots that run a download.",
        Slot.objects.filter(download__isnull=False).count(),
    )
    oldest = Download.objects.waiting().aggregate(oldest=Min("created_at"))["oldest"]
    age = (timezone.now() - oldest).total_seconds() if oldest else 0.0
    yield _gauge("modelyard_queue_oldest_seconds", "Age of the oldest waiting download.", age)
    speed = Download.objects.files().filter(status=S.DOWNLOADING)
    yield _gauge(
        "modelyard_download_bytes_per_second",
        "Speed of all downloads together.",
        speed.aggregate(speed=Sum("download_speed_bps"))["speed"] or 0,
    )
    finished = Sweep.objects.filter(name=reconciler.NAME).values_list("finished_at", flat=True)
    last = finished.first()
    yield _gauge(
        "modelyard_reconcile_age_seconds",
        "Time since the last pass of the reconciler.",
        (timezone.now() - last).total_seconds() if last else -1.0,
    )


def _rows() -> Iterator[Metric]:
    rows = {
        row["status"]: row
        for row in Download.objects.files()
        .values("status")
        .annotate(rows=Count("pk"), bytes=Sum("downloaded_bytes"))
        .order_by()
    }
    count = GaugeMetricFamily("modelyard_downloads", "Files by status.", labels=["status"])
    size = GaugeMetricFamily(
        "modelyard_download_bytes", "Bytes that came, by status.", labels=["status"]
    )
    for status in S:
        row = rows.get(status)
        count.add_metric([status], row["rows"] if row else 0)
        size.add_metric([status], (row["bytes"] or 0) if row else 0)
    yield count
    yield size
    failures = GaugeMetricFamily(
        "modelyard_download_failures", "Failed files by error code.", labels=["code"]
    )
    failed = Download.objects.files().filter(status=S.FAILED)
    for code in failed.values("error_code").annotate(rows=Count("pk")).order_by("error_code"):
        failures.add_metric([code["error_code"]], code["rows"])
    yield failures
    late = Download.objects.filter(status__in=RUNNING, lease_expires_at__lt=timezone.now()).count()
    yield _gauge("modelyard_expired_leases", "Running files whose worker is gone.", late)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
