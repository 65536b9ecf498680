"""Starts processes, starts them again when they die, stops them in order."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from config.errors import ModelyardError
from config.up import lifeline
from config.up.output import Output
from config.up.plan import Program

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
DEATHS_ALLOWED = 5
WINDOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0


class GaveUp(ModelyardError):
    """A process dies again and again."""

    code = "process_keeps_dying"
    http_status = 503


class Child:
    """One process in a session of its own, so that a Ctrl-C in the terminal does not reach it."""

    def __init__(self, program: Program, *, cwd: Path, environ: Mapping[str, str]) -> None:
        self.program = program
        self._process = subprocess.Popen(  # noqa: S603  (our own commands)
            [
                *(sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid())),
                *program.command,
            ],
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None  # noqa: S101  (asked for above)
        self.pipe = self._process.stdout

    def has_ended(self, within_s: float = 0) -> bool:
        """Waits that long for the end."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def ending(self) -> str:
        code = self._process.returncode
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def send(self, number: signal.Signals) -> None:
        """KILL goes to the whole group; everything else to the process, which tells its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGKILL:
                os.killpg(self.pid, number)
            else:
                self._process.send_signal(number)


class Supervisor:
    """Call it from the main thread: the kernel ties a child's life to the thread that made it."""

    def __init__(
        self,
        *,
        output: Output,
        cwd: Path,
        environ: Mapping[str, str],
        on_change: Callable[[list[int]], None],
    ) -> None:
        self._output = output
        self._cwd = cwd
        self._environ = environ
        self._on_change = on_change
        self._children: dict[str, Child] = {}
        self._deaths: dict[str, deque[float]] = {}
        self._due: dict[str, tuple[float, Program]] = {}

    def start(self, program: Program) -> Child:
        child = Child(program, cwd=self._cwd, environ=self._environ)
        self._children[program.name] = child
        self._output.follow(program.name, child.pipe)
        self._on_change([one.pid for one in self._children.values()])
        return child

    def watch(self, stop: threading.Event) -> None:
        """Keep everything running until `stop` is set. Raises GaveUp."""
        while not stop.wait(POLL_SECONDS):
            for name, child in list(self._children.items()):
                if child.has_ended():
                    del self._children[name]
                    self._bury(child)
            now = time.monotonic()
            for name, (due, program) in list(self._due.items()):
                if due <= now:
                    del self._due[name]
                    self.start(program)

    def _bury(self, child: Child) -> None:
        """Note a death, and when to start again."""
        child.send(signal.SIGKILL)  # what is left of its group
        name, now = child.program.name, time.monotonic()
        deaths = self._deaths.setdefault(name, deque())
        deaths.append(now)
        while deaths[0] < now - WINDOW_SECONDS:
            deaths.popleft()
        for line in self._output.tail(name):
            self._output.show(name, f"| {line}")
        if len(deaths) >= DEATHS_ALLOWED:
            raise GaveUp(
                f"{name} ended {len(deaths)} times within a minute, the last time with "
                f"{child.ending}. The lines above and its log file say why."
            )
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (len(deaths) - 1), LONGEST_PAUSE_SECONDS)
        logger.error("%s ended with %s; starting again in %.1f s", name, child.ending, pause)
        self._due[name] = (now + pause, child.program)

    def stop(self, names: Iterable[str] | None = None) -> None:
        """End these processes (all of them without names) and return when none is left."""
        chosen = set(self._children if names is None else names)
        self._due.clear()
        began = time.monotonic()
        waiting = {name: child for name, child in self._children.items() if name in chosen}
        sent = dict.fromkeys(waiting, 0)
        while waiting:
            for name, child in list(waiting.items()):
                steps = child.program.stop
                if child.has_ended():
                    child.send(signal.SIGKILL)  # what is left of its group
                    del waiting[name], self._children[name]
                elif sent[name] < len(steps) and time.monotonic() - began >= steps[sent[name]][0]:
                    self._escalate(child, steps[sent[name]][1], first=sent[name] == 0)
                    sent[name] += 1
            for child in waiting.values():
                child.has_ended(POLL_SECONDS / 2)
                break
        self._on_change([one.pid for one in self._children.values()])

    def _escalate(self, child: Child, number: signal.Signals, *, first: bool) -> None:
        if not first:
            logger.warning("%s has not ended yet; sending %s", child.program.name, number.name)
        child.send(number)

    def names(self) -> list[str]:
        return list(self._children)
