"""`python -m tests.downloads.dying POINT ID STATUS`: a worker that dies at a named point.

POINT is one of `downloads.crash`, or `fetch:bytes` for the middle of a transfer.
"""

from __future__ import annotations

import os
import signal
import sys

import django

django.setup()

from downloads import crash, progress  # noqa: E402
from downloads.states import DownloadStatus  # noqa: E402
from tests.downloads.driving import run_chain  # noqa: E402


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(point: str, download_id: int, status: str) -> None:
    def at(name: str) -> None:
        if name == point:
            die()

    def on_bytes(self: progress.ProgressWriter, done_bytes: int, _total: int | None) -> None:
        if point == "fetch:bytes" and done_bytes > 1_000_000:
            die()

    crash.point = at
    progress.ProgressWriter.__call__ = on_bytes  # type: ignore[method-assign]
    run_chain(download_id, DownloadStatus(status))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
