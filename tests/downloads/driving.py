"""How tests run the queue: the stages of a worker, called in turn, and waiting with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection

from downloads import dispatcher, pipeline, reconciler
from downloads.models import Download
from downloads.stages import Outcome
from downloads.states import DownloadStatus
from registry.roots import default_root, partials_dir

S = DownloadStatus

STAGES = (pipeline.fetch_stage, pipeline.verify_stage, pipeline.register_stage)
BY_STATUS = {S.DOWNLOADING: 0, S.VERIFYING: 1, S.REGISTERING: 2}


def run_chain(download_id: int, status: DownloadStatus = S.DOWNLOADING) -> None:
    """What a worker does with one chain of messages."""
    for stage in STAGES[BY_STATUS[status] :]:
        if stage(download_id) is not Outcome.NEXT:
            return


def work_off(rounds: int = 20) -> None:
    """Dispatch and run until nothing more happens: a worker without a broker."""
    for _round in range(rounds):
        started = dispatcher.dispatch()
        if not started:
            return
        for download_id in started:
            run_chain(download_id)
    raise AssertionError("The queue does not come to rest.")


def reconcile_and_run() -> None:
    """One pass of the reconciler, and what it sends."""
    for download_id, status in reconciler.reconcile():
        run_chain(download_id, status)


def fresh(download: Download) -> Download:
    return Download.objects.get(pk=download.pk)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    """The first true answer; fails when none comes in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"Not within {seconds} s: {what}")


@contextmanager
def in_thread(target: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Run in a thread with a connection of its own; joins it, and raises what it raised."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_with_own_connection, target)
        yield future
    future.result(0)


def at_once(*targets: Callable[[], Any]) -> list[Any]:
    """Run all of them at the same moment, each with its own connection; their answers in order."""
    barrier = threading.Barrier(len(targets))

    def run(target: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return _with_own_connection(target)

    with ThreadPoolExecutor(len(targets)) as pool:
        return list(pool.map(run, targets))


def _with_own_connection(target: Callable[[], Any]) -> Any:
    try:
        return target()
    finally:
        connection.close()


def partial_files() -> list[Path]:
    return sorted(partials_dir(default_root()).iterdir())


def model_files(models_dir: Path) -> list[str]:
    """What people find in the models directory, ours left out."""
    return sorted(
        str(path.relative_to(models_dir))
        for path in models_dir.rglob("*")
        if path.is_file() and ".modelyard" not in path.parts
    )
