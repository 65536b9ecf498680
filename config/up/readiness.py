"""Does everybody answer? The page, the workers, the clock."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from celery import Celery
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
        Probe("web", partial(page_answers, host, port)),
        *(Probe(node, partial(worker_answers, app, node)) for node in nodes),
        Probe("beat", partial(beat_ticks, tick_file, since)),
    ]


def page_answers(host: str, port: int) -> bool:
    """Any answer of the health route counts: 503 says what is wrong, but it says it."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
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
