"""The child process that reads what strangers made: `python -m registry.inspect.child REQUEST`.

The file is its standard input; the request is JSON; the answer is one line of JSON on standard
output (and, for a picture, the bytes after it). It has no Django, no settings, no secrets. Once it
has loaded its code it can open nothing more, no file and no socket, and it is ended when it takes
too much memory or time.
"""

from __future__ import annotations

import codecs
import errno
import importlib
import io
import json
import os
import resource
import sys
from typing import Any

from registry.inspect import gate, picture
from registry.inspect.report import Refused, storable
from registry.inspect.sniff import HEAD_BYTES, sniff

MEMORY_BYTES = 3 * 1024**3
CPU_SECONDS = 180
STDIN, STDOUT = 0, 1
TOO_MUCH, NEEDS_MORE = 3, 4
#: Loaded before the door is closed.
_CODECS = ("cp437", "latin-1", "utf-8-sig", "utf-16", "utf-32", "raw_unicode_escape", "idna")
_SAMPLE_HEADER = b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
_SAMPLE = len(_SAMPLE_HEADER).to_bytes(8, "little") + _SAMPLE_HEADER + b"x"
_SAMPLE_QUESTION = {"file_name": "x.safetensors", "model_type": "checkpoint"}
_WITH_PICKLES = ("registry.inspect.pickles", "registry.inspect.zips", "bz2", "lzma")


def main(request: dict[str, Any]) -> int:
    """Answer one request; the exit code is 0 unless the limits ended it."""
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    os.lseek(STDIN, 0, os.SEEK_SET)  # Who asks a second time shares the position with the first.
    try:
        if request["task"] == "picture":
            _picture(request)
        else:
            _answer(_inspect(request))
    except (MemoryError, RecursionError):
        return TOO_MUCH
    except OSError as exc:
        if exc.errno != errno.EMFILE:
            raise
        return NEEDS_MORE
    return 0


def _inspect(request: dict[str, Any]) -> dict[str, Any]:
    with open(STDIN, "rb", buffering=1024 * 1024, closefd=False) as file:
        size = os.fstat(STDIN).st_size
        if request["door"] == "closed":
            _load_code(sniff(file.read(HEAD_BYTES), size))
            _close_the_door()
        file.seek(0)
        try:
            report = gate.check(file, size, gate.Question(**request["question"]))
        except Refused as refusal:
            return {"accepted": False, "code": refusal.code, "reason": refusal.reason}
    return {
        "accepted": True,
        "reason": report.reason,
        "format": report.format,
        "findings": report.findings,
        "warnings": report.warnings,
        "header": storable(report.header),
        "detected_type": report.detected_type,
        "detected_base_model": report.detected_base_model,
        "safety": report.safety,
    }


def _picture(request: dict[str, Any]) -> None:
    if request["door"] == "closed":
        picture.warm_up()
        _close_the_door()
    with open(STDIN, "rb", closefd=False) as file:
        try:
            width, height, body = picture.shrink(file.read(), size_px=int(request["size_px"]))
        except Refused as refusal:
            _answer({"refused": refusal.reason})
            return
    _answer({"width": width, "height": height}, body)


def _answer(answer: dict[str, Any], body: bytes = b"") -> None:
    with open(STDOUT, "wb", closefd=False) as out:
        out.write(json.dumps(answer).encode("ascii") + b"\n" + body)


def _load_code(found: str) -> None:
    for name in _CODECS:
        codecs.lookup(name)
    if found in {"zip", "pickle"}:
        for module in _WITH_PICKLES:
            importlib.import_module(module)
    # What the standard library loads at first use, it loads now.
    gate.check(io.BytesIO(_SAMPLE), len(_SAMPLE), gate.Question(**_SAMPLE_QUESTION))


def _close_the_door() -> None:
    """No further descriptor: the three that are open stay usable."""
    _limit(resource.RLIMIT_NOFILE, 3)


def _limit(what: int, value: int) -> None:
    # A system that does not know a limit (RLIMIT_AS on macOS) has one guard less.
    try:
        resource.setrlimit(what, (value, value))
    except (ValueError, OSError):
        return


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
