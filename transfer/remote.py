"""What the answers of a server say about one file, and whether they still speak of the same one."""

from __future__ import annotations

from dataclasses import dataclass, field

from transfer.errors import BadAnswer, RemoteChanged
from transfer.http import Answer
from transfer.ranges import ContentRange, parse_content_range

MAX_PAGE_BYTES = 1024 * 1024
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_TEXTS = frozenset({"application/json", "application/xml", "text/xml", "text/plain"})


class StartOver(RemoteChanged):
    """What is here cannot be continued: the file goes on from its first byte.

    `without_ranges`: the server's ranges are not to be trusted, the next request has none.
    """

    def __init__(self, reason: str, *, without_ranges: bool = False) -> None:
        super().__init__(
            "The file changed on the server; restarted from the beginning."
            if reason == "changed"
            else "The server cannot continue the file; restarted from the beginning.",
            reason=reason,
        )
        self.reason = reason
        self.without_ranges = without_ranges


@dataclass(frozen=True)
class Known:
    """Size and validators of the file whose bytes are here already."""

    size_bytes: int | None = None
    etag: str = ""
    last_modified: str = ""

    @property
    def strong_etag(self) -> str:
        """The ETag if it may go into If-Range: weak ones must not (RFC 9110 13.1.5)."""
        is_strong = len(self.etag) >= 2 and self.etag[0] == self.etag[-1] == '"'
        return self.etag if is_strong else ""

    def completed_by(self, earlier: Known | None) -> Known:
        """With what an earlier answer about the same file said and this one left out."""
        if earlier is None:
            return self
        return Known(
            earlier.size_bytes if self.size_bytes is None else self.size_bytes,
            self.etag or earlier.etag,
            self.last_modified or earlier.last_modified,
        )

    def differs_from(self, other: Known) -> bool:
        """True if something that both know is not the same."""
        if self.size_bytes != other.size_bytes and None not in {self.size_bytes, other.size_bytes}:
            return True
        if self.etag and other.etag:
            return self.etag != other.etag
        if self.last_modified and other.last_modified:
            return self.last_modified != other.last_modified
        return False


@dataclass(frozen=True)
class Offer:
    """A body that may be written from byte `start` on, up to `end` (None: until it ends)."""

    start: int
    end: int | None
    file: Known
    has_ranges: bool
    is_end_certain: bool
    content_type: str
    disposition: str
    url: str = field(repr=False)

    @property
    def may_be_page(self) -> bool:
        """True if this looks like what servers say instead of giving a file out."""
        is_short = (self.file.size_bytes or 0) < MAX_PAGE_BYTES
        return self.content_type in _PAGES or (self.content_type in _TEXTS and is_short)


def judge(answer: Answer, start: int, end: int | None, known: Known | None) -> Offer:
    """What the answer to `bytes=start-end` offers; an offer from 0 may come for any start.

    `known` describes the bytes that are here; None when there are none. Raises StartOver when
    they cannot be continued, BadAnswer when the answer contradicts itself.
    """
    found = parse_content_range(answer.headers.get("Content-Range"))
    if answer.status == 416:
        return _nothing_left(answer, start, found, known)
    content_type = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
    if content_type == "multipart/byteranges":
        raise StartOver("multipart", without_ranges=True)
    if answer.status == 206 or "Content-Range" in answer.headers:
        return _part(answer, start, end, found, known)
    file = _file_of(answer, answer.length)
    # A page instead of the file says nothing about the file; whoever has its bytes decides.
    if known is not None and known.differs_from(file) and content_type not in _PAGES | _TEXTS:
        raise StartOver("changed")
    return _offer(answer, 0, file.size_bytes, file, has_ranges=False)


def _part(
    answer: Answer, start: int, end: int | None, found: ContentRange | None, known: Known | None
) -> Offer:
    if found is None or found.start != start or found.end is None:
        raise StartOver("wrong_range", without_ranges=True)
    if end is not None and found.end > end:
        raise StartOver("wrong_range", without_ranges=True)
    if answer.length is not None and answer.length != found.end - start:
        raise BadAnswer(
            f"{answer.host} announces a range and a length that do not fit.",
            reason="http_bad_header",
            host=answer.host,
        )
    file = _file_of(answer, found.total)
    if known is not None and known.differs_from(file):
        raise StartOver("changed")
    is_whole_rest = end is None and found.total is None
    return _offer(
        answer, start, None if is_whole_rest else found.end, file, has_ranges=not is_whole_rest
    )


def _nothing_left(
    answer: Answer, start: int, found: ContentRange | None, known: Known | None
) -> Offer:
    """416: all is here, or what is here belongs to another file. Its body is never written."""
    total = found.total if found is not None else None
    if known is None or total is None or total != start or start == 0:
        raise StartOver("range_refused", without_ranges=True)
    if known.size_bytes not in {None, total}:
        raise StartOver("changed")
    file = Known(total, known.etag, known.last_modified)
    return _offer(answer, start, start, file, has_ranges=True)


def _file_of(answer: Answer, size_bytes: int | None) -> Known:
    return Known(
        size_bytes,
        (answer.headers.get("ETag") or "").strip(),
        (answer.headers.get("Last-Modified") or "").strip(),
    )


def _offer(answer: Answer, start: int, end: int | None, file: Known, *, has_ranges: bool) -> Offer:
    content_type = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
    return Offer(
        start=start,
        end=end,
        file=file,
        has_ranges=has_ranges,
        is_end_certain=answer.is_length_certain,
        content_type=content_type,
        disposition=answer.headers.get("Content-Disposition") or "",
        url=answer.url,
    )
