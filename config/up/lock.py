"""One `up` for each data directory, and nothing left of the one before."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from config.errors import ModelyardError

#: A process id is used again after a while; the time of its birth is not.
BIRTH_TOLERANCE_SECONDS = 1.0


class AlreadyRunning(ModelyardError):
    code = "already_running"
    http_status = 409


class DataDirLock:
    """Holds an exclusive lock on `up.lock`, which also says who runs and with which children.

    The kernel frees the lock with the process, however it ends. Raises AlreadyRunning.
    """

    def __init__(self, data_dir: Path, *, url: str) -> None:
        self._data_dir = data_dir
        self._url = url
        self._file = -1

    def __enter__(self) -> Self:
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._data_dir / "up.lock"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._read()
            os.close(self._file)
            raise AlreadyRunning(
                f"Modelyard is already running from {self._data_dir} (process "
                f"{holder.get('pid', '?')}, {holder.get('url', 'starting')}). Stop it first, or "
                "set MODELYARD_DATA_DIR to another directory."
            ) from None
        end_leftovers(self._read().get("children", []))
        self.note([])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def note(self, pids: list[int]) -> None:
        """Write down the children, so that the next `up` can end what this one could not."""
        children = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                children.append({"pid": pid, "born": psutil.Process(pid).create_time()})
        text = json.dumps({"pid": os.getpid(), "url": self._url, "children": children})
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(os.pread(self._file, 64 * 1024, 0))
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def end_leftovers(children: list[Any]) -> None:
    """Kill the process groups of children that are still what they were when noted."""
    for child in children:
        with contextlib.suppress(psutil.Error, OSError, KeyError, TypeError):
            born = psutil.Process(child["pid"]).create_time()
            if abs(born - child["born"]) < BIRTH_TOLERANCE_SECONDS:
                os.killpg(child["pid"], signal.SIGKILL)
