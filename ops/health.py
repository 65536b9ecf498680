"""Is it well? Named checks that say ok or fail, and nothing else to the outside.

    @check("reconciler")
    def reconciler() -> str | None:
        return None if fresh else "the last pass was 5 minutes ago"

None is well; a text or an exception is not, and goes to the log only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import connection
from redis import Redis
from redis.exceptions import RedisError

from config.errors import ModelyardError, boundary
from config.logging import redact

logger = logging.getLogger(__name__)

Check = Callable[[], str | None]

checks: dict[str, Check] = {}

BROKER_TIMEOUT_S = 2.0


def check(name: str) -> Callable[[Check], Check]:
    """Register a check. It runs within the request, so it answers within a second or two."""

    def register(run: Check) -> Check:
        checks[name] = run
        return run

    return register


def run_checks() -> dict[str, bool]:
    """Every check by name, True when it is well."""
    return {name: _is_well(name, run) for name, run in sorted(checks.items())}


def _is_well(name: str, run: Check) -> bool:
    failures: list[str] = []

    def note(error: ModelyardError) -> None:
        failures.append(error.message)

    with boundary(f"The health check {name}", note):
        trouble = run()
        if trouble:
            failures.append(trouble)
    for failure in failures:
        logger.warning("The health check %s fails: %s", name, redact(failure))
    return not failures


@check("database")
def database() -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        row = cursor.fetchone()
    return None if row == (1,) else "the database gives strange answers"


@check("broker")
def broker() -> str | None:
    client = Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=BROKER_TIMEOUT_S,
        socket_connect_timeout=BROKER_TIMEOUT_S,
    )
    try:
        client.ping()
    except RedisError as error:
        return f"the broker does not answer: {type(error).__name__}"
    finally:
        client.close()
    return None
