"""Directories that hold models.

    <root>/                      checkpoints/, loras/, …: what placement rules name
    <root>/.modelyard/marker     the root's UUID: without it the directory is not the root
    <root>/.modelyard/partials   unfinished bytes
    <root>/.modelyard/quarantine bytes of flagged assets
    <root>/.modelyard/trash      what was deleted or replaced, kept for a while

`.modelyard` and its folders have mode 0700 and lie on the root's own file system, so that a file is
published by a link. An empty mount point has no marker, and nothing is ever written into it.
"""

from __future__ import annotations

import logging
import os
import stat
import uuid
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from registry.errors import RootUnavailable
from registry.models import Asset, Companion, Root

logger = logging.getLogger(__name__)

HIDDEN = ".modelyard"
MARKER = "marker"
PRIVATE_MODE = 0o700
DEFAULT_LABEL = "models"


def default_root() -> Root:
    """The root of `MODELYARD_MODELS_DIR`, made at the first call; new files go there.

    When the setting names another directory than before, that one becomes the default: a directory
    that carries the marker of a known root is that root, moved; any other is a new root.
    Raises RootUnavailable when the directory of a root that has files does not carry its marker.
    """
    path = settings.MODELS_DIR
    root = Root.objects.filter(path=str(path)).first()
    if root is None:
        root = _adopt_or_create(path)
    if not root.is_default:
        _make_default(root)
    _ensure_marker(root)
    return root


def root_path(root: Root) -> Path:
    """The directory of `root`. Raises RootUnavailable when its marker is not there."""
    path = Path(root.path)
    found = read_marker(path)
    if found != root.marker:
        logger.error("Root %s at %s has marker %s, not %s", root.pk, path, found, root.marker)
        raise RootUnavailable(
            f"The models directory {root.label!r} is not there: it is not mounted, or it was "
            "moved. Mount it again; nothing was changed.",
            root=root.label,
        )
    return path


def partials_dir(root: Root) -> Path:
    return _private_dir(root, "partials")


def quarantine_dir(root: Root) -> Path:
    return _private_dir(root, "quarantine")


def trash_dir(root: Root) -> Path:
    return _private_dir(root, "trash")


def read_marker(path: Path) -> uuid.UUID | None:
    """The UUID in the marker file of the directory `path`, None when there is none to read."""
    try:
        text = (path / HIDDEN / MARKER).read_text(encoding="ascii")
        return uuid.UUID(text.strip())
    except (OSError, ValueError):
        return None


def _adopt_or_create(path: Path) -> Root:
    marker = read_marker(path)
    moved = Root.objects.filter(marker=marker).first() if marker else None
    if moved is not None:
        Root.objects.filter(pk=moved.pk).update(path=str(path))
        moved.refresh_from_db()
        logger.warning("Root %s has moved", moved.pk)
        return moved
    label = DEFAULT_LABEL
    if Root.objects.filter(label=label).exists():
        label = f"{path.name or DEFAULT_LABEL}-{Root.objects.count() + 1}"
    try:
        with transaction.atomic():
            return Root.objects.create(path=str(path), label=label, marker=marker or uuid.uuid4())
    except IntegrityError:  # Another process was faster.
        return Root.objects.get(path=str(path))


def _make_default(root: Root) -> None:
    try:
        with transaction.atomic():
            Root.objects.filter(is_default=True).exclude(pk=root.pk).update(is_default=False)
            Root.objects.filter(pk=root.pk).update(is_default=True)
    except IntegrityError:  # Another process set the same default at the same moment.
        logger.info("Another process changed the default root")
    root.refresh_from_db()


def _ensure_marker(root: Root) -> None:
    path = Path(root.path)
    found = read_marker(path)
    if found == root.marker:
        return
    if _has_files(root):
        root_path(root)  # Says what is wrong.
    if found is not None and not Root.objects.filter(marker=found).exists():
        # The database is new, the directory is not: its marker counts.
        Root.objects.filter(pk=root.pk).update(marker=found)
        root.refresh_from_db()
        return
    if found is not None:
        root_path(root)
    _write_marker(root)


def _has_files(root: Root) -> bool:
    return Asset.objects.filter(root=root).exists() or Companion.objects.filter(root=root).exists()


def _write_marker(root: Root) -> None:
    """Write the marker of a new root; whoever links it first decides which UUID it is."""
    hidden = Path(root.path) / HIDDEN
    try:
        Path(root.path).mkdir(parents=True, exist_ok=True)
        hidden.mkdir(mode=PRIVATE_MODE, exist_ok=True)
        temporary = hidden / f"{MARKER}-{uuid.uuid4().hex}"
        temporary.write_text(f"{root.marker}\n", encoding="ascii")
        try:
            os.link(temporary, hidden / MARKER)
        except FileExistsError:
            logger.info("Another process wrote the marker of root %s", root.pk)
        finally:
            temporary.unlink()
    except OSError as exc:
        logger.exception("Root %s at %s cannot be prepared", root.pk, root.path)
        raise RootUnavailable(
            f"The models directory {root.label!r} cannot be written: {exc.strerror}.",
            root=root.label,
        ) from exc
    root_path(root)


def _private_dir(root: Root, name: str) -> Path:
    """A folder of ours in the root: a real directory that nobody else can look into."""
    path = root_path(root) / HIDDEN
    for step in (path, path / name):
        try:
            step.mkdir(mode=PRIVATE_MODE, exist_ok=True)
            status = step.lstat()
        except OSError as exc:
            raise RootUnavailable(
                f"The models directory {root.label!r} cannot be written: {exc.strerror}.",
                root=root.label,
            ) from exc
        if not stat.S_ISDIR(status.st_mode):
            raise RootUnavailable(
                f"{HIDDEN}/{name} of the models directory {root.label!r} is not a directory; "
                "remove it, then try again.",
                root=root.label,
            )
        if stat.S_IMODE(status.st_mode) != PRIVATE_MODE:
            step.chmod(PRIVATE_MODE)
    return path / name
