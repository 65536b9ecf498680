"""Processes of their own that work on the database, the broker and the origin of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from tests.origin import Origin
from tests.product import ROOT, environment


def child_environment(origin: Origin, **more: str) -> dict[str, str]:
    """Settings of a child: this test's database, broker prefix, models directory and sources."""
    return environment(
        settings.DATA_DIR,
        {
            **origin.env(),
            "DATABASE_URL": database_url(),
            "REDIS_URL": settings.REDIS_URL,
            "REDIS_KEY_PREFIX": settings.REDIS_KEY_PREFIX,
            "MODELYARD_MODELS_DIR": str(settings.MODELS_DIR),
            "SECRET_KEY": os.environ["SECRET_KEY"],
            "ENCRYPTION_KEY": os.environ["ENCRYPTION_KEY"],
            "INITIAL_BACKOFF_SECS": "0",
            "PYTHONPATH": str(ROOT),
            **more,
        },
    )


def database_url() -> str:
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    secret = f":{quote(values['PASSWORD'], safe='')}" if values["PASSWORD"] else ""
    port = f":{values['PORT']}" if values["PORT"] else ""
    return f"postgres://{values['USER']}{secret}@{values['HOST']}{port}/{values['NAME']}"


def run_until_it_dies(origin: Origin, point: str, download_id: int, status: str) -> int:
    """Run the chain of a worker in a child that kills itself at `point`; the exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.downloads.dying", point, str(download_id), status],
        cwd=ROOT,
        env=child_environment(origin, DJANGO_SETTINGS_MODULE="config.settings"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


@contextmanager
def worker(origin: Origin, log: Path, *, concurrency: int = 2) -> Iterator[subprocess.Popen[bytes]]:
    """A real Celery worker with its pool of processes."""
    command = [
        sys.executable, "-m", "celery", "-A", "config.celery", "worker", "--pool", "prefork",
        "--concurrency", str(concurrency), "--queues", "transfer,general", "--loglevel", "INFO",
        "--without-gossip", "--without-mingle",
    ]  # fmt: skip
    environ = child_environment(origin, DJANGO_SETTINGS_MODULE="config.settings")
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
