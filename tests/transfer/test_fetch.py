"""The engine against servers that drop, lie, stall and change: F2-F13, F17-F22, F25, F29."""

from __future__ import annotations

import collections
import hashlib
import os
import socket
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.transfer.ledgers import MemoryLedger
from tests.transfer.origin import ServedFile, answer, redirect
from transfer import partial as partials
from transfer import pulse
from transfer import run as runs
from transfer.errors import (
    AuthRequired,
    BadAnswer,
    ConnectFailed,
    Interrupted,
    NoSpace,
    RedirectRefused,
    RemoteBusy,
    RemoteChanged,
    RemoteGone,
    SizeMismatch,
    StopRequested,
    TooLarge,
    TooSlow,
    UrlNotAllowed,
)
from transfer.fetch import Fetched, FetchLimits, FilePlan, fetch
from transfer.http import Credential
from transfer.urls import origin_of

MIB = 1024 * 1024
CONTENT = os.urandom(3 * MIB + 17)
OTHER = os.urandom(3 * MIB + 17)
REAL_PIECE_BYTES, REAL_SPLIT_BYTES = runs.PIECE_BYTES, runs.SPLIT_BYTES
#: Big enough to be split where `small_pieces` is in force.
BIG = os.urandom(5 * MIB + 5)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(runs, "PIECE_BYTES", MIB)
    monkeypatch.setattr(runs, "SPLIT_BYTES", 4 * MIB)


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch):
    """Kernel buffers of loopback would swallow whole pieces ahead."""
    real = socket.socket.setsockopt

    def also_small(sock, *args):
        if args[:2] == (socket.IPPROTO_TCP, socket.TCP_NODELAY):
            real(sock, socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        real(sock, *args)

    monkeypatch.setattr(socket.socket, "setsockopt", also_small)


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "partials"
    path.mkdir()
    return path


@pytest.fixture
def job(client, directory, origin):
    return Job(client, directory, origin)


class Job:
    """A download with its ledger; `go` is one attempt."""

    def __init__(self, client, directory, origin) -> None:
        self.client, self.directory, self.origin = client, directory, origin
        self.ledger = MemoryLedger()
        self.progress: list[tuple[int, int | None]] = []
        self.stop_at: int | None = None
        self.refresh = None
        self.throttle = None
        self.limits = FetchLimits(connections=4, idle_timeout_s=5)

    def plan(self, path="/f", **values) -> FilePlan:
        return FilePlan(self.origin.url(path), **values)

    def go(self, plan: FilePlan | None = None, **values) -> Fetched:
        return fetch(
            plan or self.plan(**values),
            client=self.client,
            directory=self.directory,
            ledger=self.ledger,
            limits=self.limits,
            on_progress=lambda done, total: self.progress.append((done, total)),
            should_stop=self._should_stop,
            refresh=self.refresh,
            throttle=self.throttle,
        )

    def _should_stop(self) -> bool:
        return self.stop_at is not None and any(done >= self.stop_at for done, _ in self.progress)

    def interrupt(self, served: ServedFile, at: int, plan: FilePlan | None = None) -> None:
        """One attempt that ends with the line cut for good after `at` bytes."""
        before, served.cuts = served.cuts, collections.deque([at] + [0] * 20)
        with pytest.raises(Interrupted):
            self.go(plan)
        served.cuts = before
        self.progress.clear()


def assert_is(fetched: Fetched, content: bytes) -> None:
    assert fetched.size_bytes == len(content)
    assert fetched.sha256 == sha256(content)
    assert fetched.path.read_bytes() == content
    assert fetched.head == content[: 64 * 1024]


# --- the plain way -----------------------------------------------------------------------------


def test_a_file_arrives_with_its_digest_name_and_validators(job, origin):
    extra = {"Content-Disposition": 'attachment; filename="my model.safetensors"'}
    origin.serve("/f", ServedFile(CONTENT, extra=extra))
    fetched = job.go(size_bytes=len(CONTENT), size_exact=True, sha256=sha256(CONTENT))
    assert_is(fetched, CONTENT)
    assert fetched.suggested_name == "my model.safetensors"
    assert (fetched.etag, fetched.content_type) == ('"v1"', "application/octet-stream")
    assert fetched.size_certain
    assert fetched.git_sha1 == ""
    assert fetched.path.stat().st_mode & 0o777 == 0o600
    assert job.progress[-1] == (len(CONTENT), len(CONTENT))
    assert len(origin.requests) == 1
    assert origin.requests[0].headers["range"] == "bytes=0-"
    assert job.ledger.n_durable == len(CONTENT)


def test_validators_are_stored_before_the_first_byte(job, origin):
    origin.serve("/f", ServedFile(CONTENT))
    job.go()
    name = job.ledger.state.file_name
    assert job.ledger.calls[0] == ("begin", name, len(CONTENT), '"v1"')


def test_the_git_digest_is_made_when_it_is_asked_for(job, origin):
    origin.serve("/f", ServedFile(b"hello\n"))
    fetched = job.go(git_sha1="ce013625030ba8dba906f756967f9e9ca394464a")
    assert fetched.git_sha1 == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("size", [0, 1, 65536, MIB, MIB + 1])
@pytest.mark.parametrize("ranges", [True, False])
def test_small_files_arrive(size, ranges, job, origin):
    origin.serve("/f", ServedFile(CONTENT[:size], ranges=ranges))
    assert_is(job.go(), CONTENT[:size])


def test_a_big_file_comes_over_several_connections(job, origin):
    served = origin.serve("/f", ServedFile(BIG))
    assert_is(job.go(), BIG)
    assert origin.connections > 1
    assert served.sent < len(BIG) + 2 * MIB
    for request in origin.asked("/f")[1:]:
        start, end = request.range
        assert end - start < runs.PIECE_BYTES
        assert request.headers["if-range"] == '"v1"'


def test_a_smaller_file_is_not_split(job, origin):
    origin.serve("/f", ServedFile(BIG[: 4 * MIB - 1]))
    assert_is(job.go(), BIG[: 4 * MIB - 1])
    assert origin.connections == 1


def test_a_file_without_ranges_or_validators_is_not_split(job, origin):
    origin.serve("/f", ServedFile(BIG, ranges=False))
    assert_is(job.go(), BIG)
    origin.serve("/g", ServedFile(BIG, etag="", last_modified=""))
    job.ledger = MemoryLedger()
    assert_is(job.go(job.plan("/g")), BIG)
    assert len(origin.requests) == 2


def test_a_known_digest_allows_splitting_without_validators(job, origin):
    origin.serve("/f", ServedFile(BIG, etag='W/"weak"'))
    assert_is(job.go(sha256=sha256(BIG)), BIG)
    assert len(origin.requests) > 1
    assert not any("if-range" in request.headers for request in origin.requests)


def test_memory_stays_bounded_with_pieces_of_the_real_size(job, origin, monkeypatch):
    monkeypatch.setattr(runs, "PIECE_BYTES", REAL_PIECE_BYTES)
    monkeypatch.setattr(runs, "SPLIT_BYTES", REAL_SPLIT_BYTES)
    content = BIG * 8
    origin.serve("/f", ServedFile(content))
    tracemalloc.start()
    try:
        assert_is(job.go(), content)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB
    assert len(origin.requests) > 1


def test_progress_is_thinned_and_ends_with_everything(job, origin):
    origin.serve("/f", ServedFile(CONTENT, pace=(256 * 1024, 0.02)))
    began = time.monotonic()
    job.go()
    assert len(job.progress) <= (time.monotonic() - began) / pulse.PROGRESS_SECONDS + 2
    assert [done for done, _ in job.progress] == sorted(done for done, _ in job.progress)


def test_a_forbidden_address_is_refused_before_anything_is_written(job, canary):
    with pytest.raises(UrlNotAllowed):
        job.go(FilePlan(f"http://127.0.0.1:{canary.port}/f"))
    assert job.ledger.calls == []
    assert list(job.directory.iterdir()) == []


def test_a_credential_is_for_its_origin_not_for_the_cdn(
    origin, second_origin, make_client, directory
):
    job = Job(make_client(origin, second_origin), directory, origin)
    origin.on("/f", redirect(second_origin.url("/signed?X-Amz-Signature=abc")))
    second_origin.serve("/signed", ServedFile(BIG))
    secret = Credential("s", frozenset({origin_of(origin.url("/"))}), "canary", allow_http=True)
    assert_is(job.go(credential=secret), BIG)
    assert origin.requests[0].headers["authorization"] == "Bearer canary"
    assert len(origin.requests) == 1
    assert len(second_origin.requests) > 1
    assert not any("authorization" in request.headers for request in second_origin.requests)


# --- cuts and resuming -------------------------------------------------------------------------


def test_a_cut_is_continued_where_it_happened(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    served.cuts.extend([1_000_000, 500_000])
    assert_is(job.go(), CONTENT)
    assert [request.range[0] for request in origin.requests] == [0, 1_000_000, 1_500_000]
    assert served.sent == len(CONTENT)
    assert origin.requests[1].headers["if-range"] == '"v1"'
    assert job.ledger.resets == []


def test_a_line_that_is_always_cut_ends_with_everything_kept(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    served.cuts.extend([700_000] + [1000] * 50)
    with pytest.raises(Interrupted, match=f"of {len(CONTENT)} bytes") as failed:
        job.go()
    assert failed.value.retryable
    assert job.ledger.n_durable == served.sent
    assert len(origin.requests) == 1 + pulse.QUICK_TRIES
    served.cuts.clear()
    assert_is(job.go(), CONTENT)
    assert served.sent == len(CONTENT)


SMALL = BIG[: 4 * MIB - 1]


def test_progress_makes_the_quick_tries_available_again(job, origin):
    served = origin.serve("/f", ServedFile(SMALL))
    served.cuts.extend([MIB] * 3)
    assert_is(job.go(), SMALL)
    assert served.sent == len(SMALL)


def test_a_reset_connection_and_a_cut_chunked_body_are_continued(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))

    def reset(request, out):
        out.head(206, {"Content-Length": str(len(CONTENT)), "ETag": '"v1"',
                       "Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"})  # fmt: skip
        out.raw(CONTENT[:300_000])
        out.reset()

    def chunked(request, out):
        start = request.range[0]
        total = len(CONTENT)
        out.head(206, {"Transfer-Encoding": "chunked", "ETag": '"v1"',
                       "Content-Range": f"bytes {start}-{total - 1}/{total}"})  # fmt: skip
        out.raw(b"%x\r\n" % 100_000 + CONTENT[start : start + 50_000])
        out.close()

    origin.once("/f", reset, chunked)
    assert_is(job.go(), CONTENT)
    assert served.sent >= len(CONTENT) - 350_000


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_later_attempt_continues_with_if_range(size, job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    plan = job.plan(size_bytes=size, size_exact=size is not None)
    job.interrupt(served, 2_000_000, plan)
    assert job.ledger.state.ranges
    origin.requests.clear()
    assert_is(job.go(plan), CONTENT)
    assert origin.requests[0].headers["range"] == "bytes=2000000-"
    assert origin.requests[0].headers["if-range"] == '"v1"'
    assert served.sent == len(CONTENT)
    assert job.progress[0][0] >= 2_000_000


def test_a_complete_partial_needs_no_request(job, origin):
    origin.serve("/f", ServedFile(CONTENT))
    job.go()
    origin.requests.clear()
    fetched = job.go()
    assert origin.requests == []
    assert_is(fetched, CONTENT)


def test_gaps_in_the_middle_are_filled(job, origin):
    served = origin.serve("/f", ServedFile(BIG))
    job.go()
    ranges = ((0, MIB), (2 * MIB + 7, 3 * MIB), (4 * MIB, len(BIG)))
    job.ledger._change(ranges=ranges)
    (job.directory / job.ledger.state.file_name).write_bytes(
        b"".join(BIG[start:end].rjust(end - begin, b"\0") for begin, (start, end) in
                 zip((0, MIB, 3 * MIB), ranges, strict=True))
    )  # fmt: skip
    served.sent = 0
    assert_is(job.go(), BIG)
    # Two gaps of 2 MiB together, and what was under way when a connection was left.
    assert served.sent < 3 * MIB


def test_what_is_here_counts_although_the_beginning_is_missing(job, origin):
    """A worker died while the second piece was noted and the first was not."""
    served = origin.serve("/f", ServedFile(BIG))
    job.go()
    job.ledger._change(ranges=((MIB, 5 * MIB),))
    path = job.directory / job.ledger.state.file_name
    path.write_bytes(bytes(MIB) + BIG[MIB : 5 * MIB])
    served.sent = 0
    assert_is(job.go(), BIG)
    assert job.ledger.resets == []
    assert served.sent < 3 * MIB


def test_a_part_that_says_less_than_earlier_answers_is_used(job, origin):
    """No ETag and no total on the 206: what the ledger holds still counts."""
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 1_000_000)

    def talk(request, out):
        start, total = request.range[0], len(CONTENT)
        out.answer(206, {"Content-Range": f"bytes {start}-{total - 1}/*"}, CONTENT[start:])

    origin.on("/f", talk)
    assert_is(job.go(), CONTENT)
    assert job.ledger.resets == []


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_without_a_strong_validator_only_a_digest_allows_resuming(etag, job, origin):
    served = origin.serve("/f", ServedFile(CONTENT, etag=etag))
    job.interrupt(served, 1_000_000)
    assert_is(job.go(), CONTENT)
    assert job.ledger.resets == ["no_validator"]
    assert not any("if-range" in request.headers for request in origin.requests)

    job.ledger = MemoryLedger()
    plan = job.plan(sha256=sha256(CONTENT))
    job.interrupt(served, 1_000_000, plan)
    served.sent = 0
    assert_is(job.go(plan), CONTENT)
    assert served.sent == len(CONTENT) - 1_000_000


# --- servers that ignore, lie and change -------------------------------------------------------


def test_a_server_that_ignores_ranges_makes_the_file_start_again(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 1_000_000)
    served.ranges = False
    origin.requests.clear()
    assert_is(job.go(), CONTENT)
    assert len(origin.requests) == 1  # the body of the 200 is used
    assert job.ledger.resets == ["no_ranges"]


def test_after_three_restarts_one_straight_run_may_finish(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT, ranges=False))
    for _ in range(4):
        served.cuts.append(1_000_000)
        with pytest.raises(Interrupted) as failed:
            job.go()
        assert failed.value.details["reason"] == "no_resume_support"
    assert job.ledger.state.restarts == 3
    origin.requests.clear()
    assert_is(job.go(), CONTENT)
    assert "range" not in origin.requests[0].headers
    assert job.ledger.state.restarts == 3


@pytest.mark.parametrize("if_range", [True, False])
def test_a_changed_file_is_never_spliced(if_range, job, origin):
    served = origin.serve("/f", ServedFile(CONTENT, if_range=if_range))
    job.interrupt(served, 1_000_000)
    served.content, served.etag = OTHER, '"v2"'
    assert_is(job.go(), OTHER)
    assert job.ledger.resets == ["changed"]
    assert job.ledger.state.etag == '"v2"'


@pytest.mark.parametrize("if_range", [True, False])
@pytest.mark.parametrize("at_request", [2, 3, 5])
def test_a_file_that_changes_while_it_comes_starts_again(if_range, at_request, job, origin):
    served = ServedFile(BIG, pace=(64 * 1024, 0.002), if_range=if_range)
    changed = bytes(reversed(BIG))

    def change(request, out):
        if len(origin.requests) >= at_request:
            served.etag, served.content = '"v2"', changed
        served(request, out)

    origin.on("/f", change)
    job.limits = FetchLimits(connections=2)
    assert_is(job.go(), changed)
    assert job.ledger.resets == ["changed"]


def test_a_file_that_changes_at_every_answer_ends(job, origin):
    counter = iter(range(1000))

    def restless(request, out):
        n = next(counter)
        ServedFile(CONTENT, etag=f'"{n}"', cuts=collections.deque([100_000]), if_range=False)(
            request, out
        )

    origin.on("/f", restless)
    with pytest.raises((RemoteChanged, Interrupted)):
        job.go()
    assert len(origin.requests) < 20


def part(start, end, total, body, **headers):
    def handler(request, out):
        out.answer(
            206, {"Content-Range": f"bytes {start}-{end}/{total}", "ETag": '"v1"', **headers}, body
        )

    return handler


WRONG_PARTS = {
    "wrong start": part(999_999, len(CONTENT) - 1, len(CONTENT), CONTENT[999_999:]),
    "from the beginning": part(0, len(CONTENT) - 1, len(CONTENT), CONTENT),
    "wrong total": part(1_000_000, len(CONTENT) - 1, len(CONTENT) + 1, CONTENT[1_000_000:]),
    "no range": lambda request, out: out.answer(206, {"ETag": '"v1"'}, CONTENT[1_000_000:]),
    "nonsense": part("x", "y", "z", CONTENT[1_000_000:]),
    "end before start": part(1_000_000, 5, len(CONTENT), CONTENT[1_000_000:]),
    "beyond the total": part(1_000_000, len(CONTENT), len(CONTENT), CONTENT[1_000_000:] + b"x"),
    "multipart": part(1_000_000, len(CONTENT) - 1, len(CONTENT), b"--x\r\n",
                      **{"Content-Type": "multipart/byteranges; boundary=x"}),
    "416 at another size": answer(416, {"Content-Range": "bytes */1000"}, CONTENT[1_000_000:]),
    "416 without a size": answer(416, {}, CONTENT[1_000_000:]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_a_wrong_part_is_not_used(name, job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 1_000_000)
    origin.once("/f", WRONG_PARTS[name])
    assert_is(job.go(), CONTENT)
    assert len(job.ledger.resets) == 1


def test_a_200_that_carries_a_content_range_is_a_part(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 1_000_000)
    total = len(CONTENT)

    def talk(request, out):
        out.answer(200, {"ETag": '"v1"', "Content-Range": f"bytes 1000000-{total - 1}/{total}"},
                   CONTENT[1_000_000:])  # fmt: skip

    origin.once("/f", talk)
    assert_is(job.go(), CONTENT)
    assert job.ledger.resets == []


def test_416_at_our_size_means_that_all_is_here(job, origin):
    """The size was not known, the last byte had come, the worker died."""
    served = origin.serve("/f", ServedFile(CONTENT))
    job.go()
    job.ledger._change(size_bytes=None)
    origin.requests.clear()
    served.sent = 0
    assert_is(job.go(), CONTENT)
    assert (len(origin.requests), served.sent) == (1, 0)


def test_a_first_answer_with_a_wrong_range_is_asked_for_without_one(job, origin):
    origin.serve("/f", ServedFile(CONTENT))
    origin.once("/f", part(5, 9, 10, b"xxxxx"))
    assert_is(job.go(), CONTENT)
    assert "range" not in origin.requests[1].headers


# --- lengths that lie --------------------------------------------------------------------------


def test_a_length_that_is_too_big_is_a_cut(job, origin):
    def talk(request, out):
        out.head(200, {"Content-Length": str(len(CONTENT) + 10)})
        out.raw(CONTENT)
        out.close()

    origin.on("/f", talk)
    with pytest.raises(Interrupted):
        job.go()


def test_bytes_beyond_the_length_are_not_taken(job, origin):
    def talk(request, out):
        out.head(200, {"Content-Length": "1000"})
        out.raw(CONTENT)
        out.close()

    origin.on("/f", talk)
    assert_is(job.go(), CONTENT[:1000])


@pytest.mark.parametrize(
    ("expected", "error"), [(len(CONTENT) - 1, TooLarge), (len(CONTENT) + 1, SizeMismatch)]
)
def test_a_length_other_than_the_published_one_is_refused(expected, error, job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    with pytest.raises(error):
        job.go(size_bytes=expected, size_exact=True)
    assert job.ledger.calls == []
    assert served.sent < len(CONTENT) + 1


def test_a_rounded_size_is_only_a_hint(job, origin):
    origin.serve("/f", ServedFile(CONTENT))
    for hint in (len(CONTENT) - 500, len(CONTENT) + 700, 10 * len(CONTENT)):
        job.ledger = MemoryLedger()
        assert_is(job.go(size_bytes=hint, size_exact=False), CONTENT)


@pytest.mark.parametrize("exact", [True, False])
def test_an_endless_body_is_cut_at_the_limit(exact, job, origin):
    def talk(request, out):
        out.head(200, {"Connection": "close"})
        while True:
            out.raw(b"x" * 65536)

    origin.on("/f", talk)
    limit = {"size_bytes": MIB, "size_exact": True} if exact else {"max_bytes": MIB}
    with pytest.raises(TooLarge):
        job.go(**limit)
    assert job.ledger.n_durable <= MIB


def test_a_file_larger_than_allowed_is_refused_before_its_first_byte(job, origin):
    origin.serve("/f", ServedFile(CONTENT))
    with pytest.raises(TooLarge):
        job.go(max_bytes=len(CONTENT) - 1)
    assert list(job.directory.iterdir()) == []


def test_the_end_of_a_body_without_a_length_is_uncertain(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT, ranges=False, with_length=False))
    fetched = job.go()
    assert_is(fetched, CONTENT)
    assert not fetched.size_certain

    for known in ({"sha256": sha256(CONTENT)}, {"size_bytes": len(CONTENT), "size_exact": True}):
        job.ledger = MemoryLedger()
        assert job.go(**known).size_certain

    job.ledger = MemoryLedger()
    served.cuts.append(1000)
    cut = job.go(sha256=sha256(CONTENT))
    assert (cut.size_bytes, cut.size_certain) == (1000, False)

    job.ledger = MemoryLedger()
    served.cuts.append(1000)
    with pytest.raises(Interrupted):
        job.go(size_bytes=len(CONTENT), size_exact=True)


def test_a_chunked_body_ends_certainly(job, origin):
    def talk(request, out):
        out.head(200, {"Transfer-Encoding": "chunked"})
        out.raw(b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))

    origin.on("/f", talk)
    fetched = job.go()
    assert_is(fetched, CONTENT)
    assert fetched.size_certain


def test_a_packed_answer_is_never_written(job, origin):
    origin.serve("/f", ServedFile(CONTENT, extra={"Content-Encoding": "gzip"}))
    with pytest.raises(BadAnswer) as refused:
        job.go()
    assert refused.value.details["reason"] == "http_encoded"
    assert list(job.directory.iterdir()) == []


def test_the_length_of_a_redirect_is_nobodys_size(job, origin):
    origin.on("/f", redirect("/cdn", 302, b"x" * 1234))
    origin.serve("/cdn", ServedFile(CONTENT))
    assert_is(job.go(), CONTENT)
    assert {request.method for request in origin.requests} == {"GET"}


# --- pages, statuses, addresses that run out ---------------------------------------------------


def test_a_page_instead_of_a_file_is_for_the_caller_to_judge(job, origin):
    page = b"<!DOCTYPE html><title>Sign in</title>"
    origin.on("/f", redirect("/login?reason=download-auth"))
    origin.on("/login", answer(200, {"Content-Type": "text/html; charset=utf-8"}, page))
    fetched = job.go(size_bytes=len(CONTENT), size_exact=True)
    assert (fetched.head, fetched.content_type) == (page, "text/html")


@pytest.mark.parametrize("content_type", ["text/html", "application/json"])
def test_a_page_does_not_cost_the_partial(content_type, job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 1_000_000)
    origin.once("/f", answer(200, {"Content-Type": content_type}, b"please sign in"))
    with pytest.raises(BadAnswer, match="token is probably missing"):
        job.go()
    assert job.ledger.n_durable == 1_000_000
    assert_is(job.go(), CONTENT)
    assert served.sent == len(CONTENT)


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthRequired), (403, AuthRequired), (404, RemoteGone),
                          (410, RemoteGone), (429, RemoteBusy), (503, RemoteBusy)]
)  # fmt: skip
def test_a_refusal_at_the_start_is_raised_without_asking_the_source(status, error, job, origin):
    job.refresh = lambda: pytest.fail("The address was not a signed one.")
    origin.on("/f", answer(status, {"Retry-After": "7"}))
    with pytest.raises(error):
        job.go()
    assert len(origin.requests) == 1
    assert list(job.directory.iterdir()) == []


def test_redirect_loops_and_closed_ports_are_raised(job, origin, make_client):
    origin.on("/f", redirect("/f"))
    with pytest.raises(RedirectRefused):
        job.go()
    origin.close()
    with pytest.raises(ConnectFailed):
        job.go(job.plan("/g"))


class Signed:
    """A source whose links lead to an address that works only a few times."""

    def __init__(self, origin, served, uses, status=403) -> None:
        self.served, self.uses, self.status = served, uses, status
        self.made = 0
        self.left: dict[str, int] = {}
        origin.on("/f", self.lead)
        self.origin = origin

    def lead(self, request, out):
        self.made += 1
        path = f"/signed/{self.made}"
        self.left[path] = self.uses
        self.origin.on(path, self.give)
        out.answer(302, {"Location": f"{path}?X-Amz-Signature=s"})

    def give(self, request, out):
        self.left[request.path] -= 1
        if self.left[request.path] < 0:
            out.answer(self.status, {}, b"<Error>Request has expired</Error>")
        else:
            self.served(request, out)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_address_that_runs_out_is_found_again(status, job, origin):
    served = ServedFile(CONTENT, cuts=collections.deque([1_000_000]))
    signed = Signed(origin, served, uses=1, status=status)
    assert_is(job.go(), CONTENT)
    assert served.sent == len(CONTENT)
    assert signed.made == 2
    assert job.ledger.resets == []


def test_the_source_is_asked_once_when_the_link_itself_ran_out(job, origin):
    served = origin.serve("/new", ServedFile(CONTENT))
    job.interrupt(served, 1_000_000, job.plan("/new"))
    origin.on("/old", redirect("/expired"))
    origin.on("/expired", answer(403))
    asked = []

    def refresh():
        asked.append(1)
        return job.plan("/new")

    job.refresh = refresh
    assert_is(job.go(job.plan("/old")), CONTENT)
    assert asked == [1]
    assert served.sent == len(CONTENT)


def test_an_address_that_never_works_ends_with_its_refusal(job, origin):
    origin.on("/f", redirect("/expired"))
    origin.on("/expired", answer(403))
    job.refresh = job.plan
    with pytest.raises(AuthRequired):
        job.go()
    assert len(origin.asked("/expired")) == 2


def test_a_source_that_names_another_file_is_not_followed(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    pinned = {"sha256": sha256(CONTENT)}
    job.interrupt(served, 1_000_000, job.plan(**pinned))
    origin.once("/f", redirect("/expired"))
    origin.on("/expired", answer(403))
    origin.serve("/other", ServedFile(OTHER))
    job.refresh = lambda: job.plan("/other", sha256=sha256(OTHER))
    with pytest.raises(RemoteChanged):
        job.go(**pinned)
    assert origin.asked("/other") == []
    assert job.ledger.n_durable == 1_000_000


def test_a_source_whose_file_has_another_size_now_starts_again(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 1_000_000)
    origin.once("/f", redirect("/expired"))
    origin.on("/expired", answer(403))
    origin.serve("/other", ServedFile(OTHER[:2_000_000], etag='"v2"'))
    job.refresh = lambda: job.plan("/other", size_bytes=2_000_000, size_exact=True)
    assert_is(job.go(), OTHER[:2_000_000])
    assert job.ledger.resets == ["changed"]


def test_a_server_that_allows_one_connection_gets_one(job, origin):
    served = ServedFile(BIG, pace=(MIB, 0.02))
    busy = threading.Lock()

    def one_at_a_time(request, out):
        if not busy.acquire(blocking=False):
            out.answer(429, {})
            return
        try:
            served(request, out)
        finally:
            busy.release()

    origin.on("/f", one_at_a_time)
    assert_is(job.go(), BIG)


# --- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["before the answer", "in the body", "between two pieces"])
def test_a_stop_takes_effect_within_a_second_of_silence(where, job, origin):
    def stall(request, out):
        if where == "in the body":
            out.head(200, {"Content-Length": "1000000", "ETag": '"v1"'})
            out.raw(b"x" * 1000)
        if where == "between two pieces" and request.range[0] == 0:
            ServedFile(CONTENT, cuts=collections.deque([1000]))(request, out)
        out.stall()

    origin.on("/f", stall)
    asked_at = []

    def should_stop():
        if origin.requests and (where == "before the answer" or job.progress):
            asked_at.append(time.monotonic())
        return len(asked_at) > 2

    with pytest.raises(StopRequested):
        fetch(
            job.plan(), client=job.client, directory=job.directory, ledger=job.ledger,
            limits=FetchLimits(), should_stop=should_stop,
            on_progress=lambda done, total: job.progress.append((done, total)),
        )  # fmt: skip
    assert time.monotonic() - asked_at[-1] < 1
    if where != "before the answer":
        assert job.ledger.n_durable == 1000


def test_what_came_before_a_stop_is_not_asked_for_again(job, origin):
    served = origin.serve("/f", ServedFile(BIG, pace=(32 * 1024, 0.03)))
    job.stop_at = MIB
    with pytest.raises(StopRequested):
        job.go()
    durable = job.ledger.n_durable
    assert durable >= MIB
    job.stop_at, served.sent, served.pace = None, 0, None
    assert_is(job.go(), BIG)
    # What was under way in socket buffers when a connection was left is asked for again.
    assert served.sent <= len(BIG) - durable + 2 * MIB


def test_silence_in_the_body_is_continued_elsewhere(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))

    def stall(request, out):
        total = len(CONTENT)
        out.head(206, {"Content-Length": str(total), "ETag": '"v1"',
                       "Content-Range": f"bytes 0-{total - 1}/{total}"})  # fmt: skip
        out.raw(CONTENT[:1_000_000])
        out.stall()

    origin.once("/f", stall)
    job.limits = FetchLimits(idle_timeout_s=0.4)
    assert_is(job.go(), CONTENT)
    assert served.sent == len(CONTENT) - 1_000_000


def test_a_trickle_is_too_slow(job, origin):
    origin.serve("/f", ServedFile(CONTENT, pace=(10, 0.02)))
    job.limits = FetchLimits(minimum_bps=5000, slow_window_s=0.5)
    with pytest.raises(TooSlow):
        job.go()
    assert 0 < job.ledger.n_durable < 5000


class Bucket:
    def __init__(self, bytes_per_second: int) -> None:
        self.speed, self.free_at = bytes_per_second, time.monotonic()
        self.threads = set()

    def take(self, n_bytes: int) -> float:
        self.threads.add(threading.current_thread())
        self.free_at = max(self.free_at, time.monotonic()) + n_bytes / self.speed
        return self.free_at - time.monotonic()


def test_the_throttle_holds_all_readers(job, origin):
    origin.serve("/f", ServedFile(CONTENT, pace=(64 * 1024, 0.01)))
    job.throttle = Bucket(2 * MIB)
    job.limits = FetchLimits(minimum_bps=10**9, slow_window_s=0.5)  # slow on purpose is not slow
    began = time.monotonic()
    assert_is(job.go(), CONTENT)
    assert time.monotonic() - began > 0.9
    assert job.throttle.threads == {threading.current_thread()}


# --- callbacks, leftovers, disk ----------------------------------------------------------------


def test_what_a_callback_raises_goes_through(job, origin):
    origin.serve("/f", ServedFile(CONTENT))

    class LostError(Exception):
        pass

    def lost():
        raise LostError

    job._should_stop = lost
    with pytest.raises(LostError):
        job.go()


def test_no_thread_and_no_descriptor_is_left(job, origin):
    served = origin.serve("/f", ServedFile(BIG))
    job.go()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for n in range(3):
        job.ledger = MemoryLedger()
        served.cuts.append(1000 * n)
        job.go()
    job.client.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert not [one for one in threading.enumerate() if one.name.startswith("transfer-")]


def test_a_file_that_does_not_fit_is_refused_before_its_first_byte(job, origin, monkeypatch):
    origin.serve("/f", ServedFile(CONTENT))
    monkeypatch.setattr(partials, "free_space", lambda directory: partials.RESERVE_BYTES + 1000)
    with pytest.raises(NoSpace) as refused:
        job.go()
    assert refused.value.details["missing_bytes"] == len(CONTENT) - 1000
    assert list(job.directory.iterdir()) == []


def test_a_resumed_file_needs_room_only_for_its_rest(job, origin, monkeypatch):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 3_000_000)
    monkeypatch.setattr(partials, "free_space", lambda directory: partials.RESERVE_BYTES + 200_000)
    assert_is(job.go(), CONTENT)


@pytest.mark.parametrize("kept", [0, 999_999])
def test_a_partial_that_was_cut_goes_on_from_what_is_left(kept, job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 2_000_000)
    os.truncate(job.directory / job.ledger.state.file_name, kept)
    served.sent = 0
    assert_is(job.go(), CONTENT)
    assert served.sent == len(CONTENT) - kept
    assert job.ledger.resets == ["partial_cut"]


def test_a_partial_that_grew_or_vanished_does_no_harm(job, origin):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 2_000_000)
    path = job.directory / job.ledger.state.file_name
    with path.open("ab") as file:
        file.write(b"x" * 5_000_000)
    assert_is(job.go(), CONTENT)

    job.ledger = MemoryLedger()
    job.interrupt(served, 2_000_000)
    (job.directory / job.ledger.state.file_name).unlink()
    assert_is(job.go(), CONTENT)
    assert job.ledger.resets == ["partial_missing"]


@pytest.mark.parametrize("plant", ["symlink", "hardlink", "directory"])
def test_a_planted_partial_is_not_written_to(plant, job, origin, tmp_path):
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 2_000_000)
    path, victim = job.directory / job.ledger.state.file_name, tmp_path / "victim"
    victim.write_bytes(b"precious" * 500_000)
    path.unlink()
    if plant == "symlink":
        path.symlink_to(victim)
    elif plant == "hardlink":
        os.link(victim, path)
    else:
        path.mkdir()
    fetched = job.go()
    assert_is(fetched, CONTENT)
    assert victim.read_bytes() == b"precious" * 500_000


def test_old_bytes_of_another_attempt_do_not_stay_behind(job, origin):
    """A restart writes into the same file, and nothing of the longer one is left."""
    served = origin.serve("/f", ServedFile(CONTENT))
    job.interrupt(served, 2_000_000)
    served.content, served.etag = OTHER[:500_000], '"v2"'
    assert_is(job.go(), OTHER[:500_000])
    assert len(list(job.directory.iterdir())) == 1
