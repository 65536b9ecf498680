"""Does everybody answer? The page, the workers, the clock."""

from __future__ import annotations

import http
import http.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from celery import Celery
from django.conf import settings
from django.urls import reverse
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

PAUSE_SECONDS = 0.1
PING_SECONDS = 0.5


@dataclass(frozen=True)
class Probe:
    name: str
    succeeds: Callable[[], bool]


def probes(
    *, app: Celery, host: str, port: int, nodes: Iterable[str], tick_file: Path, since: float
) -> list[Probe]:
    """`since`: the time of the start, so that an older sign of life does not count."""
    return [
        Probe("web", partial(page_answers, host, port, reverse(settings.LOGIN_URL))),
        *(Probe(node, partial(worker_answers, app, node)) for node in nodes),
        Probe("beat", partial(beat_ticks, tick_file, since)),
    ]


def page_answers(host: str, port: int, path: str) -> bool:
    """The page that everybody meets first, with its template and its static files.

    Not the health route: it fails, and says so in the log, until the first pass of the reconciler.
    """
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def worker_answers(app: Celery, node: str) -> bool:
    try:
        return bool(app.control.ping(destination=[node], timeout=PING_SECONDS, limit=1))
    except (OperationalError, RedisError, OSError):
        return False


def beat_ticks(tick_file: Path, since: float) -> bool:
    try:
        # File times of some systems are coarse.
        return tick_file.stat().st_mtime >= since - 1
    except FileNotFoundError:
        return False
