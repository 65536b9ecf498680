"""`manage.py up`: everything on this machine, started by one command and stopped by Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import broker
from config.celery import app
from config.errors import ModelyardError
from config.up import plan, prepare, readiness
from config.up.lock import DataDirLock
from config.up.output import Output, relayed
from config.up.supervisor import Supervisor

logger = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
#: What is still silent is named that often while the start takes long.
PATIENCE_SECONDS = 15.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (what a person may ask for)


class Command(BaseCommand):
    help = (
        "Start the whole of Modelyard on this machine: web, workers, clock and, unless REDIS_URL "
        "is set, a broker. Ctrl-C stops everything."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on")
        parser.add_argument("--port", type=_port, default=DEFAULT_PORT)

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        name = EVERYWHERE.get(host, host)
        url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
        output = Output(settings.DATA_DIR / "logs")
        try:
            with (
                _stop_event() as stop,
                DataDirLock(settings.DATA_DIR, url=url) as lock,
                relayed(output),
            ):
                prepare.check_port(host, port)
                supervisor = Supervisor(
                    output=output,
                    cwd=settings.BASE_DIR,
                    environ=_environ(),
                    on_change=lock.note,
                )
                run = Run(supervisor, output, stop, host=host, port=port, url=url)
                run.run()
        except ModelyardError as error:
            raise CommandError(error.message) from error
        finally:
            output.close()


class Run:
    """One life of the product: start, watch, stop."""

    def __init__(
        self,
        supervisor: Supervisor,
        output: Output,
        stop: threading.Event,
        *,
        host: str,
        port: int,
        url: str,
    ) -> None:
        self._supervisor = supervisor
        self._output = output
        self._stop = stop
        self._host = host
        self._port = port
        self._url = url

    def run(self) -> None:
        began = time.time()
        try:
            self._start_broker()
            prepare.tables()
            for program in self._workers():
                self._start(program)
            # While those load, on the other core:
            prepare.files()
            prepare.admin_account(_tell_password)
            prepare.let_go_of_the_database()
            self._start(plan.web(host=self._host, port=self._port))
            threading.Thread(target=self._announce, args=(began,), daemon=True).start()
            self._supervisor.watch(self._stop)
        finally:
            self._stop.set()
            self._stop_all()

    def _start(self, program: plan.Program) -> None:
        if not self._stop.is_set():
            self._supervisor.start(program)

    def _workers(self) -> list[plan.Program]:
        return [
            plan.worker(
                queue="transfer", port=self._port, processes=settings.MAX_CONCURRENT_DOWNLOADS
            ),
            plan.worker(queue="general", port=self._port, processes=plan.GENERAL_PROCESSES),
            plan.beat(),
        ]

    def _start_broker(self) -> None:
        """The one that `REDIS_URL` names must be fit; our own starts, with an empty memory if the
        old one cannot be read."""
        if not settings.EMBEDDED_BROKER:
            complaints = broker.complaints(settings.REDIS_URL)
            if complaints:
                raise broker.BrokerUnavailable(" ".join(complaints))
            return
        folder = settings.DATA_DIR / "broker"
        socket = settings.EMBEDDED_BROKER_SOCKET
        broker.prepare(socket=socket, folder=folder)
        program = plan.broker(
            broker.server_command(program=broker.find_server(), socket=socket, folder=folder)
        )
        child = self._supervisor.start(program)
        try:
            broker.wait_until_ready(settings.REDIS_URL, has_ended=child.has_ended)
        except broker.BrokerUnavailable:
            self._supervisor.stop(["broker"])
            logger.warning(
                "The broker did not start; its old data is now in %s.", broker.put_aside(folder)
            )
            broker.prepare(socket=socket, folder=folder)
            child = self._supervisor.start(program)
            broker.wait_until_ready(settings.REDIS_URL, has_ended=child.has_ended)

    def _announce(self, began: float) -> None:
        """Say that it is ready when everybody answers, in a thread of its own."""
        silent = readiness.probes(
            app=app,
            host=EVERYWHERE.get(self._host, self._host),
            port=self._port,
            nodes=[plan.node(queue, self._port) for queue in ("transfer", "general")],
            tick_file=settings.BEAT_TICK_FILE,
            since=began,
        )
        say_again = time.monotonic() + PATIENCE_SECONDS
        while not self._stop.wait(readiness.PAUSE_SECONDS):
            silent = [probe for probe in silent if not probe.succeeds()]
            if not silent:
                _say(f"Modelyard is ready at {self._url}")
                self._output.show("up", f"started in {time.time() - began:.1f} s; Ctrl-C stops it")
                return
            if time.monotonic() > say_again:
                logger.warning("still waiting for %s", ", ".join(probe.name for probe in silent))
                say_again += PATIENCE_SECONDS

    def _stop_all(self) -> None:
        names = [name for name in self._supervisor.names() if name != "broker"]
        if names:
            self._output.show("up", "stopping; downloads go on at the next start")
        self._supervisor.stop(names)
        if settings.EMBEDDED_BROKER:
            broker.shut_down(settings.REDIS_URL)
        self._supervisor.stop()
        self._output.show("up", "stopped")


def _environ() -> dict[str, str]:
    """For the children, which run in another directory: paths that are whole."""
    named = ("MODELYARD_CONFIG", "MODELYARD_ENV_FILE")
    return {
        **os.environ,
        **{name: str(Path(os.environ[name]).absolute()) for name in named if os.environ.get(name)},
        "MODELYARD_DATA_DIR": str(settings.DATA_DIR),
        "MODELYARD_MODELS_DIR": str(settings.MODELS_DIR),
        "MODELYARD_STATIC_DIR": str(settings.STATIC_ROOT),
        "PYTHONUNBUFFERED": "1",
        "SKIP_CHECKS": "1",  # made by this process
    }


@contextlib.contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Set by Ctrl-C, TERM and a closed terminal. Asking again changes nothing.

    Under nohup the terminal may close: a HUP that is ignored stays ignored.
    """
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    if before[signal.SIGHUP] == signal.SIG_IGN:
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError
    return port


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def _tell_password(name: str, password: str) -> None:
    print(
        f"An admin account was made. Its password is shown this once:\n"
        f"    name:     {name}\n"
        f"    password: {password}",
        file=sys.stdout,
        flush=True,
    )
