"""The clockwork of a run: how often it tries again, and what happens every so often."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from transfer.board import Board
from transfer.errors import StopRequested, TooSlow
from transfer.plan import FetchLimits
from transfer.protocols import Throttle

STOP_POLL_SECONDS = 0.2
PROGRESS_SECONDS = 0.1
#: Quick tries after a cut; so many bytes count as progress and make them all available again.
QUICK_TRIES = 4
FIRST_DELAY_SECONDS = 0.1
PROGRESS_BYTES = 1024 * 1024


class Patience:
    """Quick tries after a cut, renewed by progress."""

    def __init__(self) -> None:
        self._left = QUICK_TRIES
        self._came_bytes = 0
        self.not_before = 0.0

    def is_over(self, came_bytes: int) -> bool:
        """Count a cut; False if it is worth another try at `not_before`."""
        if came_bytes - self._came_bytes >= PROGRESS_BYTES:
            self._left = QUICK_TRIES
        self._came_bytes = came_bytes
        self._left -= 1
        delay_s = FIRST_DELAY_SECONDS * 2 ** (QUICK_TRIES - 1 - max(self._left, 0))
        self.not_before = time.monotonic() + delay_s
        return self._left < 0


class Pulse:
    """What happens every so often: stopping, progress, the throttle and the minimum speed."""

    def __init__(
        self,
        limits: FetchLimits,
        on_progress: Callable[[int, int | None], None],
        should_stop: Callable[[], bool],
        throttle: Throttle | None,
    ) -> None:
        self._limits = limits
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._throttle = throttle
        self._stop_at = self._report_at = 0.0
        self._charged = 0
        self._samples: deque[tuple[float, int]] = deque()

    def stop_if_asked(self) -> None:
        now = time.monotonic()
        if now >= self._stop_at:
            self._stop_at = now + STOP_POLL_SECONDS
            if self._should_stop():
                raise StopRequested("The transfer was asked to stop.")

    def report(self, n_done: int, total: int | None) -> None:
        self._report_at = time.monotonic() + PROGRESS_SECONDS
        self._on_progress(n_done, total)

    def restart_window(self) -> None:
        self._samples.clear()

    def tick(self, board: Board, total: int | None) -> None:
        now, came = time.monotonic(), board.came_bytes
        if now >= self._report_at:
            self.report(board.n_done, total)
        if self._throttle is not None and came > self._charged:
            wait_s = self._throttle.take(came - self._charged)
            self._charged = came
            if wait_s > 0:
                board.hold(wait_s)
        if board.is_held:
            self.restart_window()  # Slow on purpose.
        elif not board.is_complete:
            self._check_speed(now, came)

    def _check_speed(self, now: float, came: int) -> None:
        limits = self._limits
        if not self._samples or now - self._samples[-1][0] >= limits.slow_window_s / 20:
            self._samples.append((now, came))
        while len(self._samples) > 1 and now - self._samples[1][0] >= limits.slow_window_s:
            self._samples.popleft()
        began, had = self._samples[0]
        if now - began >= limits.slow_window_s:
            speed = (came - had) / (now - began)
            if speed < limits.minimum_bps:
                raise TooSlow(
                    f"Only {speed:.0f} bytes per second came for {now - began:.0f} seconds.",
                    bytes_per_second=int(speed),
                )
