"""What parts of the suite need of the machine, and what to say when it is not there.

A test that cannot run is left out, named in the last lines of the run, and fails the run when `CI`
is set: nothing is passed over in silence.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    """Path of the browser: the one that `CHROMIUM` names, else the first on PATH."""
    named = os.environ.get("CHROMIUM", "")
    return (
        shutil.which(named)
        if named
        else next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    )


@dataclass(frozen=True)
class Need:
    """Tests with the mark `marker` run only when `find` gives a path."""

    marker: str
    what: str
    find: Callable[[], str | None]
    remedy: str


NEEDS = (
    Need(
        marker="browser",
        what="a Chromium browser",
        find=find_chromium,
        remedy="Install Debian's `chromium`, or name one with CHROMIUM.",
    ),
)


def absent() -> tuple[Need, ...]:
    return tuple(need for need in NEEDS if need.find() is None)


def left_out(need: Need, count: int) -> str:
    """The line that the run ends with."""
    return f"{count} tests were not run, they need {need.what}. {need.remedy}"


def is_ci(environ: Mapping[str, str] = os.environ) -> bool:
    return environ.get("CI", "").lower() not in {"", "0", "false", "no"}
