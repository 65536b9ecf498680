"""The product as its users start it: `manage.py up` in a directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

import psutil

from tests import servers

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
READY = re.compile(r"^Modelyard is ready at (http://127\.0\.0\.1:\d+)$")
PASSWORD = re.compile(r"^ +password: (\S+)$", re.MULTILINE)
READY_SECONDS = 90
STOP_SECONDS = 15
#: The rest of the environment would carry the settings of the suite into the product.
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SYSTEMROOT")


def environment(data_dir: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a user's shell gives to a command of the product, with a data directory of its own."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {
        **kept,
        "MODELYARD_ENV_FILE": os.devnull,
        "MODELYARD_DATA_DIR": str(data_dir),
        **(extra or {}),
    }


class Product:
    """One life of `manage.py up`. Use it as a context: nothing is left behind.

    `lines` is everything that it printed so far, `url` where it answers once it is ready.
    """

    def __init__(
        self, data_dir: Path, *, port: int | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.port = port or servers.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = environment(data_dir, environ)
        self.lines: list[str] = []
        self.seconds_to_ready = 0.0
        self._ready = threading.Event()
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", str(self.port)],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS + 5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for one in psutil.wait_procs(family, timeout=5)[1]:
            one.kill()
        self._reader.join(5)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self.lines.append(line.rstrip("\n"))
                if READY.match(self.lines[-1]):
                    self.seconds_to_ready = time.monotonic() - self._began
                    self._ready.set()
        self._ready.set()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def password(self) -> str | None:
        found = PASSWORD.search(self.output)
        return found[1] if found else None

    def wait_until_ready(self) -> Product:
        assert self._ready.wait(READY_SECONDS), self.output
        assert any(READY.match(line) for line in self.lines), self.output
        return self

    def wait_for_line(self, pattern: str, timeout_s: float = 30) -> str:
        return wait_for(
            lambda: next((line for line in self.lines if re.search(pattern, line)), None),
            f"{pattern!r} in:\n{self.output}",
            timeout_s,
        )

    def family(self) -> list[psutil.Process]:
        """Its children, and theirs."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def child(self, *words: str) -> psutil.Process:
        """The direct child whose command line has all these words."""
        children = psutil.Process(self.process.pid).children()
        return next(one for one in children if set(words) <= set(" ".join(one.cmdline()).split()))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> float:
        """TERM; the seconds until nothing is left of it."""
        family, began = self.family(), time.monotonic()
        self.signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS + 10)
        assert psutil.wait_procs(family, timeout=0.5)[1] == []
        self._reader.join(5)
        return time.monotonic() - began


def wait_for(find: Callable[[], T | None], what: str, timeout_s: float = 30) -> T:
    """The first truthy answer of `find`. Fails with `what` when the time is over."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (found := find()):
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        pause.wait(0.05)
    return found
