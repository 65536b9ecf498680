"""What the processes say: whole lines into files, short ones to the terminal.

Our own processes write one JSON object a line (see `config.logging`). The file keeps it as it is;
the terminal gets `10:31:04 web              warning: what happened`, warnings of everybody and the
rest of our own packages only. Lines that are not JSON stay in the file, and are shown when their
process ends unexpectedly.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

from config.logging import redact

OWN_PACKAGES = frozenset(
    {"config", "downloads", "ops", "registry", "sources", "tokens", "transfer", "workers"}
)
LOUD = frozenset({"warning", "error", "critical"})
MAX_FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 3
LINE_BYTES = 256 * 1024
TAIL_LINES = 15


class Output:
    """Safe to call from several threads. A terminal that went away is no error."""

    def __init__(self, folder: Path, *, terminal: IO[str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._terminal = terminal or sys.stderr
        self._files: dict[str, RotatingFileHandler] = {}
        self._tails: dict[str, deque[str]] = {}
        self._lock = threading.Lock()

    def line(self, name: str, text: str) -> None:
        text = redact(text.rstrip("\r\n"))
        if not text:
            return
        with self._lock:
            self._file(name).emit(logging.makeLogRecord({"msg": text}))
            self._tails[name].append(text)
        shown = shorten(text)
        if shown:
            self.show(name, shown)

    def show(self, name: str, text: str) -> None:
        now = datetime.now().astimezone()
        with self._lock, contextlib.suppress(OSError, ValueError):
            print(f"{now:%H:%M:%S} {name:16} {text}", file=self._terminal, flush=True)

    def tail(self, name: str) -> list[str]:
        """The last lines of a process, to be shown when it failed."""
        with self._lock:
            return [shorten(text, everything=True) for text in self._tails.get(name, ())]

    def _file(self, name: str) -> RotatingFileHandler:
        if name not in self._files:
            handler = RotatingFileHandler(
                self._folder / f"{name}.log",
                maxBytes=MAX_FILE_BYTES,
                backupCount=KEPT_FILES,
                encoding="utf-8",
            )
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._files[name] = handler
            self._tails[name] = deque(maxlen=TAIL_LINES)
        return self._files[name]

    def follow(self, name: str, pipe: IO[bytes]) -> threading.Thread:
        """Read a process' output until it ends, in a thread."""

        def read() -> None:
            with pipe:
                while raw := pipe.readline(LINE_BYTES):
                    self.line(name, raw.decode("utf-8", "replace"))

        thread = threading.Thread(target=read, name=f"output of {name}", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        with self._lock:
            for handler in self._files.values():
                handler.close()
            self._files.clear()


def shorten(text: str, *, everything: bool = False) -> str:
    """The human form of a line, "" when it is not for the terminal."""
    entry = _parse(text)
    if entry is None:
        return printable(text) if everything else ""
    level = str(entry.get("level", ""))
    logger = str(entry.get("logger", ""))
    if not (everything or _is_news(logger, level)):
        return ""
    prefix = f"{level}: " if level in LOUD else ""
    exception = str(entry.get("exception", "")).strip().rpartition("\n")[2]
    suffix = f" ({exception})" if exception else ""
    return printable(f"{prefix}{entry.get('event', '')}{suffix}")


def _is_news(logger: str, level: str) -> bool:
    """Requests that are refused are the business of whoever sent them."""
    package = logger.partition(".")[0]
    if package == "django_structlog":
        return False
    if logger == "django.request":
        return level in LOUD - {"warning"}
    return level in LOUD or package in OWN_PACKAGES


def _parse(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def printable(text: str) -> str:
    """Without anything that could move the cursor or begin a line of its own."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


class Relay(logging.Handler):
    """Sends the log records of `up` itself the same way as those of its children."""

    def __init__(self, output: Output, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self._output.line("up", self.format(record))


@contextlib.contextmanager
def relayed(output: Output) -> Iterator[None]:
    """While inside, the root logger of this process writes to `output`."""
    root = logging.getLogger()
    before = root.handlers[:]
    formatter = next((handler.formatter for handler in before if handler.formatter), None)
    root.handlers[:] = [Relay(output, formatter)]
    try:
        yield
    finally:
        root.handlers[:] = before
