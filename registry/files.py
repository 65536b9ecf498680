"""Files below a root, reached step by step: a symbolic link on the way is refused, never followed.

Publishing is `transfer.publish`; this is the rest: look, take away.
"""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from transfer.publish import open_parent


def exists_below(root: Path, relative_path: str) -> bool:
    """True when anything has that name, a dangling link included."""
    try:
        with open_parent(root, relative_path) as (directory, name):
            os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True  # A file or a link stands where a folder should be.
    return True


def stat_regular(root: Path, relative_path: str) -> os.stat_result | None:
    """What the file is, None when there is no regular file at that path."""
    try:
        with open_parent(root, relative_path) as (directory, name):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def move_away(root: Path, relative_path: str, trash: Path) -> str:
    """Move the file into `trash` under a name of its own; returns that name, "" without a file.

    Both lie on one file system; nothing is copied.
    """
    try:
        with open_parent(root, relative_path) as (directory, name):
            kept = f"{uuid.uuid4().hex}-{name}"[:255]
            os.rename(name, trash / kept, src_dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return kept
