"""A31-A35, A38, A39 and B16: bytes that are not what they say, through the whole pull."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from downloads.models import Download
from registry.models import Asset, AssetPreview
from registry.roots import default_root, quarantine_dir
from tests.downloads.driving import model_files, partial_files
from tests.hostile.doors import Doors, Pulled
from tests.hostile.stage import LORA, Stage, answer_json, served, sha256
from tests.origin import files
from tests.origin.listener import Request, Response
from tests.registry import hostile as h
from tests.registry.test_previews import SVG, picture, png_bomb

GOOD = LORA.read()
TORCH = files.zip_pickle("x.pt").read()
INNOCENT = pickle.dumps({"a": 1}, 2)
OS_SYSTEM = h.calling("os", "system", "touch escaped")


def row(number: str, *values: Any) -> Any:
    return pytest.param(*values, id=number)


def polyglot() -> bytes:
    """A harmless pickle in front, an archive with another one behind: readers disagree."""
    return INNOCENT + h.torch_zip(OS_SYSTEM)


def bad_checksum() -> bytes:
    """An archive whose checksum is wrong: some readers stop, torch does not look."""
    body = bytearray(h.torch_zip(OS_SYSTEM))
    at = body.index(b"PK\x01\x02")
    body[at + 16] ^= 0xFF
    body[14] ^= 0xFF
    return bytes(body)


def two_names() -> bytes:
    """The local header calls the entry otherwise than the list."""
    body = h.torch_zip(OS_SYSTEM)
    return body.replace(b"archive/data.pkl", b"archive/data.txt", 1)


def nested(depth: int = 3) -> bytes:
    body = h.torch_zip(OS_SYSTEM)
    for _ in range(depth):
        body = h.zipped({"inner.pt": body})
    return body


#: Registered as flagged, the bytes in quarantine: a person decides.
FLAGGED = [
    row("A31-os-system", "x.pt", h.torch_zip(OS_SYSTEM)),
    row("A31-stack-global", "x.pt", h.torch_zip(h.calling_by_stack("os", "system"))),
    row("A31-wrong-checksum", "x.pt", bad_checksum()),
    row("A31-two-names", "x.pt", two_names()),
    row("A31-two-lists", "x.pt", h.torch_zip(OS_SYSTEM) + TORCH),
    row("A32-polyglot", "x.pt", polyglot()),
]
#: Refused: nothing is registered, nothing is kept.
REFUSED = [
    row("A31-cut-off", "x.pt", TORCH[:-30]),
    row("A32-pickle-as-safetensors", "x.safetensors", OS_SYSTEM),
    row("A32-program-as-safetensors", "x.safetensors", b"\x7fELF" + b"\x00" * 5000),
    row("A32-script", "x.ckpt", b"#!/bin/sh\ntouch escaped\n" * 50),
    row("A32-page", "x.safetensors", files.web_page("x").read()),
    row("A32-api-error", "x.safetensors", b'{"error":"Unauthorized","message":"Log in."}'),
    row("A32-lfs-pointer", "x.safetensors", LORA.lfs_pointer),
    row("A33-endless-header", "x.safetensors", h.safetensors(b"{", length=2**63 - 1) + b"x" * 99),
    row("A33-deep-header", "x.safetensors", h.safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000)),
    row("A33-header-of-many", "x.safetensors", h.safetensors(
        b"{" + b",".join(b'"%06d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(101_000)) + b"}"
    )),
    row("A33-gguf-counts", "x.gguf", h.gguf(2**63, 2**63) + b"x" * 99),
    row("B16-cut-off", "x.safetensors", GOOD[:-1]),
    row("B16-more-than-it-says", "x.safetensors", GOOD + b"!"),
    row("B16-overlap", "x.safetensors", h.safetensors({"a": h.tensor(0, 4), "b": h.tensor(2, 6)}, b"x" * 6)),
    row("B16-same-key-twice", "x.safetensors", h.safetensors(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"
    )),
]  # fmt: skip


def pull_body(doors: Doors, stage: Stage, name: str, body: bytes) -> Pulled:
    """By way of CivitAI, which publishes the digest of exactly these bytes."""
    return doors.pull(stage.civitai(1, body, name=name))


def assert_not_placed(models_dir: Path) -> None:
    assert model_files(models_dir) == []
    assert partial_files() == []
    assert not Path("escaped").exists()


@pytest.mark.parametrize(("name", "body"), FLAGGED)
def test_what_could_run_code_is_flagged_and_kept_in_quarantine(
    puller: Doors, wired: Stage, models_dir: Path, name: str, body: bytes
) -> None:
    pulled = pull_body(puller, wired, name, body)
    assert pulled.exit_code == 6, pulled
    assert pulled.values["path"] is None
    asset = Asset.objects.get()
    assert (asset.status, bool(asset.flag_reason)) == ("flagged", True)
    (kept,) = quarantine_dir(default_root()).iterdir()
    assert kept.read_bytes() == body
    assert kept.stat().st_mode & 0o111 == 0
    assert_not_placed(models_dir)
    # Nothing calls it a duplicate, so that a good file can still come.
    answer = puller.post("/check-duplicate", sha256=sha256(body))
    assert answer.data["is_duplicate"] is False


@pytest.mark.parametrize(("name", "body"), REFUSED)
def test_what_is_no_such_file_is_refused_and_not_kept(
    puller: Doors, wired: Stage, models_dir: Path, name: str, body: bytes
) -> None:
    pulled = pull_body(puller, wired, name, body)
    assert (pulled.exit_code, pulled.values["error_code"]) == (6, "not_a_model_file"), pulled
    assert pulled.message
    assert not Asset.objects.exists()
    assert list(quarantine_dir(default_root()).iterdir()) == []
    assert_not_placed(models_dir)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        row("A31-zip-in-zip", "x.zip", nested()),
        row("A31-climbing-archive", "x.zip", h.zipped({"../../escaped": b"x", "a.txt": b"y"})),
        row("B16-bomb", "x.zip", h.zipped({"zeros": b"\0" * 30_000_000}, compression=zipfile.ZIP_DEFLATED)),
    ],
)  # fmt: skip
def test_archives_are_never_unpacked(
    puller: Doors, wired: Stage, models_dir: Path, name: str, body: bytes
) -> None:
    url = wired.civitai(1, body, name=name, model={"type": "Poses"})
    pulled = puller.pull(url)
    assert pulled.exit_code in {0, 6}, pulled
    assert {Path(found).name for found in model_files(models_dir)} <= {"x.zip"}
    assert not Path("escaped").exists()


# --- A34: packed bodies -----------------------------------------------------------------------------

BOMB = gzip.compress(b"\0" * 20_000_000)


@pytest.mark.parametrize(
    ("where", "encoding"),
    [
        row("A34-file-gzip", "file", "gzip"),
        row("A34-file-br", "file", "br"),
        row("A34-api-gzip", "api", "gzip"),
        row("A34-redirect", "redirect", "gzip"),
    ],
)
def test_a_body_that_is_packed_is_not_unpacked(
    doors: Doors, wired: Stage, where: str, encoding: str
) -> None:
    packed = [("Content-Encoding", encoding), ("Content-Type", "application/json")]
    if where == "redirect":
        target = wired.file("/good_lora_sdxl.safetensors")
        url = wired.file("/go", Response(302, [*packed, ("Location", target)], BOMB))
        assert doors.post("/resolve", url=url).status_code == 200
        return
    if where == "file":
        url = wired.file("/x.safetensors", Response(200, packed, BOMB))
    else:
        url = wired.civitai()
        for path in ("/api/v1/models/1", "/api/v1/model-versions/11"):
            wired.routes["civitai", path] = Response(200, packed, BOMB)
    answer = doors.post("/resolve", url=url)
    assert (answer.status_code, answer.data["code"]) == (502, "source_unavailable"), answer.data
    assert not [e for e in wired.log.entries if e.headers.get("Accept-Encoding") != "identity"]


# --- A35: pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bodies",
    [
        row("A35-bombs", [png_bomb(30_000, 30_000), png_bomb(2_000_000, 1), png_bomb(0, 0),
                          picture("PNG")[:60], b""]),
        row("A35-formats", [SVG, picture("GIF"), picture("TIFF"), b"SIMPLE  = T" + b" " * 2850,
                            files.web_page("x").read()]),
    ],
)  # fmt: skip
def test_a_picture_that_is_a_bomb_or_no_picture_is_not_kept(
    puller: Doors, wired: Stage, tmp_path: Path, bodies: list[bytes]
) -> None:
    addresses = [
        wired.file(
            f"/{number}.png", served(body, str(number), content_type="image/png"), "stranger"
        )
        for number, body in enumerate(bodies)
    ]
    images = [{"url": address, "type": "image"} for address in addresses]
    pulled = puller.pull(wired.civitai(version={"images": images}))
    assert pulled.exit_code == 0, pulled
    previews = AssetPreview.objects.filter(asset=pulled.values["asset_id"])
    assert {preview.status for preview in previews} == {"failed"}
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


# --- A38: another file under the same link ----------------------------------------------------------


def change_at_the_source(stage: Stage, body: bytes) -> None:
    """The same ids, other bytes, and a digest that fits them."""
    stage.civitai(1, body)


def change_on_the_way(stage: Stage, body: bytes) -> None:
    """Only what comes is another; the published digest stays."""
    stage.routes["civitai", "/api/download/models/11"] = served(body)


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        row("A38-on-the-way", change_on_the_way, {6}),
        row("A38-at-the-source", change_at_the_source, {6}),
    ],
)
def test_a_file_that_changes_after_it_was_asked_for_is_not_placed(
    puller: Doors, wired: Stage, models_dir: Path, change: Callable[..., None], codes: set[int]
) -> None:
    url = wired.civitai(1, LORA)
    row_id = puller.post("", url=url).data["id"]
    change(wired, files.make("other_lora_sdxl.safetensors").read())
    pulled = puller.pull(url, expected_hash=LORA.sha256)
    assert pulled.exit_code in codes, pulled
    assert Download.objects.get(pk=row_id).hash_mismatch is True
    assert model_files(models_dir) == []


@pytest.mark.parametrize("pinned", [row("A38-pinned", True), row("A38-unpinned", False)])
def test_another_file_behind_a_link_never_replaces_the_one_that_is_here(
    puller: Doors, wired: Stage, models_dir: Path, pinned: bool
) -> None:
    url = wired.file("/x_lora_sdxl.safetensors", LORA)
    first = puller.pull(url)
    other = files.make("other_lora_sdxl.safetensors")
    wired.file("/x_lora_sdxl.safetensors", other)
    again = puller.pull(url, **({"expected_hash": LORA.sha256} if pinned else {}))
    assert Path(first.values["path"]).read_bytes() == GOOD
    if pinned:
        # The file with that digest is here: it is linked, and nothing is fetched.
        assert (again.exit_code, again.values["asset_id"]) == (0, first.values["asset_id"])
        assert len(model_files(models_dir)) == 1
    else:
        assert again.exit_code == 0
        assert Path(again.values["path"]).name == "x_lora_sdxl-2.safetensors"


# --- A39: what does not end -------------------------------------------------------------------------


def endless(_request: Request) -> Response:
    """More than was said: without a length, so that only the limit ends it."""
    response = served(files.make("endless.bin", size_bytes=3_000_000))
    response.length = response.ranges = False
    return response


def test_a39_a_body_that_grows_beyond_the_limit_ends(
    puller: Doors, wired: Stage, models_dir: Path, settings: Settings
) -> None:
    settings.MAX_FILE_BYTES = 1_000_000
    pulled = puller.pull(wired.file("/endless_lora.safetensors", endless))
    assert pulled.exit_code != 0
    assert pulled.values["error_code"] == "too_large", pulled
    assert model_files(models_dir) == []
    (partial,) = partial_files() or [None]
    assert partial is None or partial.stat().st_size <= 1_100_000


@pytest.mark.parametrize(
    "route",
    [
        row("A39-headers", lambda _r: Response(200, [(f"X-{n}", "y" * 500) for n in range(200)])),
        row("A39-cookie", lambda _r: Response(200, [("Set-Cookie", "a=" + "b" * 60_000), ("X", "c" * 60_000)])),
        row("A39-redirects", lambda r: Response(302, [("Location", f"{r.path}x")])),
        row("A39-circle", lambda _r: Response(302, [("Location", "/circle")])),
        row("A39-no-headers", lambda _r: Response(500, [("Bad Name", "x")])),
    ],
)  # fmt: skip
def test_what_does_not_end_is_ended(
    doors: Doors, wired: Stage, route: Callable[[Request], Response]
) -> None:
    for number in range(10):
        wired.routes["files", "/circle" + "x" * number] = route
    answer = doors.post("/resolve", url=wired.url("files", "/circle"))
    assert answer.status_code in {400, 422, 502}, answer.data
    assert len(wired.log.entries) <= 20


@pytest.mark.parametrize(
    "site", [row("A39-cookies-civitai", "civitai"), row("A39-cookies-files", "files")]
)
def test_cookies_are_not_kept(doors: Doors, wired: Stage, site: str) -> None:
    url = wired.civitai() if site == "civitai" else wired.file("/x_lora_sdxl.safetensors")
    for key, route in list(wired.routes.items()):
        assert isinstance(route, Response)
        route.with_header("Set-Cookie", "session=1; Path=/")
        wired.routes[key] = route
    doors.post("", url=url)
    assert not [entry for entry in wired.log.entries if "Cookie" in entry.headers]


def test_b15_an_answer_of_fifty_megabytes_is_not_read(doors: Doors, wired: Stage) -> None:
    url = wired.civitai()
    big = io.BytesIO(b"[" + b"0," * 3_000_000 + b"0]").getvalue()
    for path in ("/api/v1/models/1", "/api/v1/model-versions/11"):
        wired.routes["civitai", path] = Response(200, [("Content-Type", "application/json")], big)
    answer = doors.post("/resolve", url=url)
    assert (answer.status_code, answer.data["code"]) == (502, "source_format"), answer.data


JUNK = [
    None,
    [],
    {},
    0,
    -1,
    1e308,
    True,
    "",
    "x",
    "\x00\ud800",
    [None],
    {"a": {"b": []}},
    "<script>",
]


@pytest.mark.parametrize(
    "value", [row(f"B15-{number}", value) for number, value in enumerate(JUNK)]
)
def test_junk_in_every_field_of_an_answer_is_read_or_refused(
    doors: Doors, wired: Stage, value: Any
) -> None:
    keys = ("name", "type", "description", "tags", "creator", "nsfw", "stats", "allowCommercialUse",
            "mode", "modelVersions", "id")  # fmt: skip
    version = dict.fromkeys(("name", "baseModel", "trainedWords", "images", "description",
                             "publishedAt", "stats", "paidAccess", "availability"), value)  # fmt: skip
    file = dict.fromkeys(("name", "type", "sizeKB", "metadata", "hashes", "pickleScanResult",
                          "primary", "scannedAt", "downloadUrl"), value)  # fmt: skip
    for url in (
        wired.civitai(1, model=dict.fromkeys(keys, value)),
        wired.civitai(2, version=version, file=file),
        wired.civitai(3, version={"files": value}),
        wired.hub("made/junk", {"x_lora.safetensors": LORA}, dict.fromkeys(
            ("sha", "tags", "cardData", "author", "gated", "private", "lastModified", "library_name"), value
        )),
    ):  # fmt: skip
        answer = doors.post("/resolve", url=url)
        assert answer.status_code in {200, 404, 422, 502}, answer.data
        assert answer.data.get("code") != "internal_error"
        if answer.status_code == 200:
            assert doors.post("", url=url).status_code == 202
    wired.routes["civitai", "/api/v1/models/1"] = answer_json(value)
    assert doors.post("/resolve", url=wired.url("civitai", "/models/1")).status_code in {
        404,
        422,
        502,
    }


SIZES = [0, 1, 5e9, -1, 0.5, "12", "NaN", True, None, 1e300]


@pytest.mark.parametrize("size_kb", [row(f"B10-{size}", size) for size in SIZES])
def test_a_size_that_cannot_be_is_refused_or_unknown(
    doors: Doors, wired: Stage, size_kb: Any
) -> None:
    answer = doors.post("", url=wired.civitai(file={"sizeKB": size_kb}))
    if size_kb == 5e9:
        assert (answer.status_code, answer.data["code"]) == (422, "too_large"), answer.data
        return
    assert answer.status_code == 202, answer.data
    size = answer.data["file_size_bytes"]
    assert size is None or size > 0


def test_b10_an_empty_file_is_no_model(puller: Doors, wired: Stage, models_dir: Path) -> None:
    assert puller.pull(wired.file("/empty.safetensors", b"")).exit_code == 6
    pulled = puller.pull(wired.civitai(1, b"", file={"sizeKB": 0.001}))
    assert pulled.exit_code in {5, 6}, pulled
    assert model_files(models_dir) == []
