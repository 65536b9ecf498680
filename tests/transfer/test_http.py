"""A2, A6-A8, A11, A34, A39 and the answers that become errors, on real sockets."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback

import pytest

from tests.transfer.origin import ServedFile, answer, redirect, running
from transfer import wire
from transfer.errors import (
    AuthRequired,
    BadAnswer,
    ConnectFailed,
    Interrupted,
    RedirectRefused,
    RemoteBusy,
    RemoteGone,
    RemoteRefused,
    TlsFailed,
    TooLarge,
    UrlNotAllowed,
)
from transfer.http import USER_AGENT, Aborter, Credential, GuardedClient, OutboundPolicy
from transfer.urls import NOT_ALLOWED, Origin, origin_of

PUBLIC = "93.184.215.14"
# In two parts, so that a traceback that quotes this file does not hold it.
SECRET = "canary" + "-secret"


def get(client, url, **kwargs):
    return client.get_bytes(url, max_bytes=1 << 20, **{"deadline_s": 10, **kwargs})


def all_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(getattr(error, "details", ""))


# --- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "localhost", "127.0.0.2", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]",
     "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "①②⑦.⓪.⓪.①", "localhost.", "[::127.0.0.1]",
     "[::ffff:7f00:1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[::1%251]", "127.0.0.1.",
     "%31%32%37.0.0.1", "user@127.0.0.1"],
)  # fmt: skip
def test_no_spelling_of_a_forbidden_address_is_connected_to(host, canary, make_client):
    client = make_client()
    url = f"http://{host}:{canary.port}/latest/meta-data?token={SECRET}"
    with pytest.raises(UrlNotAllowed) as refused:
        get(client, url)
    with pytest.raises(UrlNotAllowed):
        client.check_url(url)
    assert refused.value.message == NOT_ALLOWED
    assert SECRET not in all_text(refused.value)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1"], [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], ["10.1.2.3"],
     ["169.254.169.254"], ["::ffff:127.0.0.1"]],
)  # fmt: skip
def test_a_name_with_any_forbidden_address_is_refused(addresses, canary, make_client, fake_dns):
    fake_dns["rebind.example"] = [addresses]
    with pytest.raises(UrlNotAllowed) as refused:
        get(make_client(), f"http://rebind.example:{canary.port}/")
    assert refused.value.message == NOT_ALLOWED
    assert not any(address in all_text(refused.value) for address in addresses)


def test_the_checked_address_is_the_one_connected_to(canary, make_client, fake_dns, monkeypatch):
    """Rebinding: a second look-up would give loopback, but there is none."""
    fake_dns["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    tried = []

    def connect(self, address):
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(ConnectFailed) as failed:
        get(make_client(), f"http://rebind.example:{canary.port}/")
    assert tried == [(PUBLIC, canary.port)]
    assert PUBLIC not in str(failed.value)


def test_a_peer_that_is_not_the_checked_address_gets_no_byte(
    origin, make_client, fake_dns, monkeypatch
):
    fake_dns["public.example"] = [[PUBLIC]]
    real = socket.socket.connect
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, _: real(self, ("127.0.0.1", origin.port))
    )
    with pytest.raises(UrlNotAllowed):
        get(make_client(), f"http://public.example:{origin.port}/x")
    assert origin.requests == []


def test_an_allowed_name_may_have_a_private_address(origin, fake_dns):
    fake_dns["mirror.example"] = [["127.0.0.1"]]
    origin.on("/x", answer(200, {}, b"here"))
    client = GuardedClient(OutboundPolicy.from_allow_list((f"mirror.example:{origin.port}",)))
    assert get(client, origin.url("/x", "mirror.example")).body == b"here"
    assert origin.requests[0].headers["host"] == f"mirror.example:{origin.port}"
    client.close()


def test_environment_proxies_and_netrc_are_ignored(origin, client, canary, monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password x\n")
    monkeypatch.setenv("NETRC", str(netrc))
    origin.on("/x", answer(200, {"Set-Cookie": "a=b"}, b"ok"))
    get(client, origin.url("/x"))
    get(client, origin.url("/x"))
    for request in origin.requests:
        assert not {"authorization", "cookie", "proxy-authorization"} & request.headers.keys()


@pytest.fixture
def rebinding_name(fake_dns):
    fake_dns["rebind.example"] = [["127.0.0.1"]]


# --- redirects ---------------------------------------------------------------------------------


def test_redirects_are_followed_by_their_rules(origin, second_origin, make_client):
    client = make_client(origin, second_origin)
    origin.on("/a", redirect("/b?x=1", 307))
    origin.on("/b", redirect(second_origin.url("/c"), 301))
    second_origin.on("/c", answer(200, {"Content-Type": "x/y"}, b"there"))
    with client.open(origin.url("/a")) as got:
        assert (got.read(100), got.hops, got.url) == (b"there", 2, second_origin.url("/c"))
    assert origin.requests[1].target == "/b?x=1"


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{port}/", "http://[::1]:{port}/", "http://localhost:{port}/",
     "//127.0.0.2:{port}/x", "http://127.1:{port}/", "file:///etc/passwd", "http://a@127.0.0.1/",
     "http://2130706433:{port}/", "gopher://x/", "http://[::ffff:127.0.0.1]:{port}/",
     "http://rebind.example:{port}/", "http://169.254.169.254/", "\\\\127.0.0.1\\x", "http://["],
)  # fmt: skip
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.usefixtures("rebinding_name")
def test_a_redirect_to_a_forbidden_place_is_refused(location, late, origin, client, canary):
    origin.on("/hop", redirect(location.format(port=canary.port)))
    origin.on("/start", redirect("/hop"))
    with pytest.raises(RedirectRefused) as refused:
        get(client, origin.url("/start" if late else "/hop"))
    assert refused.value.details["hops"] == (2 if late else 1)


def test_loops_and_endless_redirects_end(origin, client):
    origin.on("/loop", redirect("/loop2"))
    origin.on("/loop2", redirect("/loop"))
    with pytest.raises(RedirectRefused):
        get(client, origin.url("/loop"))
    assert len(origin.requests) == 2
    for n in range(10):
        origin.on(f"/{n}", redirect(f"/{n + 1}"))
    with pytest.raises(RedirectRefused):
        get(client, origin.url("/0"))
    assert len(origin.requests) == 2 + 6


def test_five_hops_are_allowed(origin, client):
    for n in range(5):
        origin.on(f"/{n}", redirect(f"/{n + 1}"))
    origin.on("/5", answer(200, {}, b"end"))
    assert get(client, origin.url("/0")).body == b"end"


def test_https_never_leads_to_http(origin, make_client, tls_context):
    with running(tls=tls_context) as secure:
        client = make_client(origin, secure)
        secure.on("/x", redirect(origin.url("/y")))
        with pytest.raises(RedirectRefused):
            get(client, secure.url("/x"))
    assert origin.requests == []


def test_the_body_of_a_redirect_is_not_read(origin, client):
    def bomb(request, out):
        out.head(
            302, {"Location": "/x", "Content-Encoding": "gzip", "Content-Length": "1" + "0" * 15}
        )
        out.stall()

    origin.on("/bomb", bomb)
    origin.on("/x", answer(200, {}, b"ok"))
    began = time.monotonic()
    assert get(client, origin.url("/bomb")).body == b"ok"
    assert time.monotonic() - began < 3


# --- credentials -------------------------------------------------------------------------------


def credential(*origins: Origin, allow_http: bool = True) -> Credential:
    return Credential("service", frozenset(origins), SECRET, allow_http)


def test_a_credential_goes_to_its_origins_and_nowhere_else(origin, second_origin, make_client):
    client = make_client(origin, second_origin)
    owner = credential(origin_of(origin.url("/")))
    origin.on("/a", redirect(second_origin.url("/cdn")))
    second_origin.on("/cdn", redirect(origin.url("/back")))
    origin.on("/back", answer(200))
    get(client, origin.url("/a"), credential=owner, headers={"X-Api-Key": "k", "Accept": "a/b"})
    first, back = origin.requests
    (cdn,) = second_origin.requests
    assert first.headers["authorization"] == back.headers["authorization"] == f"Bearer {SECRET}"
    assert "authorization" not in cdn.headers
    assert "x-api-key" not in cdn.headers
    assert cdn.headers["accept"] == "a/b"
    assert sum(line.lower().startswith("authorization") for line in first.lines) == 1


def test_another_port_is_another_origin(origin, make_client):
    with running() as other_port:
        client = make_client(origin, other_port)
        other_port.on("/x", answer(401, {"WWW-Authenticate": "Bearer"}))
        with pytest.raises(AuthRequired):
            get(client, other_port.url("/x"), credential=credential(origin_of(origin.url("/"))))
        assert "authorization" not in other_port.requests[0].headers


def test_a_credential_does_not_travel_over_plain_http(origin, client):
    origin.on("/x", answer(200))
    owner = credential(origin_of(origin.url("/")), allow_http=False)
    get(client, origin.url("/x"), credential=owner)
    assert "authorization" not in origin.requests[0].headers


def test_a_credential_travels_over_https(make_client, tls_context):
    with running(tls=tls_context) as secure:
        secure.on("/x", answer(200, {}, b"ok"))
        owner = credential(origin_of(secure.url("/")), allow_http=False)
        assert get(make_client(secure), secure.url("/x"), credential=owner).body == b"ok"
        assert secure.requests[0].headers["authorization"] == f"Bearer {SECRET}"


def test_a_secret_is_not_shown_and_must_fit_a_header():
    assert "canary" not in repr(credential())
    for bad in ("a\r\nX: y", "täken"):
        with pytest.raises(ValueError, match="service") as refused:
            Credential("service", frozenset(), bad)
        assert bad not in str(refused.value)


def test_callers_cannot_send_credentials_as_headers(client, origin):
    with pytest.raises(RuntimeError):
        get(client, origin.url("/x"), headers={"authorization": "x"})


# --- TLS ---------------------------------------------------------------------------------------


def test_the_name_of_the_url_is_what_the_certificate_must_hold(tls_context, fake_dns):
    fake_dns["files.example"] = fake_dns["other.example"] = [["127.0.0.1"]]
    with running(tls=tls_context) as secure:
        secure.on("/x", answer(200, {}, b"ok"))
        pairs = (f"files.example:{secure.port}", f"other.example:{secure.port}")
        client = GuardedClient(OutboundPolicy.from_allow_list(pairs))
        assert get(client, secure.url("/x", "files.example")).body == b"ok"
        with pytest.raises(TlsFailed):
            get(client, secure.url("/x", "other.example"))
        client.close()


def test_a_certificate_nobody_trusts_is_no_reason_to_retry(tls_context, make_client, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with running(tls=tls_context) as secure:
        with pytest.raises(TlsFailed) as failed:
            get(make_client(secure), secure.url(f"/x?token={SECRET}"))
        assert not failed.value.retryable
        assert SECRET not in all_text(failed.value)
        assert secure.requests == []


# --- what is sent, what is accepted ------------------------------------------------------------


def test_the_client_says_who_it_is_and_wants_no_packing(origin, client):
    origin.on("/x", answer(200))
    get(client, origin.url("/x"))
    headers = origin.requests[0].headers
    assert headers["user-agent"] == USER_AGENT
    assert headers["accept-encoding"] == "identity"
    for word in ("mozilla", "chrome", "safari", "firefox", "opera", "edge"):
        assert word not in USER_AGENT.lower()


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Content-Encoding": "gzip"}, "http_encoded"),
        ({"Content-Encoding": "identity, br"}, "http_encoded"),
        ({"Transfer-Encoding": "gzip"}, "http_encoded"),
        ({"Content-Length": "-5"}, "http_bad_header"),
        ({"Content-Length": "12x"}, "http_bad_header"),
        ({"Content-Length": "1e3"}, "http_bad_header"),
        ({"Content-Length": ""}, "http_bad_header"),
        ({"Content-Length": "5\r\nContent-Length: 6"}, "http_bad_header"),
        ({"X": "y" * 70_000}, "http_bad_header"),
        ({f"X-{n}": "y" * 900 for n in range(80)}, "http_bad_header"),
        ({f"X-{n}": "y" for n in range(150)}, "http_bad_header"),
        ({"Set-Cookie": "c" * (1 << 20)}, "http_bad_header"),
    ],
)
def test_headers_that_lie_or_never_end_are_refused(headers, reason, origin, client):
    origin.on("/x", answer(200, headers, b"\x1f\x8b body"))
    with pytest.raises(BadAnswer) as refused:
        get(client, origin.url("/x"))
    assert refused.value.details["reason"] == reason


def test_endless_interim_answers_end(origin, client):
    def continues(request, out):
        while True:
            out.raw(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n")

    origin.on("/x", continues)
    with pytest.raises(BadAnswer):
        get(client, origin.url("/x"))


@pytest.mark.parametrize("garbage", [b"hello\r\n\r\n", b"\x16\x03\x01\x02", b"HTTP/3 200\r\n\r\n"])
def test_what_is_no_http_is_a_bad_answer(garbage, origin, client):
    def talk(request, out):
        out.raw(garbage)
        out.close()

    origin.on("/x", talk)
    with pytest.raises(BadAnswer):
        get(client, origin.url(f"/x?token={SECRET}"))


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, RemoteRefused), (401, AuthRequired), (403, AuthRequired), (404, RemoteGone),
     (405, RemoteRefused), (408, RemoteBusy), (410, RemoteGone), (416, RemoteRefused),
     (418, RemoteRefused), (429, RemoteBusy), (451, RemoteGone), (500, RemoteBusy),
     (503, RemoteBusy), (524, RemoteBusy), (204, BadAnswer), (304, BadAnswer), (302, BadAnswer)],
)  # fmt: skip
def test_statuses_become_errors(status, error, origin, client):
    origin.on("/x", answer(status, {}, b"" if status in {204, 304} else b'{"message": "why"}'))
    with pytest.raises(error) as failed:
        get(client, origin.url(f"/x?token={SECRET}"))
    assert SECRET not in all_text(failed.value)
    if hasattr(failed.value, "body"):
        assert failed.value.body == b'{"message": "why"}'


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None), ({"Retry-After": "7"}, 7), ({"Retry-After": "1000000000"}, 3600),
        ({"Retry-After": "-5"}, None), ({"Retry-After": "soon"}, None), ({"Retry-After": ""}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "Fri, 21 Oct 2195 07:28:00 GMT"}, 3600),
        ({"Retry-After": "9" * 400}, None), ({"Retry-After": "1.5"}, None),
        ({"RateLimit": '"api";r=0;t=201'}, 201),
        ({"RateLimit": '"api";r=0;t=201', "Retry-After": "3"}, 3),
    ],
)  # fmt: skip
def test_what_a_busy_server_asks_for_is_bounded(headers, seconds, origin, client):
    origin.on("/x", answer(429, headers))
    with pytest.raises(RemoteBusy) as busy:
        get(client, origin.url("/x"))
    assert busy.value.retry_after_s == seconds


def test_an_endless_error_page_is_cut(origin, client):
    def talk(request, out):
        out.head(403, {"Connection": "close"})
        while True:
            out.raw(b"x" * 65536)

    origin.on("/x", talk)
    with pytest.raises(AuthRequired) as refused:
        get(client, origin.url("/x"))
    assert len(refused.value.body) == 65536


@pytest.mark.parametrize("with_length", [True, False])
def test_a_body_is_bounded(with_length, origin, client):
    origin.serve("/x", ServedFile(b"x" * 2_000_000, with_length=with_length))
    with pytest.raises(TooLarge):
        client.get_bytes(origin.url("/x"), max_bytes=1_000_000)
    assert len(client.get_bytes(origin.url("/x"), max_bytes=2_000_000).body) == 2_000_000


def test_json_is_read_with_its_query(origin, client):
    origin.on("/x", answer(200, {"Content-Type": "application/json"}, b'{"a": [1]}'))
    got = client.get_json(origin.url("/x?n=1"), params={"q": "a b&c", "tag": ["x", "y"]})
    assert got.value == {"a": [1]}
    assert origin.requests[0].target == "/x?n=1&q=a+b%26c&tag=x&tag=y"


@pytest.mark.parametrize(
    "body", [b"<!DOCTYPE html><title>Just a moment</title>", b"", b"\xff\xfe", b'{"a": NaN}',
             b"[" * 100_000, b'{"a": ', b"1" * 5000]
)  # fmt: skip
def test_what_is_not_json_is_a_bad_answer(body, origin, client):
    origin.on("/x", answer(200, {}, body))
    with pytest.raises(BadAnswer) as refused:
        client.get_json(origin.url("/x"))
    assert refused.value.details["reason"] == "not_json"


# --- time, cuts, threads -----------------------------------------------------------------------


def test_a_trickled_answer_ends_at_the_deadline(origin, client):
    origin.on("/head", lambda request, out: out.trickle(b"HTTP/1.1 200 OK\r\n" * 100, 0.05))

    def body(request, out):
        out.head(200, {"Content-Length": "100000"})
        out.trickle(b"x" * 100_000, 0.05)

    origin.on("/body", body)
    for path in ("/head", "/body"):
        began = time.monotonic()
        with pytest.raises(Interrupted):
            get(client, origin.url(path), deadline_s=0.6)
        assert time.monotonic() - began < 2


def test_silence_is_not_waited_for_longer_than_the_idle_time(origin, make_client):
    client = make_client(origin, idle_timeout_s=0.3)
    origin.on("/head", lambda request, out: out.stall())

    def body(request, out):
        out.head(200, {"Content-Length": "10"})
        out.stall()

    origin.on("/body", body)
    for path in ("/head", "/body"):
        with pytest.raises(Interrupted):
            get(client, origin.url(path))


@pytest.mark.parametrize(
    "cut", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", b""]
)  # fmt: skip
def test_a_truncated_body_is_never_taken_for_a_whole_one(cut, origin, client):
    def talk(request, out):
        out.raw(cut)
        out.close()

    origin.on("/x", talk)
    with pytest.raises(Interrupted):
        get(client, origin.url("/x"))


def test_chunked_bodies_are_joined(origin, client):
    origin.on(
        "/x",
        lambda request, out: out.raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: z\r\n\r\n"
        ),
    )
    assert get(client, origin.url("/x")).body == b"abcde"
    assert get(client, origin.url("/x")).body == b"abcde"
    assert origin.connections == 1


def test_connections_are_used_again_and_stale_ones_replaced(origin, client):
    origin.on("/x", answer(200, {}, b"ok"))
    assert [get(client, origin.url("/x")).body for _ in range(3)] == [b"ok"] * 3
    assert origin.connections == 1

    def answer_and_leave(request, out):
        out.answer(200, {}, b"bye")
        out.close()

    origin.once("/x", answer_and_leave)
    assert [get(client, origin.url("/x")).body for _ in range(2)] == [b"bye", b"ok"]


def test_a_connection_with_a_half_read_body_is_not_used_again(origin, client):
    origin.serve("/x", ServedFile(b"x" * 100_000))
    with client.open(origin.url("/x")) as half:
        assert len(half.read(10)) == 10
    get(client, origin.url("/x"))
    assert origin.connections == 2


def test_a_request_is_aborted_from_another_thread_while_it_waits(origin, client):
    origin.on("/x", lambda request, out: out.stall())
    aborter, failures = Aborter(), []

    def ask():
        try:
            with client.open(origin.url("/x"), aborter=aborter):
                pass
        except Interrupted as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 5
    while not origin.requests and time.monotonic() < deadline:
        thread.join(0.01)
    began = time.monotonic()
    aborter.abort()
    thread.join(5)
    assert time.monotonic() - began < 0.5
    assert len(failures) == 1
    with pytest.raises(Interrupted), client.open(origin.url("/x"), aborter=aborter):
        pass
    assert len(origin.requests) == 1


def test_a_closed_port_is_worth_a_retry(make_client, origin):
    client = make_client(origin)
    origin.close()
    with pytest.raises(ConnectFailed) as failed:
        get(client, origin.url(f"/x?token={SECRET}"))
    assert failed.value.retryable
    assert "connection refused" in str(failed.value)
    assert SECRET not in all_text(failed.value)


def test_an_unknown_host_is_worth_a_retry(make_client, monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConnectFailed):
        get(make_client(), "https://nowhere.example/x")


def test_no_url_reaches_the_log(origin, client, caplog):
    caplog.set_level(logging.DEBUG)
    origin.on("/x", answer(200, {"Odd header": "y"}, b"ok"))
    get(client, origin.url(f"/x?token={SECRET}"))
    assert SECRET not in caplog.text


def test_idle_connections_are_bounded(origin, client):
    origin.on("/x", answer(200, {}, b"ok"))
    given = [client._connections.new(origin_of(origin.url("/"))) for _ in range(20)]
    for one in given:
        one.connect()
        client._connections.give_back(one)
    assert len(client._connections._idle[origin_of(origin.url("/"))]) == wire.MAX_IDLE_PER_ORIGIN
