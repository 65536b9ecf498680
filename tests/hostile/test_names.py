"""A27-A29 and B4-B8: names and paths of strangers, wherever a name can come from."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from registry.models import Asset, PlacementRule
from registry.roots import default_root, partials_dir
from tests.downloads.driving import model_files
from tests.factories import make_admin
from tests.hostile.doors import Doors
from tests.hostile.stage import LORA, Stage, served
from tests.origin import files
from tests.origin.content import Content
from tests.origin.listener import Request, Response

#: Number, what a stranger calls a file. `.safetensors` stands behind where a name can have it.
NAMES = [
    ("A27-climbs", "../../../escaped.safetensors"),
    ("A27-climbs-encoded", "..%2f..%2f..%2fescaped.safetensors"),
    ("A27-climbs-twice-encoded", "%252e%252e%252fescaped.safetensors"),
    ("A27-absolute", "/tmp/escaped.safetensors"),
    ("A27-hidden-folder", ".modelyard/marker.safetensors"),
    ("B4-dots", ".."),
    ("B4-dot", "."),
    ("B4-empty", ""),
    ("B4-slash", "a/b.safetensors"),
    ("B4-backslash", "a\\b.safetensors"),
    ("B4-backslash-climbs", "..\\..\\escaped.safetensors"),
    ("B4-drive", "C:x.safetensors"),
    ("B4-drive-path", "C:\\Windows\\x.safetensors"),
    ("B4-share", "\\\\host\\share\\x.safetensors"),
    ("B4-absolute", "/abs.safetensors"),
    ("B4-home", "~x.safetensors"),
    ("B4-home-path", "~/x.safetensors"),
    ("B4-option", "-rf.safetensors"),
    ("B4-hidden", ".hidden.safetensors"),
    ("B4-dot-at-end", "x.safetensors."),
    ("B4-space-at-end", "x.safetensors "),
    ("B4-spaces", "   "),
    ("B4-stream", "x.safetensors:evil.exe"),
    ("B4-shell", "x;touch ${HOME}$(id)`id`|&.safetensors"),
    ("B4-wildcards", '*?<>|".safetensors'),
    ("B5-con", "CON.safetensors"),
    ("B5-nul", "NUL"),
    ("B5-com", "COM1.txt.safetensors"),
    ("B5-255-bytes", "x" * 243 + ".safetensors"),
    ("B5-256-bytes", "x" * 244 + ".safetensors"),
    ("B5-4096-bytes", "y" * 4084 + ".safetensors"),
    ("B5-four-byte-characters", "🧨" * 100 + ".safetensors"),
    ("B5-deep", "/".join("d" * 600) + "/x.safetensors"),
    ("B6-composed", "caf\u00e9.safetensors"),
    ("B6-decomposed", "cafe\u0301.safetensors"),
    ("B6-bidi", "x\u202esrotsnetefas.safetensors"),
    ("B6-zero-width", "a\u200bb\u2060\ufeff.safetensors"),
    ("B6-full-width-slash", "a\uff0f..\uff0fb.safetensors"),
    ("B6-division-slash", "a\u2215b\u2044c.safetensors"),
    ("B6-homoglyph", "m\u043edel.safetensors"),
    ("B6-blank", "\u3164\u2800.safetensors"),
    ("B6-control", "a\x1b[2Jb\x07.safetensors"),
    ("B6-line-break", "a\r\nSet-Cookie: x=y.safetensors"),
    ("B6-nul", "a\x00.safetensors"),
    ("B6-case-twin", "MODEL.safetensors"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path, models_dir: Path) -> Iterator[None]:
    """What appears lies in the models directory under a harmless name, or in our own data."""
    home = Path.home()
    before = {
        path: set(path.iterdir()) for path in (Path("/tmp"), home, Path.cwd()) if path.is_dir()
    }
    yield
    for folder, known in before.items():
        new = {path.name for path in set(folder.iterdir()) - known}
        assert not [name for name in new if "escaped" in name or "evil" in name], new
    allowed = (models_dir, tmp_path / "data", tmp_path / "outside")
    strays = [p for p in tmp_path.rglob("*") if not any(p.is_relative_to(a) for a in allowed)]
    assert strays == []
    if models_dir.exists():
        assert all(
            is_harmless(part) for name in model_files(models_dir) for part in Path(name).parts
        )


def is_harmless(name: str) -> bool:
    """No system and no shell takes it for anything but a name."""
    return (
        name not in {"", ".", ".."}
        and len(name.encode()) <= 255
        and not set(name) & set('/\\:*?"<>|\0')
        and name[0] not in ".-~ "
        and name[-1] not in " ."
        and unicodedata.normalize("NFC", name) == name
        and not any(unicodedata.category(char)[0] == "C" for char in name)
        and name.split(".", maxsplit=1)[0].upper()
        not in {"CON", "NUL", "AUX", "PRN", "COM1", "LPT1"}
    )


def shown(name: str, path: str = "") -> bool:
    """`path` is a harmless place below the models directory."""
    parts = path.removeprefix("/models/").split("/")
    return path.startswith("/models/") and all(map(is_harmless, parts))


@pytest.mark.parametrize("name", [pytest.param(name, id=number) for number, name in NAMES])
def test_a_name_of_a_source_becomes_a_harmless_one(doors: Doors, wired: Stage, name: str) -> None:
    """As a file name of CivitAI, as the title of its model, in a direct link, in its header."""
    latin = name.encode("utf-8").decode("latin-1").replace("\r", "").replace("\n", "")
    latin = latin.replace("\x00", "").replace('"', "'")[:6000]
    wired.file("/get", served(LORA, content_disposition=f'attachment; filename="{latin}"'))
    plain = wired.url("files", "/" + "".join(f"%{byte:02x}" for byte in name.encode())[:1500])
    wired.routes.update({("files", path): served(LORA) for path in every_path(plain)})
    links = [
        wired.civitai(name=name, model={"name": name}, version={"name": name}),
        wired.url("files", "/get"),
        plain,
    ]
    for url in links:
        answer = doors.post("/resolve", url=url)
        if answer.status_code == 200:
            resolved = answer.data["resolved"]
            assert is_harmless(resolved["file_name"]), resolved["file_name"]
            assert shown(resolved["file_name"], resolved["target_path"])
        else:
            assert answer.status_code in {400, 404, 422}, answer.data


def every_path(url: str) -> set[str]:
    """The path as the server may read it."""
    raw = urlsplit(url).path
    return {raw, unquote(raw)}


@pytest.mark.parametrize("name", [pytest.param(name, id=number) for number, name in NAMES])
def test_a_path_of_the_hub_is_harmless_or_not_offered(
    doors: Doors, wired: Stage, name: str
) -> None:
    path = f"sub/{name}" if name else "sub/"
    url = wired.hub("made/names", {"good_lora.safetensors": LORA, path: LORA})
    answer = doors.post("/resolve", url=url)
    assert answer.status_code == 200, answer.data
    for file in answer.data["resolved"]["files"]:
        assert is_harmless(file["name"])
        assert ".." not in file["path"].split("/")
        assert not file["path"].startswith("/")
    assert shown("", answer.data["resolved"]["target_path"])
    offered = {file["path"] for file in answer.data["resolved"]["files"]}
    if path in offered:
        chosen = doors.post("/resolve", url=url, file_id=path)
        assert chosen.status_code in {200, 400}, chosen.data
        if chosen.status_code == 200:
            assert shown("", chosen.data["resolved"]["target_path"])


@pytest.mark.parametrize("name", [pytest.param(name, id=number) for number, name in NAMES])
def test_what_a_person_says_is_refused_by_its_field_or_harmless(
    doors: Doors, wired: Stage, name: str
) -> None:
    """`model_name` is a title, `folder` a path, `file_id` one of those that were offered."""
    url = wired.civitai()
    for field, value in (("folder", name), ("model_name", name), ("file_id", name)):
        answer = doors.post("/resolve", url=url, **{field: value})
        if answer.status_code == 200:
            assert shown("", answer.data["resolved"]["target_path"]), answer.data["resolved"]
            assert not set(answer.data["resolved"]["model_name"]) & set(
                "\u202e\u200f\x1b\x07\r\n\0"
            )
        else:
            details = answer.data["details"]
            assert answer.status_code == 400, answer.data
            assert field in details or details.get("field") == field, answer.data
    assert "files" not in doors.post("/resolve", url=url, file_id="../../x").data


#: What a pull does with the worst of them: one row each, because a pull takes a second.
WORST = (
    "A27-climbs", "A27-hidden-folder", "B4-drive-path", "B4-shell", "B5-256-bytes",
    "B6-line-break",
)  # fmt: skip


def test_a27_the_worst_names_are_filed_harmlessly(
    puller: Doors, wired: Stage, models_dir: Path
) -> None:
    for index, number in enumerate(WORST, start=1):
        name = dict(NAMES)[number]
        # Other bytes each time, or the second would only be linked.
        content = lora(number)
        pulled = puller.pull(wired.civitai(index, content, name=name))
        assert pulled.exit_code == 0, (number, pulled)
        path = Path(pulled.values["path"])
        assert path.is_relative_to(models_dir), number
        assert path.resolve() == path, number
        assert is_harmless(path.name), number
        assert path.read_bytes() == content.read(), number
    assert len(model_files(models_dir)) == len(WORST)


def test_a27_paths_of_a_snapshot_stay_below_its_folder(
    puller: Doors, wired: Stage, models_dir: Path
) -> None:
    index = files.json_file("model_index.json", {"_class_name": "StableDiffusionXLPipeline"})
    contents: dict[str, Content] = {"model_index.json": index}
    for path in ("unet/diffusion_pytorch_model.safetensors", "../escaped.safetensors",
                 "a/../../escaped.json", "/tmp/escaped.json", "C:\\escaped.json", ".modelyard/marker",
                 "vae/\u202econfig.json"):  # fmt: skip
        contents[path] = files.make(path)
    url = wired.hub("made/climbing-diffusers", contents, {"tags": ["diffusers"]})
    pulled = puller.pull(url)
    assert pulled.exit_code == 0, pulled
    found = model_files(models_dir)
    assert found
    assert not [name for name in found if "escaped" in name]
    assert (models_dir / ".modelyard" / "marker").read_text().strip()


def lora(seed: str, kind: str = "lora_sdxl") -> Content:
    return files.make(f"{seed}.safetensors", kind=kind)


# --- A28: what somebody planted in the models directory ---------------------------------------------


def plant_link_for_folder(models: Path, outside: Path) -> None:
    (models / "planted").symlink_to(outside, target_is_directory=True)


def plant_link_for_file(models: Path, outside: Path) -> None:
    (models / "planted").mkdir()
    (models / "planted" / "x.safetensors").symlink_to(outside / "new.safetensors")


def plant_link_to_file(models: Path, outside: Path) -> None:
    (models / "planted").mkdir()
    (models / "planted" / "x.safetensors").symlink_to(outside / "precious")


def plant_hard_link(models: Path, outside: Path) -> None:
    (models / "planted").mkdir()
    os.link(outside / "precious", models / "planted" / "x.safetensors")


def plant_folder_for_file(models: Path, outside: Path) -> None:
    (models / "planted" / "x.safetensors").mkdir(parents=True)


def plant_partials(models: Path, outside: Path) -> None:
    partials = models / ".modelyard" / "partials"
    for path in partials.iterdir():
        path.unlink()
    partials.rmdir()
    partials.symlink_to(outside, target_is_directory=True)


def plant_hidden(models: Path, outside: Path) -> None:
    (models / ".modelyard").rename(outside / "moved")
    (models / ".modelyard").symlink_to(outside / "moved", target_is_directory=True)


@pytest.mark.parametrize(
    ("plant", "exit_code"),
    [
        pytest.param(plant_link_for_folder, 2, id="A28-linked-folder"),
        pytest.param(plant_link_for_file, 0, id="A28-dangling-link"),
        pytest.param(plant_link_to_file, 0, id="A28-linked-file"),
        pytest.param(plant_hard_link, 0, id="A28-hard-link"),
        pytest.param(plant_folder_for_file, 0, id="A28-folder"),
        pytest.param(plant_partials, 7, id="A28-partials"),
        pytest.param(plant_hidden, 7, id="A28-hidden-folder"),
    ],
)
def test_what_is_planted_leads_nowhere(
    puller: Doors, wired: Stage, models_dir: Path, plant: Any, exit_code: int
) -> None:
    outside = models_dir.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    partials_dir(default_root())
    plant(models_dir, outside)
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*") if path.is_file()}
    content = lora("second")
    pulled = puller.pull(wired.civitai(2, content, name="x.safetensors"), folder="planted")
    assert pulled.exit_code == exit_code, pulled
    assert {p: p.stat().st_mtime_ns for p in outside.rglob("*") if p.is_file()} == before
    assert (outside / "precious").read_bytes() == b"precious"
    if exit_code == 0:
        assert Path(pulled.values["path"]).name == "x-2.safetensors"
        assert Path(pulled.values["path"]).read_bytes() == content.read()


# --- A29, B11: templates in rules -------------------------------------------------------------------

TARGETS = [
    ("A29-format", "{0.__class__}"),
    ("A29-format-name", "/models/{base_model}/"),
    ("A29-jinja", "{{ 7*7 }}"),
    ("A29-django", "{% debug %}"),
    ("A29-environment", "${HOME}/x"),
    ("A29-command", "$(touch /tmp/escaped)"),
    ("A29-backticks", "`id`"),
    ("A29-percent", "%(secret)s"),
    ("A29-climbs", "/models/../../etc/"),
    ("A29-absolute", "/etc/cron.d/"),
    ("A29-home", "~root/.ssh/"),
    ("A29-hidden", "/models/.modelyard/partials/"),
    ("A29-drive", "C:\\models\\"),
    ("A29-nul", "loras\x00/x"),
    ("A29-line-break", "loras\r\nx"),
    ("B11-bidi", "loras/\u202ex"),
    ("B11-reserved", "loras/CON"),
    ("B11-long", "loras/" + "x" * 600),
    ("B11-empty-part", "/models//"),
    ("B11-null", None),
    ("B11-list", ["loras"]),
    ("B11-number", 7),
]  # fmt: skip


@pytest.mark.parametrize("target", [pytest.param(t, id=number) for number, t in TARGETS])
def test_a_rule_holds_a_plain_folder_or_is_refused_by_its_field(
    doors: Doors, wired: Stage, target: Any
) -> None:
    admin = make_admin()
    doors.api.force_login(admin)
    count = PlacementRule.objects.count()
    body = {"model_type": "lora", "base_model": "", "target_directory": target, "priority": 9999}
    answer = doors.api.post("/api/admin/placement-rules", body, format="json")
    if answer.status_code == 201:
        stored = answer.data["target_directory"]
        assert shown("", stored.rstrip("/")) or stored == "/models/", stored
        resolved = doors.post("/resolve", url=wired.civitai()).data["resolved"]
        assert shown("", resolved["target_path"]), resolved["target_path"]
        return
    assert answer.status_code == 400, answer.data
    details = answer.data["details"]
    assert "target_directory" in details or details.get("field") == "target_directory", answer.data
    assert PlacementRule.objects.count() == count


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("model_type", "spaceship", id="B11-unknown-category"),
        pytest.param("model_type", "../lora", id="B11-category-path"),
        pytest.param("folder", "/var/lib", id="B11-base-path"),
        pytest.param("folder", "../x", id="B11-climbs"),
        pytest.param("folder", "a/{x}", id="B11-placeholder"),
        pytest.param("folder", ".modelyard/quarantine", id="B11-hidden"),
    ],
)
def test_a_category_and_a_folder_are_refused_by_their_field(
    doors: Doors, wired: Stage, field: str, value: str
) -> None:
    for path in ("", "/resolve"):
        answer = doors.post(path, url=wired.civitai(), **{field: value})
        assert answer.status_code == 400
        details = answer.data["details"]
        assert field in details or details.get("field") == field, answer.data
    assert doors.pull(wired.civitai(), **{field: value}).exit_code == 2


def test_b11_rules_that_give_two_files_one_place_do_not_lose_one(
    puller: Doors, wired: Stage, models_dir: Path
) -> None:
    for number in (1, 2):
        pulled = puller.pull(wired.civitai(number, lora(f"twin {number}"), name="same.safetensors"))
        assert pulled.exit_code == 0
    names = {Path(name).name for name in model_files(models_dir)}
    assert names == {"same.safetensors", "same-2.safetensors"}


def test_b6_names_that_look_alike_do_not_take_one_another_s_place(
    puller: Doors, wired: Stage, models_dir: Path
) -> None:
    twins = (
        "Caf\u00e9.safetensors",
        "cafe\u0301.safetensors",
        "CAFÉ.SAFETENSORS",
        "caf\u00e9\u200b.safetensors",
    )
    digests = set()
    for number, name in enumerate(twins, start=1):
        content = lora(f"look-alike {number}")
        assert puller.pull(wired.civitai(number, content, name=name)).exit_code == 0
        digests.add(content.sha256)
    assert len({name.casefold() for name in model_files(models_dir)}) == len(twins)
    assert set(Asset.objects.values_list("checksum_sha256", flat=True)) == digests


# --- B7, B8: endings and headers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "filed"),
    [
        # An ending that is no model's, or contradicts the bytes, is refused.
        pytest.param("x.safetensors.html", [], id="B7-html-behind"),
        pytest.param("x.exe", [], id="B7-program"),
        pytest.param("x.safetensors.ckpt", [], id="B7-another-format"),
        # Without any, the bytes say which.
        pytest.param("no ending", ["no ending.safetensors"], id="B7-none"),
        pytest.param("X.SAFETENSORS", ["X.SAFETENSORS"], id="B7-upper-case"),
    ],
)
def test_the_last_ending_counts(
    puller: Doors, wired: Stage, models_dir: Path, name: str, filed: list[str]
) -> None:
    pulled = puller.pull(wired.file(f"/{name}", lora(name)))
    assert pulled.exit_code == (0 if filed else 6), pulled
    assert [Path(found).name for found in model_files(models_dir)] == filed


HEADERS = [
    ("B8-two-names", 'attachment; filename="a.safetensors"; filename="../../b.safetensors"'),
    ("B8-two-extended", "attachment; filename*=UTF-8''%2e%2e%2fa.safetensors; filename*=UTF-8''b"),
    ("B8-extended-wins", "attachment; filename=x.exe; filename*=UTF-8''good.safetensors"),
    ("B8-wrong-charset", "attachment; filename*=utf-7''+AC4ALg-/a.safetensors"),
    ("B8-broken-percent", "attachment; filename*=UTF-8''%zz%2.safetensors"),
    ("B8-open-quote", 'attachment; filename="a.safetensors'),
    ("B8-escaped-quote", 'attachment; filename="a\\"; x=\\"../../b.safetensors"'),
    ("B8-no-value", "attachment; filename="),
    ("B8-nothing", ";;;;==="),
    ("B8-nul", 'attachment; filename="a%00.safetensors"'),
    ("B8-inline-html", 'inline; filename="x.html"'),
    ("B8-latin", 'attachment; filename="\xe4\xff.safetensors"'),
    ("B8-30-kb", 'attachment; filename="' + "z" * 30_000 + '.safetensors"'),
]  # fmt: skip


@pytest.mark.parametrize("header", [pytest.param(h, id=number) for number, h in HEADERS])
def test_a_header_that_names_the_file(doors: Doors, wired: Stage, header: str) -> None:
    url = wired.file("/fallback.safetensors", served(LORA, content_disposition=header))
    resolved = doors.post("/resolve", url=url).data["resolved"]
    assert is_harmless(resolved["file_name"])
    assert shown("", resolved["target_path"])
    assert doors.post("", url=url).status_code == 202


@pytest.mark.parametrize("size", [pytest.param(100_000, id="B8-100-kb")])
def test_a_header_without_an_end_is_refused(doors: Doors, wired: Stage, size: int) -> None:
    def huge(_request: Request) -> Response:
        return served(LORA, content_disposition="attachment; filename=" + "z" * size)

    wired.file("/huge.safetensors", huge)
    answer = doors.post("/resolve", url=wired.url("files", "/huge.safetensors"))
    assert (answer.status_code, answer.data["code"]) == (502, "source_unavailable")
