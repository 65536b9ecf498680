"""One byte that the parent of a worker and its children share: this worker is going to stop.

Made at import, before Celery forks its pool. Plain shared memory and no lock, because a child that
is killed while it holds a lock would block its siblings.
"""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)


def request(**_kwargs: object) -> None:
    """Ask every running stage of this worker to checkpoint and let go; a Celery signal handler."""
    _flag[0] = 1


def clear() -> None:
    _flag[0] = 0


def is_requested() -> bool:
    return _flag[0] == 1
