"""Pickles are read as a list of instructions, never loaded.

Every global that a pickle asks for must be one that picklescan calls innocuous; anything else makes
the file suspicious. The instructions are walked a second time here, because picklescan calls a
stream that it cannot parse clean: such a stream is suspicious, or cut off.

A legacy torch file is five pickles (magic number, version, system, the object, the keys of its
storages) and then raw tensors; see torch/serialization.py, `_legacy_load`.
"""

from __future__ import annotations

import logging
import pickletools
from typing import IO

from picklescan.scanner import SafetyLevel, scan_pickle_bytes
from picklescan.torch import MAGIC_NUMBER

from registry.inspect import verdict
from registry.inspect.report import Invalid, Report, shown

LEGACY_STREAMS = 5
MAX_STREAMS = 100
MAX_OPCODES = 20_000_000
_EXTENSION_OPCODES = frozenset({"EXT1", "EXT2", "EXT4"})

# Its warnings are findings here, and go to nobody's terminal.
logging.getLogger("picklescan").setLevel(logging.CRITICAL)


def read_pickle(file: IO[bytes], size: int) -> Report:
    """A file that is one pickle, several, or a legacy torch file.

    Raises Invalid when it is cut off before anything that could do harm.
    """
    report = Report(format="pickle", safety=verdict.HARMLESS_PICKLE)
    file.seek(0)
    is_legacy = scan_stream(file, report)
    streams = 1
    while file.tell() < size and streams < (LEGACY_STREAMS if is_legacy else MAX_STREAMS):
        if not is_legacy and not _is_pickle_next(file):
            report.worsen(verdict.SUSPICIOUS, "other bytes after the pickle")
            break
        scan_stream(file, report)
        streams += 1
    if is_legacy and streams < LEGACY_STREAMS:
        raise Invalid("The file is cut off: a part of the torch file is missing.")
    explain(report)
    return report


def scan_stream(file: IO[bytes], report: Report) -> bool:
    """Scan one pickle from where the file stands to its STOP; True when it is torch's magic number.

    Raises Invalid when it breaks off, unless something was found that people should see.
    """
    start = file.tell()
    is_magic, problem = _walk(file, report)
    end = file.tell()
    file.seek(start)
    _scan_globals(file, report)
    if problem:
        if report.safety not in {verdict.SUSPICIOUS, verdict.DANGEROUS}:
            raise Invalid(f"The pickle cannot be read to its end: {shown(problem)}.")
        report.worsen(verdict.DANGEROUS, "a pickle that breaks off after asking for code")
    file.seek(end)
    return is_magic


def explain(report: Report) -> None:
    """Put the findings into a sentence."""
    if report.safety == verdict.HARMLESS_PICKLE:
        report.warnings.append("The file is a pickle; everything it asks for is harmless.")
    elif report.safety in {verdict.SUSPICIOUS, verdict.DANGEROUS}:
        listed = ", ".join(report.findings[:5])
        word = "dangerous" if report.safety == verdict.DANGEROUS else "suspicious"
        report.reason = f"The scan found what a model does not need ({word}): {listed}."


def _walk(file: IO[bytes], report: Report) -> tuple[bool, str]:
    """Read one pickle's instructions: is it the magic number, and what was wrong, "" if nothing."""
    is_magic = False
    count = 0
    try:
        for opcode, argument, _position in pickletools.genops(file):
            count += 1
            if argument == MAGIC_NUMBER and ("LONG" in opcode.name or "INT" in opcode.name):
                is_magic = True
            if opcode.name in _EXTENSION_OPCODES:
                report.worsen(verdict.SUSPICIOUS, "copyreg extension code")
            if count > MAX_OPCODES:
                report.worsen(verdict.SUSPICIOUS, "too many instructions to scan")
                return is_magic, ""
    except (ValueError, OverflowError, AttributeError, IndexError) as exc:
        return is_magic, str(exc) or type(exc).__name__
    return is_magic, ""


def _scan_globals(file: IO[bytes], report: Report) -> None:
    """Note every global of the next pickle that is not innocuous."""
    try:
        result = scan_pickle_bytes(file, "file", multiple_pickles=False)
    except (ValueError, IndexError, AttributeError) as exc:
        report.worsen(verdict.DANGEROUS, f"globals that cannot be read ({shown(exc, 80)})")
        return
    for found in result.globals:
        if found.safety == SafetyLevel.Dangerous:
            report.worsen(verdict.DANGEROUS, f"{found.module} {found.name}")
        elif found.safety != SafetyLevel.Innocuous:
            report.worsen(verdict.SUSPICIOUS, f"{found.module} {found.name}")


def _is_pickle_next(file: IO[bytes]) -> bool:
    start = file.read(2)
    file.seek(-len(start), 1)
    return len(start) == 2 and start[0] == 0x80 and start[1] <= 5
