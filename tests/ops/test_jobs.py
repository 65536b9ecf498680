from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery.schedules import crontab

from config.celery import app
from ops import jobs, tasks
from ops.jobs import Hook, job


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(jobs, "registry", {})
    monkeypatch.setattr(tasks, "registry", jobs.registry)
    return


def test_a_registered_function_stays_callable_and_runs_by_its_id() -> None:
    ran = []

    @job("x.sweep", name="Sweep", description="Sweeps.", every_s=30)
    def sweep() -> int:
        ran.append(1)
        return 7

    assert sweep() == 7
    tasks.run_job("x.sweep")
    assert ran == [1, 1]


def test_beat_gets_an_entry_with_queue_and_expiry() -> None:
    @job("x.sweep", name="Sweep", description="", every_s=30, queue="transfer")
    def sweep() -> None: ...

    entry = jobs.beat_schedule()["x.sweep"]
    assert entry["task"] == "ops.tasks.run_job"
    assert entry["args"] == ("x.sweep",)
    assert entry["schedule"].run_every.total_seconds() == 30
    assert entry["options"] == {"queue": "transfer", "expire_seconds": 30}


def test_cron_is_five_fields() -> None:
    @job("x.nightly", name="Nightly", description="", cron="20 3 * * *")
    def nightly() -> None: ...

    schedule = jobs.beat_schedule()["x.nightly"]["schedule"]
    assert isinstance(schedule, crontab)
    assert (schedule.hour, schedule.minute) == ({3}, {20})


def test_a_job_without_a_schedule_is_only_run_when_asked() -> None:
    @job("x.manual", name="By hand", description="", hooks=(Hook.STARTUP,))
    def manual() -> None: ...

    assert jobs.beat_schedule() == {}
    assert jobs.registry["x.manual"].hooks == (Hook.STARTUP,)


@pytest.mark.parametrize(
    "options", [{"every_s": 5, "cron": "* * * * *"}, {"every_s": 0}, {"every_s": -1}]
)
def test_a_schedule_that_makes_no_sense_stops_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError):
        job("x", name="", description="", **options)(lambda: None)


@pytest.mark.parametrize("cron", ["every day", "61 3 * * *", "* * * *", "a b c d e"])
def test_a_wrong_cron_line_stops_the_start(cron: str) -> None:
    with pytest.raises(RuntimeError, match="wrong cron line"):
        job("x", name="", description="", cron=cron)(lambda: None)
    assert "x" not in jobs.registry


def test_two_functions_cannot_share_an_id() -> None:
    def one() -> None: ...
    def two() -> None: ...

    job("x", name="", description="")(one)
    job("x", name="", description="")(one)
    with pytest.raises(RuntimeError, match="Two jobs"):
        job("x", name="", description="")(two)


def test_an_unknown_id_is_an_old_message_and_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tasks.run_job("gone")
    assert "no job gone" in caplog.text


def test_the_real_schedule_holds_what_the_packages_registered() -> None:
    assert "ops.expire-audit" in app.conf.beat_schedule
    assert all(entry["task"] in app.tasks for entry in app.conf.beat_schedule.values())
