"""A1-A8: links, redirects and an environment that point where nothing may be asked."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from config.errors import ModelyardError
from downloads.models import Download
from tests.downloads.driving import model_files
from tests.hostile.doors import Doors, is_queued
from tests.hostile.listeners import POSTGRES_PORT, REDIS_PORT, Listeners
from tests.hostile.stage import LORA, Stage, served
from tests.origin.listener import Request, Response
from transfer.urls import NOT_ALLOWED

PUBLIC = "93.184.215.14"


def row(text: Any, number: str) -> Any:
    return pytest.param(text, id=number)


#: `{port}` is where a listener waits on every loopback address.
LINKS = [
    # A1: other schemes, user info, ports of other services
    row("file:///etc/passwd", "A1-file"),
    row("FILE://localhost/etc/passwd", "A1-file-host"),
    row("ftp://example.com/x.safetensors", "A1-ftp"),
    row("gopher://127.0.0.1:{port}/_x", "A1-gopher"),
    row("data:text/plain,x", "A1-data"),
    row("unix:///run/redis.sock", "A1-unix"),
    row("javascript:alert(1)", "A1-javascript"),
    row("jar:http://127.0.0.1:{port}!/x", "A1-jar"),
    row("http+unix://%2Frun%2Fdocker.sock/x", "A1-http-unix"),
    row("dict://127.0.0.1:{port}/stats", "A1-dict"),
    row("//127.0.0.1:{port}/x", "A1-no-scheme"),
    row("http://user:pass@example.com/x", "A1-user-info"),
    row("http://user@127.0.0.1:{port}/x", "A1-user"),
    row("http://example.com:22/x", "A1-ssh"),
    row("http://example.com:25/x", "A1-smtp"),
    row("http://example.com:6379/x", "A1-redis"),
    row("http://example.com:5432/x", "A1-postgres"),
    row("http://example.com:0/x", "A1-port-zero"),
    row("http://example.com:65536/x", "A1-port-too-large"),
    # A2: special addresses and names that mean one
    row("http://127.0.0.1:{port}/x", "A2-loopback"),
    row("http://127.0.0.2:{port}/x", "A2-loopback-2"),
    row("http://[::1]:{port}/x", "A2-loopback-6"),
    row("http://0.0.0.0:{port}/x", "A2-any"),
    row("http://[::]:{port}/x", "A2-any-6"),
    row("http://localhost:{port}/x", "A2-localhost"),
    row("http://x.localhost:{port}/x", "A2-below-localhost"),
    row("http://10.1.2.3/x", "A2-private-10"),
    row("http://172.16.0.1/x", "A2-private-172"),
    row("http://192.168.1.1/x", "A2-private-192"),
    row("http://100.64.0.1/x", "A2-cgnat"),
    row("http://169.254.169.254/latest/meta-data/", "A2-metadata"),
    row("http://168.63.129.16/x", "A2-metadata-azure"),
    row("http://[fd00:ec2::254]/latest/", "A2-metadata-6"),
    row("http://metadata.google.internal/computeMetadata/v1/", "A2-metadata-name"),
    row("http://metadata/x", "A2-metadata-short"),
    row("http://224.0.0.1/x", "A2-multicast"),
    row("http://255.255.255.255/x", "A2-broadcast"),
    row("http://[fe80::1]/x", "A2-link-local-6"),
    row("http://[fc00::1]/x", "A2-unique-local"),
    row("http://[ff02::1]/x", "A2-multicast-6"),
    row("http://redis:6379/x", "A2-inner-name"),
    row("http://printer.lan/x", "A2-lan"),
    # A3: other spellings of 127.0.0.1
    row("http://127.1:{port}/x", "A3-short"),
    row("http://127.0.1:{port}/x", "A3-three-parts"),
    row("http://0x7f000001:{port}/x", "A3-hex"),
    row("http://0x7f.0.0.1:{port}/x", "A3-hex-part"),
    row("http://2130706433:{port}/x", "A3-decimal"),
    row("http://0177.0.0.1:{port}/x", "A3-octal"),
    row("http://017700000001:{port}/x", "A3-octal-whole"),
    row("http://0:{port}/x", "A3-zero"),
    row("http://①②⑦.⓪.⓪.①:{port}/x", "A3-circled"),
    row("http://１２７.0.0.1:{port}/x", "A3-full-width"),
    row("http://127。0。0。1:{port}/x", "A3-ideographic-dots"),
    row("http://127.0.0.1.:{port}/x", "A3-trailing-dot"),
    row("http://localhost.:{port}/x", "A3-name-trailing-dot"),
    row("http://%31%32%37.0.0.1:{port}/x", "A3-percent"),
    row("http://127.0.0.1%00.example.com:{port}/x", "A3-percent-nul"),
    row("http://LOCALHOST:{port}/x", "A3-upper-case"),
    row("http://ⓛocalhost:{port}/x", "A3-circled-name"),
    # A4: IPv4 inside IPv6, and the rest of its special ranges
    row("http://[::ffff:127.0.0.1]:{port}/x", "A4-mapped"),
    row("http://[::ffff:7f00:1]:{port}/x", "A4-mapped-hex"),
    row("http://[::127.0.0.1]:{port}/x", "A4-compatible"),
    row("http://[2002:7f00:1::]:{port}/x", "A4-6to4"),
    row("http://[2001:0:7f00:1::1]:{port}/x", "A4-teredo"),
    row("http://[64:ff9b::7f00:1]:{port}/x", "A4-nat64"),
    row("http://[64:ff9b:1::7f00:1]:{port}/x", "A4-nat64-local"),
    row("http://[2606:4700::5efe:7f00:1]:{port}/x", "A4-isatap"),
    row("http://[fec0::1]:{port}/x", "A4-site-local"),
    row("http://[::1%25lo]:{port}/x", "A4-scope"),
    row("http://[::1%lo]:{port}/x", "A4-scope-plain"),
    row("http://[0:0:0:0:0:0:0:1]:{port}/x", "A4-long"),
    # A5: what two parsers read differently
    row("http://127.0.0.1:{port}\\@example.com/x", "A5-backslash-at"),
    row("http://example.com\\@127.0.0.1:{port}/x", "A5-at-backslash"),
    row("http://127.0.0.1:{port}#@example.com/x", "A5-fragment-at"),
    row("http://example.com@127.0.0.1:{port}/x", "A5-at"),
    row("http://a@b@127.0.0.1:{port}/x", "A5-two-at"),
    row("http://127.0.0.1:{port}\r\nHost: example.com/x", "A5-crlf"),
    row("http://exam\tple.com/x", "A5-tab"),
    row("http://127.0.0.1:{port}\x00.example.com/x", "A5-nul"),
    row("http://127.0.0.1\u200b:{port}/x", "A5-zero-width"),
    row("http://ex\u00adample.com:6379/x", "A5-soft-hyphen"),
    row("http:/127.0.0.1:{port}/x", "A5-one-slash"),
    row("http:///127.0.0.1:{port}/x", "A5-three-slashes"),
    row("http:127.0.0.1:{port}/x", "A5-no-slash"),
    row("http://[::1]@example.com:{port}/x", "A5-bracket-at"),
    row("http://[127.0.0.1]:{port}/x", "A5-bracket-4"),
    row("http://127.0.0.1:{port}:80/x", "A5-two-ports"),
    row("http://127.0.0.1:80{port}/x", "A5-long-port"),
    row("http://xn--a.b-:{port}/x", "A5-broken-idn"),
    row("https://civitai.com@127.0.0.1:{port}/models/1", "A5-service-at"),
    row("https://huggingface.co\\@127.0.0.1:{port}/o/n", "A5-service-backslash"),
]  # fmt: skip
#: Not a link of a form that is known, or one to a place that is not allowed: both are refusals.
REFUSALS = {"url_not_allowed", "reference_not_understood", "invalid"}


@pytest.mark.parametrize("link", LINKS)
def test_a_forbidden_link_is_refused_at_every_door(
    doors: Doors, listeners: Listeners, link: str
) -> None:
    url = link.format(port=listeners.port)
    for path in ("", "/resolve"):
        answer = doors.post(path, url=url)
        assert answer.status_code == 400, answer.data
        assert answer.data["code"] in REFUSALS
        assert "url" in answer.data["details"], answer.data
        assert_tells_nothing(answer.data, url)
    pulled = doors.pull(url)
    assert (pulled.exit_code, pulled.values["code"]) == (2, answer.data["code"]) or "\0" in url
    assert pulled.exit_code == 2
    assert_tells_nothing(pulled.values, url)
    with pytest.raises(ModelyardError) as caught:
        doors.resolve(url)
    assert caught.value.code in REFUSALS
    assert not Download.objects.exists()


def assert_tells_nothing(values: Any, url: str) -> None:
    """One sentence whatever the reason; no address that a name stands for."""
    said = json.dumps(values, default=str)
    if values["code"] == "url_not_allowed":
        assert values["message"] == NOT_ALLOWED
    assert "127.0.0.1" not in said
    assert url not in said


@pytest.mark.parametrize(
    ("service", "port"),
    [
        pytest.param("Redis", REDIS_PORT, id="A1-own-redis"),
        pytest.param("PostgreSQL", POSTGRES_PORT, id="A1-own-postgres"),
    ],
)
def test_services_beside_us_are_not_spoken_to(
    doors: Doors, listeners: Listeners, service: str, port: int
) -> None:
    hosts = {"127.0.0.1", "localhost", "[::1]", listeners.services.get(port, "127.0.0.2")}
    for host in hosts:
        answer = doors.post("/resolve", url=f"http://{host}:{port}/x.safetensors")
        assert (answer.status_code, answer.data["code"]) == (400, "url_not_allowed")


# --- A6: names that lie -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param([["127.0.0.1"]], id="A6-loopback"),
        pytest.param([["::1"]], id="A6-loopback-6"),
        pytest.param([[PUBLIC, "127.0.0.1"]], id="A6-mixed"),
        pytest.param([["127.0.0.1", PUBLIC]], id="A6-mixed-turned"),
        pytest.param([["169.254.169.254"]], id="A6-metadata"),
        pytest.param([["::ffff:127.0.0.1"]], id="A6-mapped"),
        pytest.param([["64:ff9b::7f00:1"]], id="A6-nat64"),
    ],
)
def test_a_name_of_a_forbidden_address_is_refused(
    doors: Doors, listeners: Listeners, monkeypatch: pytest.MonkeyPatch, turns: list[list[str]]
) -> None:
    answer_names(monkeypatch, {"rebind.example": turns})
    url = f"http://rebind.example:{listeners.port}/x.safetensors"
    for path in ("", "/resolve"):
        answer = doors.post(path, url=url)
        assert (answer.status_code, answer.data["code"]) == (400, "url_not_allowed"), answer.data
        assert "url" in answer.data["details"]
        assert_tells_nothing(answer.data, url)
    assert doors.pull(url).exit_code == 2


def answer_names(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[list[str]]]) -> None:
    """A resolver that knows these names; each look-up takes the next answer, the last one stays."""
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        turns = names.get(host)
        if turns is None:
            return real(host, port, *args, **kwargs)
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [entry for one in addresses for entry in real(one, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("second", [pytest.param("127.0.0.1", id="A6-rebinding")])
def test_a_name_is_looked_up_once_for_each_connection(
    doors: Doors,
    listeners: Listeners,
    monkeypatch: pytest.MonkeyPatch,
    second: str,
) -> None:
    """The checked address is the one that is dialled, though the next look-up gives another."""
    turns = [[PUBLIC], [second]] * 50
    answer_names(monkeypatch, {"rebind.example": turns})
    dialled = []

    def connect(_socket: socket.socket, address: Any) -> None:
        dialled.append(address[0])
        raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "connect", connect)
        doors.post("/resolve", url=f"http://rebind.example:{listeners.port}/x.safetensors")
    assert dialled
    assert set(dialled) == {PUBLIC}


# --- A7: redirects ----------------------------------------------------------------------------------

TARGETS = [
    row("http://127.0.0.1:{port}/x.safetensors", "A7-loopback"),
    row("http://127.1:{port}/x.safetensors", "A7-short"),
    row("http://[::ffff:127.0.0.1]:{port}/x.safetensors", "A7-mapped"),
    row("http://localhost:{port}/x.safetensors", "A7-localhost"),
    row("//127.0.0.1:{port}/x.safetensors", "A7-relative"),
    row("http://169.254.169.254/latest/meta-data/", "A7-metadata"),
    row("http://user:pass@{site}/ok.safetensors", "A7-user-info"),
    row("http://{site}@127.0.0.1:{port}/x", "A7-at"),
    row("file:///etc/passwd", "A7-file"),
    row("ftp://example.com/x", "A7-ftp"),
    row("http://example.com:6379/x", "A7-redis"),
    row("http://{site}\\@127.0.0.1:{port}/x", "A7-backslash"),
    row("javascript:alert(1)", "A7-javascript"),
    row("http://[", "A7-broken"),
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_redirect_to_a_forbidden_place_is_refused(
    doors: Doors, wired: Stage, listeners: Listeners, target: str
) -> None:
    """As the first hop and as a late one, by way of another host."""
    site = wired.url("files").removeprefix("http://")
    target = target.format(port=listeners.port, site=site)
    wired.file("/ok.safetensors")
    first = wired.redirect("/go.safetensors", target)
    wired.redirect("/hop-2", first, site="stranger")
    late = wired.redirect("/hop-1", wired.url("stranger", "/hop-2"))
    for path, url in (("/resolve", first), ("/resolve", late), ("", late)):
        answer = doors.post(path, url=url)
        assert (answer.status_code, answer.data["code"]) == (400, "redirect_refused"), answer.data
        assert "url" in answer.data["details"]
        assert target not in json.dumps(answer.data)
    assert doors.pull(late).exit_code == 2
    assert wired.log.find(match="/ok.safetensors") == []


@pytest.mark.parametrize(
    "site",
    [
        pytest.param("files", id="A7-after-resolving-direct"),
        pytest.param("civitai", id="A7-after-resolving-civitai"),
        pytest.param("hub", id="A7-after-resolving-hub"),
    ],
)
def test_a_redirect_that_comes_after_resolving_is_refused_too(
    puller: Doors, wired: Stage, listeners: Listeners, models_dir: Path, site: str
) -> None:
    """The link looks well until the file itself is fetched."""
    away = Response(302, [("Location", f"http://127.0.0.1:{listeners.port}/secret")])

    def turns_later(_request: Request) -> Response:
        return away if is_queued() else served(LORA)

    if site == "files":
        url = wired.file("/later.safetensors", turns_later)
    elif site == "civitai":
        url = wired.civitai(download=away)
    else:
        url = wired.hub("made/turns", {"x_lora.safetensors": LORA})
        for key in [key for key in wired.routes if "/resolve/" in key[1]]:
            wired.routes[key] = away
    pulled = puller.pull(url)
    assert (pulled.exit_code, pulled.values["error_code"]) == (2, "redirect_refused"), pulled
    assert str(listeners.port) not in pulled.message
    assert model_files(models_dir) == []


# --- A8: the environment ----------------------------------------------------------------------------


@pytest.fixture(
    params=[pytest.param(str.upper, id="A8-upper"), pytest.param(str.lower, id="A8-lower")]
)
def led_astray(
    request: pytest.FixtureRequest,
    listeners: Listeners,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """An environment that names a proxy and a password for every host."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(request.param(name), f"http://127.0.0.1:{listeners.port}")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password anything\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a8_proxies_and_netrc_of_the_environment_are_ignored(
    led_astray: None, doors: Doors, wired: Stage
) -> None:
    for url in (wired.file("/a_lora_sdxl.safetensors"), wired.civitai()):
        assert doors.post("", url=url).status_code == 202
    assert wired.authorizations() == set()
