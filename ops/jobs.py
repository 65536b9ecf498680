"""The registry of background jobs. Other packages fill it in their `periodic.py`:

    @job("downloads.reconcile", name="Reconcile downloads", description="…", every_s=30)
    def reconcile() -> None: ...

The beat schedule is built from it (`config.celery`); beat sends `ops.tasks.run_job` with the id,
and the worker looks the function up again. No model is imported here, because Celery loads this
before Django is ready.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from celery.schedules import ParseException, crontab, schedule

RUN_TASK = "ops.tasks.run_job"

Run = TypeVar("Run", bound=Callable[[], Any])


class Hook(enum.StrEnum):
    """Moments, beside the clock, at which a job wants to run."""

    STARTUP = "startup"
    REGISTRY_CHANGED = "registry_changed"
    USER_CREATED = "user_created"
    DOWNLOAD_COMPLETED = "download_completed"


class Shutdown(enum.StrEnum):
    """What a stop does to a running job."""

    CANCEL = "cancel"
    WAIT = "wait"


@dataclass(frozen=True)
class Job:
    """`every_s` seconds, or `cron` as five fields in `TIME_ZONE`, or neither: only when asked."""

    id: str
    name: str
    description: str
    run: Callable[[], Any]
    every_s: float | None = None
    cron: str = ""
    queue: str = "general"
    hooks: tuple[Hook, ...] = ()
    shutdown: Shutdown = Shutdown.CANCEL

    def schedule(self) -> schedule | crontab | None:
        if self.every_s is not None:
            return schedule(timedelta(seconds=self.every_s))
        return crontab.from_string(self.cron) if self.cron else None


registry: dict[str, Job] = {}


def job(
    job_id: str,
    *,
    name: str,
    description: str,
    every_s: float | None = None,
    cron: str = "",
    queue: str = "general",
    hooks: tuple[Hook, ...] = (),
    shutdown: Shutdown = Shutdown.CANCEL,
) -> Callable[[Run], Run]:
    """Register a function without arguments; it stays callable as it is.

    Raises RuntimeError for an id that another function has, and for a wrong schedule.
    """
    if every_s is not None and cron:
        raise RuntimeError(f"Job {job_id} has two schedules.")
    if every_s is not None and every_s <= 0:
        raise RuntimeError(f"Job {job_id} must not run all the time.")

    def register(run: Run) -> Run:
        known = registry.get(job_id)
        if known is not None and _place(known.run) != _place(run):
            raise RuntimeError(f"Two jobs have the id {job_id}.")
        made = Job(
            id=job_id,
            name=name,
            description=description,
            run=run,
            every_s=every_s,
            cron=cron,
            queue=queue,
            hooks=hooks,
            shutdown=shutdown,
        )
        _check_schedule(made)
        registry[job_id] = made
        return run

    return register


def _check_schedule(made: Job) -> None:
    try:
        made.schedule()
    except (ValueError, ParseException) as exc:
        raise RuntimeError(f"Job {made.id} has a wrong cron line: {made.cron!r}.") from exc


def _place(run: Callable[[], Any]) -> tuple[str, str]:
    return run.__module__, getattr(run, "__qualname__", repr(run))


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Entries for `config.beat`, in the words of django-celery-beat.

    A message that waited longer than one interval is dropped: the next one is there.
    """
    entries = {}
    for known in registry.values():
        when = known.schedule()
        if when is None:
            continue
        options: dict[str, Any] = {"queue": known.queue}
        if known.every_s is not None:
            options["expire_seconds"] = int(known.every_s) or 1
        entries[known.id] = {
            "task": RUN_TASK,
            "schedule": when,
            "args": (known.id,),
            "options": options,
        }
    return entries
