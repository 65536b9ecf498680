"""Start a program that ends with its parent: `lifeline.py PARENT_PID PROGRAM ARGUMENT…`.

On Linux the kernel kills it when the parent is gone, even by SIGKILL; elsewhere the next `up` ends
what is left. A program of its own, and no import of ours, because code between fork and exec of a
process with threads may hang.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It went before we asked.
        raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606  (the program is the point)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
