"""Zip files: torch's, NumPy's, and archives. Only listed and sampled, never extracted.

The end record is read before Python's zipfile reads the list, because a list of a million entries
takes a gigabyte. Where bytes stand before the archive, zipfile looks for the list right before the
end record, and torch's reader where the record says: a file that shows each another list is an
attack, so both places must be the same one. APPNOTE 4.3.16: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO

from registry.inspect import verdict
from registry.inspect.pickles import explain, read_pickle, scan_stream
from registry.inspect.report import Invalid, Refused, Report, shown
from registry.inspect.sniff import sniff

MAX_ENTRIES = 100_000
MAX_LIST_BYTES = 64 * 1024 * 1024
#: What is read into memory to be scanned.
MAX_SCANNED_BYTES = 512 * 1024 * 1024
MAX_RATIO = 200
MAX_UNPACKED_BYTES = 4 * 1024**4
PICKLE_ENDINGS = frozenset({".pkl", ".pickle", ".ckpt", ".pt", ".pth", ".bin", ".joblib", ".dill"})
PROGRAM_ENDINGS = frozenset(
    {
        *(".exe", ".dll", ".so", ".dylib", ".bat", ".cmd", ".com", ".ps1", ".sh", ".vbs", ".js"),
        *(".jar", ".msi", ".scr", ".lnk", ".app"),
    }
)
_END = b"PK\x05\x06"
_END_SIZE = 22
_END64_LOCATOR = b"PK\x06\x07"
_END64 = b"PK\x06\x06"
_END64_SIZE = 56
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    struct.error,
)


def read_torch(file: IO[bytes], size: int) -> Report:
    """A zip that `torch.save` wrote: a pickle `data.pkl` and raw tensors beside it."""
    report = Report(format="pickle", safety=verdict.HARMLESS_PICKLE)
    with _open(file, size, report) as archive:
        entries = archive.infolist()
        names = [PurePosixPath(entry.filename) for entry in entries]
        if not any(name.name == "data.pkl" for name in names):
            raise Refused(
                verdict.FORMAT_MISMATCH,
                "The file is a zip archive and not a torch model: it holds no data.pkl.",
            )
        if any("code" in name.parts[:-1] and name.suffix == ".py" for name in names):
            report.worsen(verdict.SUSPICIOUS, "TorchScript code")
        _check_entries(entries, size, report)
        for entry in entries:
            _scan_torch_entry(archive, entry, report)
    explain(report)
    return report


def read_archive(file: IO[bytes], size: int, *, numpy: bool = False) -> Report:
    """Any other zip: pickles inside are scanned, programs and climbing names are suspicious."""
    report = Report(format="numpy" if numpy else "archive")
    with _open(file, size, report) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if not entries:
            raise Invalid("The archive is empty.")
        _check_entries(entries, size, report)
        for entry in entries:
            _scan_archive_entry(archive, entry, report)
    report.header = {
        "entries": len(entries),
        "names": [shown(entry.filename, 120) for entry in entries[:50]],
        "unpacked_bytes": sum(entry.file_size for entry in entries),
    }
    if report.safety in {verdict.SUSPICIOUS, verdict.DANGEROUS}:
        explain(report)
    elif not numpy:
        report.warnings.append("The archive is kept as it is; unpack it yourself.")
    return report


def _open(file: IO[bytes], size: int, report: Report) -> zipfile.ZipFile:
    list_at = _check_end(file, size)
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as exc:
        raise Invalid(f"The zip archive cannot be read: {shown(exc)}.") from exc
    if archive.start_dir != list_at:
        report.worsen(verdict.SUSPICIOUS, "a list of entries that is not where the end says")
    return archive


def _check_end(file: IO[bytes], size: int) -> int:
    """Bound the number of entries before anything lists them, and tell where the end record says
    that their list is. Raises Invalid."""
    start = max(0, size - _END_SIZE - 65535)
    file.seek(start)
    tail = file.read(size - start)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_SIZE:
        raise Invalid("The zip archive is cut off: its end is missing.")
    said: tuple[int, int, int] = struct.unpack("<HII", tail[at + 10 : at + 20])
    said = _end64(file, tail[max(0, at - 20) : at], start + at) or said
    entries, list_bytes, list_at = said
    if entries > MAX_ENTRIES or list_bytes > MAX_LIST_BYTES:
        raise Invalid(f"The zip archive has {entries:,} entries; {MAX_ENTRIES:,} is the limit.")
    return list_at


def _end64(file: IO[bytes], locator: bytes, end: int) -> tuple[int, int, int] | None:
    """Number of entries, bytes and place of their list; None without such a record.

    `end` is where the plain end record stands. Readers use the large one whenever it is there; some
    look right before the locator and some where the locator says.
    """
    if len(locator) < 20 or not locator.startswith(_END64_LOCATOR):
        return None
    (offset,) = struct.unpack("<Q", locator[8:16])
    file.seek(min(offset, 2**62))
    record = file.read(_END64_SIZE)
    if len(record) < _END64_SIZE or not record.startswith(_END64):
        raise Invalid("The zip archive's end cannot be read.")
    if offset != end - len(locator) - _END64_SIZE:
        raise Invalid("The zip archive's end contradicts itself.")
    said: tuple[int, int, int] = struct.unpack("<QQQ", record[32:_END64_SIZE])
    return said


def _check_entries(entries: list[zipfile.ZipInfo], size: int, report: Report) -> None:
    names: set[str] = set()
    unpacked = packed = 0
    for entry in entries:
        unpacked += entry.file_size
        packed += entry.compress_size
        if entry.header_offset < 0 or entry.header_offset + entry.compress_size > size:
            raise Invalid(f"The entry {shown(entry.filename, 80)!r} lies outside the file.")
        if entry.filename in names:
            report.worsen(verdict.SUSPICIOUS, f"two entries named {entry.filename}")
        names.add(entry.filename)
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or ":" in "".join(parts[:1]):
            report.worsen(verdict.SUSPICIOUS, f"entry that leads outside: {entry.filename}")
        if entry.flag_bits & 1:
            report.worsen(verdict.SUSPICIOUS, f"encrypted entry {entry.filename}")
    if packed > size:
        report.worsen(verdict.SUSPICIOUS, "entries that overlap")
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > 2**30 and unpacked > packed * MAX_RATIO):
        report.worsen(verdict.SUSPICIOUS, f"unpacks to {unpacked:,} bytes")


def _scan_torch_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, report: Report) -> None:
    name = PurePosixPath(entry.filename)
    is_storage = "data" in name.parts[:-1] and name.name.isdecimal()
    head = _head(archive, entry, report)
    if name.suffix not in {".pkl", ".pickle"} and (is_storage or sniff(head, 2**63) != "pickle"):
        return
    body = _body(archive, entry, report)
    if body is None:
        return
    try:
        scan_stream(io.BytesIO(body), report)
    except Invalid as problem:
        if name.name == "data.pkl":
            raise
        report.worsen(verdict.SUSPICIOUS, f"{entry.filename}: {problem.reason}")


def _scan_archive_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, report: Report) -> None:
    ending = PurePosixPath(entry.filename).suffix.lower()
    head = _head(archive, entry, report)
    found = sniff(head, entry.file_size)
    if found == "program" or ending in PROGRAM_ENDINGS:
        report.worsen(verdict.SUSPICIOUS, f"program {entry.filename}")
    if found != "pickle" and not (found == "zip" and ending in PICKLE_ENDINGS):
        return
    body = _body(archive, entry, report)
    if body is None:
        return
    reader = read_torch if found == "zip" else read_pickle
    try:
        inner = reader(io.BytesIO(body), len(body))
    except Refused as problem:
        report.worsen(verdict.SUSPICIOUS, f"{entry.filename}: {problem.reason}")
        return
    for finding in inner.findings:
        report.worsen(inner.safety, f"{entry.filename}: {finding}")
    report.worsen(inner.safety, f"pickle {entry.filename}")


def _head(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, report: Report) -> bytes:
    try:
        with archive.open(entry) as stream:
            return stream.read(4096)
    except _BROKEN as exc:
        report.worsen(verdict.SUSPICIOUS, f"{entry.filename} cannot be read ({shown(exc, 80)})")
        return b""


def _body(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, report: Report) -> bytes | None:
    """The whole entry, None (and a finding) when it is too large or broken."""
    if entry.file_size > MAX_SCANNED_BYTES:
        report.worsen(verdict.SUSPICIOUS, f"{entry.filename} is too large to be scanned")
        return None
    try:
        with archive.open(entry) as stream:
            body = stream.read(MAX_SCANNED_BYTES + 1)
    except _BROKEN as exc:
        report.worsen(verdict.DANGEROUS, f"{entry.filename} cannot be read ({shown(exc, 80)})")
        return None
    if len(body) > MAX_SCANNED_BYTES:
        report.worsen(verdict.SUSPICIOUS, f"{entry.filename} is too large to be scanned")
        return None
    return body
