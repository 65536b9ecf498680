"""What runs: one command for each process, and how it is asked to stop."""

from __future__ import annotations

import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from celery.utils.nodenames import gethostname

#: Seconds after the stop began, and the signal that is sent then if the process is still there.
Steps = tuple[tuple[float, signal.Signals], ...]

GENTLE: Steps = ((0, signal.SIGTERM), (6, signal.SIGKILL))
#: TERM lets tasks end: transfers make their bytes durable and let go within a second or two. QUIT
#: gives unfinished messages back to the broker.
WORKER: Steps = ((0, signal.SIGTERM), (10, signal.SIGQUIT), (11.5, signal.SIGKILL))
#: The server was asked to save and end before; see `config.broker.shut_down`.
BROKER: Steps = ((0.5, signal.SIGTERM), (1.5, signal.SIGKILL))

GRACEFUL_SECONDS = 3
GENERAL_PROCESSES = 2
LOG_CONFIG = Path(__file__).with_name("uvicorn-log.json")


@dataclass(frozen=True)
class Program:
    name: str
    command: tuple[str, ...]
    stop: Steps = GENTLE


def web(*, host: str, port: int) -> Program:
    return Program(
        "web",
        (
            *(sys.executable, "-m", "uvicorn", "config.asgi:application"),
            *("--host", host, "--port", str(port)),
            *("--timeout-graceful-shutdown", str(GRACEFUL_SECONDS)),
            *("--log-config", str(LOG_CONFIG), "--no-access-log", "--no-server-header"),
            *("--lifespan", "off"),
        ),
    )


def node(queue: str, port: int) -> str:
    """Name of the worker in Celery; the port keeps two copies on one machine apart."""
    return f"{queue}-{port}@{gethostname()}"


def worker(*, queue: str, port: int, processes: int) -> Program:
    return Program(
        f"worker-{queue}",
        (
            *(sys.executable, "-m", "celery", "-A", "config", "worker"),
            *("-Q", queue, "-n", node(queue, port)),
            *("--pool", "prefork", "-c", str(processes)),
            *("--without-gossip", "--without-mingle"),
        ),
        stop=WORKER,
    )


def beat() -> Program:
    return Program(
        "beat", (sys.executable, "-m", "celery", "-A", "config", "beat", "--max-interval", "5")
    )


def broker(command: list[str]) -> Program:
    program = shutil.which(command[0]) or command[0]
    return Program("broker", (program, *command[1:]), stop=BROKER)
