"""Two ledgers: one in memory that remembers what it was told, one in a file for other processes."""

from __future__ import annotations

import json
from pathlib import Path

from transfer.protocols import LedgerState


class MemoryLedger:
    def __init__(self) -> None:
        self.state: LedgerState | None = None
        self.calls: list[tuple] = []

    def load(self) -> LedgerState | None:
        return self.state

    def begin(self, file_name, size_bytes, etag, last_modified) -> None:
        self.calls.append(("begin", file_name, size_bytes, etag))
        restarts = self.state.restarts if self.state else 0
        self._set(LedgerState(file_name, size_bytes, etag, last_modified, (), restarts))

    def add_range(self, start, end) -> None:
        self.calls.append(("add_range", start, end))
        self._change(ranges=(*self.state.ranges, (start, end)))

    def reset(self, reason) -> None:
        self.calls.append(("reset", reason))
        if self.state:
            self._change(
                size_bytes=None,
                etag="",
                last_modified="",
                ranges=(),
                restarts=self.state.restarts + 1,
            )

    def rename(self, file_name) -> None:
        self.calls.append(("rename", file_name))
        self._change(file_name=file_name)

    @property
    def resets(self) -> list[str]:
        return [call[1] for call in self.calls if call[0] == "reset"]

    @property
    def n_durable(self) -> int:
        return sum(end - start for start, end in self.state.ranges) if self.state else 0

    def _change(self, **values) -> None:
        self._set(LedgerState(**{**self.state.__dict__, **values}))

    def _set(self, state: LedgerState) -> None:
        self.state = state


class FileLedger(MemoryLedger):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        if path.exists():
            saved = json.loads(path.read_text())
            saved["ranges"] = tuple(tuple(pair) for pair in saved["ranges"])
            self.state = LedgerState(**saved)

    def _set(self, state: LedgerState) -> None:
        super()._set(state)
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(state.__dict__))
        beside.replace(self._path)
