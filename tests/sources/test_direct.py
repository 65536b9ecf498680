"""Plain links, against a real server: size, name, type, and what is no file."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sources.errors import NotDownloadable, NotFound, SourceUnavailable, TokenRequired
from sources.parse import parse_reference
from sources.refs import Endpoints
from sources.resolution import Resolution
from sources.resolver import Resolver
from tests.sources.fakes import DictCache
from transfer.errors import RedirectRefused, UrlNotAllowed
from transfer.http import GuardedClient, OutboundPolicy


def safetensors(shapes: dict[str, list[int]], padding: int = 0, **metadata: str) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    for name, shape in shapes.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [0, 8]}
    text = json.dumps(header).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + bytes(8)


LORA = safetensors({"lora_unet_x_attn2_to_k.lora_down.weight": [4, 768]}, ss_output_name="my-lora")


@dataclass
class Page:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True


class Pages(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page | list[Page]] = {}
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Pages

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append((self.path, asked))
        page = self.server.pages.get(self.path.partition("?")[0], Page(b"no", 404))
        if isinstance(page, list):
            page = page.pop(0) if len(page) > 1 else page[0]
        body, status, headers = page.body, page.status, dict(page.headers)
        if asked and page.ranges and status == 200:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if not body:
                status, headers["Content-Range"] = 416, "bytes */0"
            else:
                status, end = 206, min(int(last), len(body) - 1)
                headers["Content-Range"] = f"bytes {first}-{end}/{len(body)}"
                body = body[int(first) : end + 1]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def resolve(pages: Pages, path: str, **fields: Any) -> Resolution:
    client = GuardedClient(OutboundPolicy.from_allow_list((pages.url.removeprefix("http://"),)))
    try:
        asking = Resolver(client, Endpoints(), sleep=lambda _seconds: None, **fields)
        return asking.resolve(parse_reference(pages.url + path, Endpoints()))
    finally:
        client.close()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_lora_is_known_by_its_own_header(pages: Pages, ranges: bool) -> None:
    pages.pages["/files/x.safetensors"] = Page(
        LORA, ranges=ranges, headers={"Last-Modified": "Fri, 20 Nov 2026 10:00:00 GMT"}
    )

    found = resolve(pages, "/files/x.safetensors")

    assert (found.name, found.model_type, found.base_model) == ("my-lora", "lora", "SD 1.5")
    file = found.file("file")
    assert (file.name, file.size_bytes, file.format) == ("x.safetensors", len(LORA), "safetensors")
    assert found.reference == found.source_url == f"{pages.url}/files/x.safetensors"
    assert found.updated_at == "2026-11-20T10:00:00Z"
    assert found.extra["accepts_ranges"] is ranges
    assert pages.asked[0] == ("/files/x.safetensors", "bytes=0-0")
    assert Resolution.from_dict(found.as_dict()) == found


def test_a_long_header_is_fetched_by_its_own_range(pages: Pages) -> None:
    body = safetensors({"emb_params": [8, 768]}, padding=200_000)
    pages.pages["/x.safetensors"] = Page(body)

    assert resolve(pages, "/x.safetensors").model_type == "embedding"
    assert pages.asked[-1][1] == f"bytes=8-{len(body) - 9}"


def test_a_long_header_is_read_on_where_there_are_no_ranges(pages: Pages) -> None:
    body = safetensors({"emb_params": [8, 768]}, padding=200_000)
    pages.pages["/x.safetensors"] = Page(body, ranges=False)

    assert resolve(pages, "/x.safetensors").model_type == "embedding"
    assert len(pages.asked) == 1


def test_a_header_beyond_the_cap_is_left_alone(pages: Pages) -> None:
    pages.pages["/x.safetensors"] = Page(struct.pack("<Q", 90_000_000) + b"{" + b" " * 100)
    found = resolve(pages, "/x.safetensors")
    assert found.model_type == "checkpoint"
    assert "check the type" in found.warnings[0]


@pytest.mark.parametrize(
    ("path", "disposition", "name"),
    [
        ("/x.safetensors", "", "x.safetensors"),
        ("/download", 'attachment; filename="y.safetensors"', "y.safetensors"),
        (
            "/download",
            "attachment; filename*=UTF-8''%C3%A4.safetensors; filename=\"a.safetensors\"",
            "ä.safetensors",
        ),
        ("/download", 'attachment; filename="../../etc/passwd"', "passwd.safetensors"),
        ("/download", "", "download.safetensors"),
        ("/detailer-v1.5", "", "detailer-v1.5.safetensors"),
        ("/get.php", 'attachment; filename="y"', "y.safetensors"),
        ("/x.safetensors.html", "", "x.safetensors.html"),
        ("/%2e%2e%2fevil.safetensors", "", "evil.safetensors"),
    ],
)
def test_the_name_is_the_servers_or_the_links(
    pages: Pages, path: str, disposition: str, name: str
) -> None:
    headers = {"Content-Disposition": disposition} if disposition else {}
    pages.pages[path] = Page(LORA, headers=headers)
    assert resolve(pages, path).file("file").name == name


def test_the_name_may_come_from_where_the_link_leads(pages: Pages) -> None:
    pages.pages["/get"] = Page(
        status=302, headers={"Location": "/files/real.safetensors?sig=canary"}
    )
    pages.pages["/files/real.safetensors"] = Page(LORA)

    found = resolve(pages, "/get")

    assert found.file("file").name == "real.safetensors"
    assert found.file("file").url == f"{pages.url}/get"
    assert "canary" not in str(found.as_dict())


def test_a_secret_query_is_asked_with_and_never_kept(pages: Pages) -> None:
    pages.pages["/x.safetensors"] = Page(LORA)
    cache = DictCache()

    found = resolve(pages, "/x.safetensors?sig=canary", cache=cache)

    assert pages.asked[0][0] == "/x.safetensors?sig=canary"
    assert "canary" not in str(found.as_dict())
    assert found.file("file").url == f"{pages.url}/x.safetensors"
    assert cache == {}


FORMATS = [
    ("/x.gguf", b"GGUF\x03\x00\x00\x00" + bytes(40), "gguf", "diffusion_model"),
    ("/x.ckpt", b"PK\x03\x04" + bytes(40), "pickle", "checkpoint"),
    ("/poses.zip", b"PK\x03\x04" + bytes(40), "archive", "poses"),
    ("/4x-Sharp.pth", b"\x80\x02}" + bytes(40), "pickle", "upscaler"),
    ("/flow.json", b'{"nodes": []}', "config", "workflow"),
    ("/colours.txt", b"red\nblue\n", "text", "wildcards"),
    ("/unknown", b"\x00\x01\x02" * 20, "other", "other"),
    (
        "/sdxl_vae.safetensors",
        safetensors({"decoder.conv_in.weight": [512, 4, 3, 3]}),
        "safetensors",
        "vae",
    ),
]


@pytest.mark.parametrize(
    ("path", "body", "file_format", "kind"), FORMATS, ids=[row[0] for row in FORMATS]
)
def test_formats_and_types(
    pages: Pages, path: str, body: bytes, file_format: str, kind: str
) -> None:
    pages.pages[path] = Page(body)
    found = resolve(pages, path)
    assert (found.file("file").format, found.model_type) == (file_format, kind)


NO_FILES = [
    (
        Page(b"<!DOCTYPE html><html>", headers={"Content-Type": "text/html; charset=utf-8"}),
        NotDownloadable,
        "web page",
    ),
    (
        Page(b"\n  <HTML><body>", headers={"Content-Type": "application/octet-stream"}),
        NotDownloadable,
        "web page",
    ),
    (Page(b"<html>", ranges=False), NotDownloadable, "web page"),
    (
        Page(b'{"error": "Unauthorized"}', headers={"Content-Type": "application/json"}),
        NotDownloadable,
        "message",
    ),
    (Page(b""), NotDownloadable, "empty"),
    (Page(b"", ranges=False), NotDownloadable, "empty"),
    (Page(b"no", 404), NotFound, "server"),
    (Page(b"no", 410), NotFound, "server"),
    (Page(b"no", 451), NotDownloadable, "region"),
    (Page(b"no", 401), TokenRequired, "login"),
    (Page(b"no", 403), TokenRequired, "login"),
    (Page(b"no", 503), SourceUnavailable, "busy"),
]


@pytest.mark.parametrize(("page", "error", "words"), NO_FILES, ids=range(len(NO_FILES)))
def test_what_is_no_file_is_refused(
    pages: Pages, page: Page, error: type[Exception], words: str
) -> None:
    pages.pages["/x.safetensors"] = page
    with pytest.raises(error, match=words):
        resolve(pages, "/x.safetensors")


def test_a_busy_server_is_asked_again(pages: Pages) -> None:
    pages.pages["/x.safetensors"] = [Page(b"", 503), Page(b"", 429), Page(LORA)]
    assert resolve(pages, "/x.safetensors").model_type == "lora"


def test_private_addresses_are_refused_as_they_are(pages: Pages) -> None:
    client = GuardedClient(OutboundPolicy.from_allow_list(()))
    with pytest.raises(UrlNotAllowed):
        Resolver(client, Endpoints()).resolve(parse_reference(f"{pages.url}/x.bin", Endpoints()))
    assert pages.asked == []


def test_a_redirect_to_a_private_address_is_refused(pages: Pages) -> None:
    pages.pages["/x.bin"] = Page(status=302, headers={"Location": "http://127.0.0.2:1/x"})
    with pytest.raises(RedirectRefused):
        resolve(pages, "/x.bin")
