"""Starts the child process that looks at a file, and makes a verdict of its answer."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from registry.errors import PreviewUnavailable
from registry.inspect import verdict
from registry.inspect.kinds import extension_of
from registry.inspect.verdict import Verdict
from sources.families import family_of
from sources.resolution import FileRole, ModelType

#: The child's exit code when it could not load a module any more; see `child`.
NEEDS_MORE = 4

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 600.0
PICTURE_TIMEOUT_S = 30.0
_PICKLE_ENDINGS = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".zip", ".npz"})


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A WebP of ours."""

    width: int
    height: int
    body: bytes


def inspect_file(
    path: Path,
    *,
    file_name: str,
    model_type: str,
    role: str = FileRole.WEIGHTS,
    content_type: str = "",
    base_model: str = "",
    timeout_s: float = TIMEOUT_S,
) -> Verdict:
    """What the bytes at `path` are, against what was declared about them.

    `file_name` is the name they will have (its last ending counts), `base_model` what the source
    says. Nothing is loaded or extracted; the reading is done by a child process with limits, and a
    file that breaks them is refused, or suspicious when it is a pickle. Raises OSError when the
    file cannot be opened.
    """
    question = {
        "file_name": file_name,
        "model_type": str(model_type),
        "role": str(role),
        "content_type": content_type,
    }
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123
        answer, _body = _run({"task": "inspect", "question": question}, file, timeout_s)
    if answer is None:
        return _beyond_limits(file_name)
    found = Verdict.from_dict(answer)
    return _compare(found, model_type=str(model_type), role=str(role), base_model=base_model)


def make_thumbnail(body: bytes, *, size_px: int) -> Thumbnail:
    """The picture in `body` as a small WebP. Raises PreviewUnavailable."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.seek(0)
        answer, picture = _run({"task": "picture", "size_px": size_px}, file, PICTURE_TIMEOUT_S)
    if answer is None or "refused" in answer:
        reason = (answer or {}).get("refused", "The picture takes too long to read.")
        raise PreviewUnavailable(str(reason))
    return Thumbnail(int(answer["width"]), int(answer["height"]), picture)


def _run(
    request: dict[str, Any], file: IO[bytes], timeout_s: float
) -> tuple[dict[str, Any] | None, bytes]:
    """The child's answer and what follows it; None when the limits ended it."""
    done = _start({**request, "door": "closed"}, file, timeout_s)
    if done is not None and done.returncode == NEEDS_MORE:
        logger.warning("The inspection wanted to load code late: %s", _last_words(done))
        file.seek(0)
        done = _start({**request, "door": "open"}, file, timeout_s)
    if done is None:
        return None, b""
    line, _newline, rest = done.stdout.partition(b"\n")
    if done.returncode != 0 or not line:
        logger.warning("The inspection ended with %s: %s", done.returncode, _last_words(done))
        return None, b""
    answer: dict[str, Any] = json.loads(line)
    return answer, rest


def _start(
    request: dict[str, Any], file: IO[bytes], timeout_s: float
) -> subprocess.CompletedProcess[bytes] | None:
    environment = {"LANG": "C.UTF-8"}
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH"):
        if name in os.environ:
            environment[name] = os.environ[name]
    try:
        return subprocess.run(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-s", "-m", "registry.inspect.child", json.dumps(request)],
            stdin=file,
            capture_output=True,
            cwd=PROJECT,
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        logger.warning("The inspection took longer than %s s", timeout_s)
        return None


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode("utf-8", errors="replace")[-500:]


def _beyond_limits(file_name: str) -> Verdict:
    if extension_of(file_name) in _PICKLE_ENDINGS:
        return Verdict(
            accepted=True,
            reason="The scan broke its limits of time or memory, so the file may do anything.",
            format="pickle",
            findings=("could not be scanned within the limits",),
            safety=verdict.SUSPICIOUS,
        )
    return Verdict(
        accepted=False,
        code=verdict.FORMAT_INVALID,
        reason="The file cannot be read within the limits of time and memory.",
    )


def _compare(found: Verdict, *, model_type: str, role: str, base_model: str) -> Verdict:
    """Add what the header says against what was declared: a warning, and a question to a person."""
    if not found.accepted or role == FileRole.COMPANION:
        return found
    warnings = []
    # "Other" is no claim and no finding.
    if ModelType.OTHER not in {found.detected_type, model_type} and found.detected_type not in {
        "",
        model_type,
    }:
        warnings.append(
            f"Declared as {_words(model_type)}, but the file looks like "
            f"{_words(found.detected_type)}."
        )
    said, seen = family_of(base_model), family_of(found.detected_base_model)
    if base_model and found.detected_base_model and said and seen and said != seen:
        warnings.append(
            f"Declared for {base_model}, but the file looks like {found.detected_base_model}."
        )
    if not warnings:
        return found
    plain = found.as_dict()
    return Verdict.from_dict(
        {**plain, "warnings": [*plain["warnings"], *warnings], "asks_review": True}
    )


def _words(model_type: str) -> str:
    return model_type.replace("_", " ")
