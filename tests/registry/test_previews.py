from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import time_machine
from PIL import Image

from registry import previews
from registry.errors import PreviewUnavailable
from registry.inspect import make_thumbnail
from registry.models import Asset, AssetPreview
from tests.registry.test_registering import RESOLUTION

Register = Callable[..., Asset]


def picture(form: str = "PNG", size: tuple[int, int] = (40, 30), **more: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, form, **more)
    return out.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A few bytes that say they are a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\x00" * 1000))
        + chunk(b"IEND", b"")
    )


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


class Pictures:
    """A server whose paths are pictures; it counts what was asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(self, path: str, body: bytes) -> str:
        self.bodies[path] = body
        return f"{self.url}{path}"


@pytest.fixture
def pictures(settings: Any) -> Iterator[Pictures]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            body = served.bodies.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = f"127.0.0.1:{server.server_address[1]}"
    settings.OUTBOUND_ALLOW = [host]
    served = Pictures(f"http://{host}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "body",
    [
        picture("PNG"),
        picture("JPEG"),
        picture("WEBP"),
        picture("PNG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"),
    ],
)
def test_pictures_become_small_webp_without_metadata(body: bytes) -> None:
    thumbnail = make_thumbnail(body, size_px=16)
    made = Image.open(io.BytesIO(thumbnail.body))
    assert made.format == "WEBP"
    assert made.size == (thumbnail.width, thumbnail.height) == (16, 12)
    assert "exif" not in made.info


def test_transparency_and_palettes_survive() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).convert("P").save(out, "PNG", transparency=0)
    made = Image.open(io.BytesIO(make_thumbnail(out.getvalue(), size_px=8).body))
    assert made.mode == "RGBA"


def test_only_the_first_frame_of_an_animation_is_kept() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    made = Image.open(io.BytesIO(make_thumbnail(out.getvalue(), size_px=8).body))
    assert getattr(made, "n_frames", 1) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        SVG,
        b"<!DOCTYPE html><html></html>",
        picture("GIF"),
        picture("BMP"),
        picture("TIFF"),
        b"SIMPLE  =                    T" + b" " * 2850,
        picture("PNG")[:60],
        picture("JPEG")[:200],
        png_bomb(30_000, 30_000),
        png_bomb(2_000_000, 1),
        png_bomb(0, 0),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_bombs_and_other_formats_are_refused(body: bytes) -> None:
    with pytest.raises(PreviewUnavailable):
        make_thumbnail(body, size_px=512)


@pytest.mark.django_db
def test_pictures_are_fetched_after_registration(register: Register, pictures: Pictures) -> None:
    urls = [
        pictures.add("/a.png", picture(size=(2000, 1000))),
        pictures.add("/b.svg", SVG),
        f"{pictures.url}/gone.png",
    ]
    resolution = {**RESOLUTION, "previews": [{"url": url} for url in urls]}
    asset = register(resolution=resolution)
    previews.fetch_previews(asset.pk)
    good, bad, gone = asset.previews.order_by("position")
    assert (good.status, good.width, good.height) == ("ready", 1024, 512)
    path = previews.preview_path(good)
    assert path is not None
    assert path.read_bytes()[8:12] == b"WEBP"
    for failed in (bad, gone):
        assert failed.status == "failed"
        assert failed.error_message
        assert previews.preview_path(failed) is None
    asset.refresh_from_db()
    assert asset.status == "active"
    pictures.asked.clear()
    previews.fetch_previews(asset.pk)
    assert pictures.asked == []


@pytest.mark.django_db
def test_what_is_not_begun_in_time_is_left_for_later(
    register: Register, pictures: Pictures
) -> None:
    resolution = {**RESOLUTION, "previews": [{"url": pictures.add("/a.png", picture())}]}
    asset = register(resolution=resolution)
    previews.fetch_previews(asset.pk, until=0.0)
    assert (asset.previews.get().status, pictures.asked) == ("pending", [])
    previews.fetch_previews(asset.pk)
    assert asset.previews.get().status == "ready"


@pytest.mark.django_db
def test_forbidden_addresses_are_noted_and_not_asked(register: Register, settings: Any) -> None:
    settings.OUTBOUND_ALLOW = []
    resolution = {**RESOLUTION, "previews": [{"url": "http://127.0.0.1:9/x.png"}]}
    asset = register(resolution=resolution)
    previews.fetch_previews(asset.pk)
    assert asset.previews.get().status == "failed"
    assert "127.0.0.1" not in asset.previews.get().error_message


@pytest.mark.django_db
def test_at_most_six_pictures_are_kept(register: Register) -> None:
    many = [{"url": f"https://image.civitai.com/{n}.png"} for n in range(20)]
    asset = register(resolution={**RESOLUTION, "previews": many})
    assert asset.previews.count() == 6


def test_a_thumbnail_before_a_download(pictures: Pictures) -> None:
    url = pictures.add("/a.png", picture(size=(2000, 1000)))
    made = Image.open(io.BytesIO(previews.fetch_thumbnail(url)))
    assert (made.format, made.size) == ("WEBP", (512, 256))


@pytest.mark.parametrize("path", ["/gone.png", "/page.png"])
def test_every_failure_of_a_thumbnail_is_one_error(pictures: Pictures, path: str) -> None:
    pictures.add("/page.png", b"<html></html>")
    with pytest.raises(PreviewUnavailable):
        previews.fetch_thumbnail(f"{pictures.url}{path}")


def test_too_large_a_picture_is_not_read_to_its_end(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "MAX_PREVIEW_BYTES", 1000)
    url = pictures.add("/a.png", picture() + b"\x00" * 2000)
    with pytest.raises(PreviewUnavailable):
        previews.fetch_thumbnail(url)


def test_signed_addresses_hold_for_a_day() -> None:
    url = "https://image.civitai.com/a.png"
    with time_machine.travel(1_800_000_000, tick=False):
        signed = previews.signed_preview_url(url)
        token = signed.split("token=")[1]
        assert signed.startswith("/api/previews?token=")
        assert previews.read_signed(token) == url
        for bad in ("", "x", token[:-1], token.replace(":", ";"), f"x{token}"):
            with pytest.raises(PreviewUnavailable):
                previews.read_signed(bad)
    with time_machine.travel(1_800_000_000 + 2 * 86400), pytest.raises(PreviewUnavailable):
        previews.read_signed(token)


@pytest.mark.django_db
def test_a_file_name_in_the_row_cannot_leave_the_directory(register: Register) -> None:
    asset = register()
    preview = AssetPreview.objects.create(
        asset=asset, source_url="https://x/y", status="ready", file_name="../../modelyard.sqlite3"
    )
    previews.previews_dir(asset.pk).parent.mkdir(parents=True)
    (previews.previews_dir(asset.pk).parent.parent / "modelyard.sqlite3").write_bytes(b"x")
    assert previews.preview_path(preview) is None
