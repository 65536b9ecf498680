from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.models import AuditEvent
from registry.errors import PathTaken
from registry.inspect.verdict import Verdict
from registry.models import Asset, AssetStatus, Companion
from registry.roots import default_root, quarantine_dir, root_path, trash_dir
from registry.services import (
    attach_companions,
    find_duplicate,
    register_companion,
    resolve_placement,
)
from sources.resolution import (
    Hashes,
    Licence,
    ModelType,
    Preview,
    Resolution,
    SourceFile,
)

pytestmark = pytest.mark.django_db

Register = Callable[..., Asset]

FILE = SourceFile(
    file_id="42",
    name="x.safetensors",
    url="https://civitai.com/api/download/models/7?fileId=42",
    model_type=ModelType.LORA,
    size_bytes=11,
    hashes=Hashes(sha256="ab" * 32, autov3="ABCDEF012345", crc32="DEADBEEF", blake3="cd" * 32),
    precision="fp16",
    format="safetensors",
)
RESOLUTION = Resolution(
    source_type="civitai",
    reference="https://civitai.com/models/5?modelVersionId=7&fileId=42",
    source_url="https://civitai.com/models/5?modelVersionId=7",
    name="Detail Tweaker",
    model_type=ModelType.LORA,
    files=(FILE,),
    chosen=("42",),
    model_id="5",
    version_id="7",
    version_name="v1.0",
    base_model="SDXL 1.0",
    base_model_family="SDXL",
    description="<p>More <b>detail</b></p>",
    version_description="<p>Trained longer</p>",
    trigger_words=("detail", "sharp"),
    previews=(
        Preview(url="https://image.civitai.com/a.png", nsfw_level=1),
        Preview(url="https://image.civitai.com/b.mp4", kind="video"),
        Preview(url="https://image.civitai.com/c.png"),
    ),
    tags=("style",),
    creator="somebody",
    licence=Licence(commercial_use=("Image",), credit_required=True),
    nsfw_level=1,
).as_dict()


def test_a_registered_file_has_all_that_the_source_and_the_file_said(register: Register) -> None:
    verdict = Verdict(
        accepted=True,
        format="safetensors",
        header={"metadata": {"ss_output_name": "x"}, "precision": "bf16"},
        warnings=("A remark.",),
    )
    asset = register(
        resolution=RESOLUTION,
        source_file=RESOLUTION["files"][0],
        verdict=verdict,
        name="Detail Tweaker",
        expected_sha256=hashlib.sha256(b"model bytes").hexdigest().upper(),
    )
    asset.refresh_from_db()
    assert asset.virtual_path == "/models/loras/sdxl/x.safetensors"
    assert asset.status == AssetStatus.ACTIVE
    assert asset.checksum_sha256 == asset.expected_sha256
    assert asset.file_size_bytes == 11
    assert (asset.base_model, asset.base_model_family) == ("SDXL 1.0", "SDXL")
    assert (asset.version_name, asset.creator) == ("v1.0", "somebody")
    assert asset.trigger_words == ["detail", "sharp"]
    assert asset.tags == ["style"]
    assert "detail" in asset.description
    assert "Trained longer" in asset.description
    assert asset.licence["commercial_use"] == ["Image"]
    assert (asset.source_type, asset.source_model_id) == ("civitai", "5")
    assert (asset.source_version_id, asset.source_file_id) == ("7", "42")
    assert (asset.autov3, asset.crc32, asset.blake3) == ("abcdef012345", "deadbeef", "cd" * 32)
    assert (asset.precision, asset.format) == ("fp16", "safetensors")
    assert asset.warnings == ["A remark."]
    assert asset.metadata["source_metadata"]["name"] == "Detail Tweaker"
    assert asset.metadata["inspection"]["header"]["metadata"] == {"ss_output_name": "x"}
    assert asset.verified_at is not None
    urls = [preview.source_url for preview in asset.previews.all()]
    assert urls == ["https://image.civitai.com/a.png", "https://image.civitai.com/c.png"]
    event = AuditEvent.objects.get(action="asset.registered")
    assert event.details["path"] == asset.virtual_path


def test_what_the_source_left_out_comes_from_the_file(register: Register) -> None:
    verdict = Verdict(
        accepted=True, detected_base_model="SDXL 1.0", header={"trigger_words": ["sks person"]}
    )
    asset = register(verdict=verdict, base_model="")
    assert asset.trigger_words == ["sks person"]
    assert (asset.base_model, asset.base_model_family) == ("SDXL 1.0", "SDXL")


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("<script>alert(1)</script>hello", "script"),
        ('<img src=x onerror="alert(1)">hello', "onerror"),
        ('<a href="javascript:alert(1)">hello</a>', "javascript"),
        ('<a href="https://x/" onclick="alert(1)">hello</a>', "onclick"),
        ("<svg/onload=alert(1)>hello", "onload"),
        ('<iframe src="https://x/"></iframe>hello', "iframe"),
        ("<style>@import 'https://x/'</style>hello", "import"),
        ('<p style="background:url(https://x/)">hello</p>', "background"),
        ("<noscript><p title='</noscript><img src=x onerror=alert(1)>'>hello", "<img"),
    ],
)
def test_descriptions_are_sanitised_again_on_write(
    register: Register, text: str, never: str
) -> None:
    resolution = {**RESOLUTION, "description": text, "version_description": text}
    asset = register(resolution=resolution)
    kept = asset.metadata["source_metadata"]
    for html in (asset.description, kept["description"], kept["version_description"]):
        assert never not in html
        assert "hello" in html


def test_texts_and_links_of_strangers_are_made_harmless(register: Register) -> None:
    resolution = {
        **RESOLUTION,
        "creator": "some\u202ebody\x00\n",
        "source_url": "javascript:alert(1)",
        "trigger_words": ("a\x00b", "", "a\x00b", "c"),
        "previews": [{"url": "file:///etc/passwd"}, {"url": "javascript:1"}],
        "nsfw_level": "many",
    }
    asset = register(resolution=resolution, name="na\x00me\u200b")
    assert asset.creator == "somebody"
    assert asset.source_url == ""
    assert asset.trigger_words == ["ab", "c"]
    assert asset.name == "name"
    assert asset.nsfw_level == 0
    assert not asset.previews.exists()


def test_registering_again_after_a_crash_gives_the_same_asset(register: Register) -> None:
    first = register(resolution=RESOLUTION)
    Asset.objects.filter(pk=first.pk).update(name="Renamed by somebody")
    again = register(resolution=RESOLUTION, placement=_place(first))
    assert again.pk == first.pk
    assert Asset.objects.get().name == "Renamed by somebody"
    assert AuditEvent.objects.filter(action="asset.registered").count() == 1


def _place(asset: Asset) -> Any:
    return resolve_placement(model_type="lora", base_model="SDXL 1.0", file_name=asset.file_name)


def test_other_bytes_do_not_take_a_place(register: Register) -> None:
    first = register(b"one")
    with pytest.raises(PathTaken) as caught:
        register(b"two", placement=_place(first))
    assert caught.value.details == {"asset": first.pk, "path": first.virtual_path}


@pytest.mark.parametrize("other", ["X.SAFETENSORS", "x.SafeTensors"])
def test_names_that_differ_in_case_only_are_one_place(register: Register, other: str) -> None:
    first = register(b"one")
    placement = resolve_placement(model_type="lora", base_model="SDXL 1.0", file_name=other)
    assert placement.taken
    assert placement.taken_by == first


def test_names_that_differ_in_unicode_form_only_are_one_place(register: Register) -> None:
    name = "Modèle.safetensors"
    register(b"one", file_name=unicodedata.normalize("NFC", name))
    placement = resolve_placement(
        model_type="lora",
        base_model="SDXL 1.0",
        file_name=unicodedata.normalize("NFD", name),
    )
    assert placement.taken_by is not None


def test_keeping_both_gives_the_first_free_number(register: Register) -> None:
    register(b"one")
    second = root_path(default_root()) / "loras" / "sdxl" / "x-2.safetensors"
    second.write_bytes(b"not registered")
    placement = resolve_placement(
        model_type="lora", base_model="SDXL 1.0", file_name="x.safetensors", keep_both=True
    )
    assert placement.relative_path == "loras/sdxl/x-3.safetensors"
    assert not placement.taken


def test_a_file_that_is_not_registered_takes_its_place_too(register: Register) -> None:
    root = root_path(default_root())
    (root / "loras" / "sdxl").mkdir(parents=True)
    (root / "loras" / "sdxl" / "x.safetensors").symlink_to("/nowhere")
    placement = resolve_placement(
        model_type="lora", base_model="SDXL 1.0", file_name="x.safetensors"
    )
    assert placement.taken
    assert placement.taken_by is None


def test_replacing_keeps_the_row(register: Register) -> None:
    first = register(b"one", resolution=RESOLUTION)
    second = register(b"two", placement=_place(first), replace=first, name="New version")
    assert second.pk == first.pk
    row = Asset.objects.get()
    assert row.name == "New version"
    assert row.checksum_sha256 == hashlib.sha256(b"two").hexdigest()
    assert AuditEvent.objects.get(action="asset.replaced").details["old_sha256"] == (
        hashlib.sha256(b"one").hexdigest()
    )


def test_replacing_by_a_file_elsewhere_puts_the_old_one_into_the_trash(
    register: Register, django_capture_on_commit_callbacks: Any
) -> None:
    first = register(b"one")
    old = root_path(first.root) / first.relative_path
    with django_capture_on_commit_callbacks(execute=True):
        register(b"two", file_name="y.safetensors", replace=first)
    assert not old.exists()
    assert [path.read_bytes() for path in trash_dir(first.root).iterdir()] == [b"one"]


@pytest.mark.parametrize(
    "values",
    [
        {"verification": "mismatch", "expected_sha256": "ab" * 32},
        {"verdict": Verdict(accepted=True, safety="suspicious", reason="It asks for os.system.")},
    ],
)
def test_a_flagged_file_never_takes_a_place(register: Register, values: dict[str, Any]) -> None:
    good = register(b"one")
    flagged = register(
        b"two", placement=_place(good), quarantine_path="q-1", replace=good, **values
    )
    assert flagged.pk != good.pk
    assert flagged.status == AssetStatus.FLAGGED
    assert flagged.flag_reason
    assert flagged.relative_path == "loras/sdxl/x-2.safetensors"
    good.refresh_from_db()
    assert good.status == AssetStatus.ACTIVE
    assert (quarantine_dir(flagged.root) / "q-1").read_bytes() == b"two"


def test_a_good_download_takes_over_a_flagged_row_of_the_same_file(
    register: Register, django_capture_on_commit_callbacks: Any
) -> None:
    source = {"resolution": RESOLUTION, "source_file": RESOLUTION["files"][0]}
    flagged = register(b"bad", verification="mismatch", quarantine_path="q-1", **source)
    assert flagged.status == AssetStatus.FLAGGED
    assert flagged.blake3 == ""
    with django_capture_on_commit_callbacks(execute=True):
        good = register(b"good", placement=_place(flagged), **source)
    assert good.pk == flagged.pk
    assert (good.status, good.quarantine_path, good.flag_reason) == ("active", "", "")
    assert list(quarantine_dir(good.root).iterdir()) == []


def test_a_refused_verdict_cannot_be_registered(register: Register) -> None:
    with pytest.raises(ValueError, match="refused"):
        register(verdict=Verdict(accepted=False, code="not_a_model_file"))


def test_edits_before_registering_are_remembered(register: Register) -> None:
    asset = register(
        resolution=RESOLUTION,
        base_model="Pony",
        base_model_family="SDXL",
        edited=["base_model", "name"],
    )
    assert asset.base_model == "Pony"
    assert asset.edited_fields == ["base_model", "name"]


def test_companions_wait_for_their_asset(register: Register) -> None:
    placement = resolve_placement(
        model_type="checkpoint",
        file_name="config.json",
        bundle_folder="a--b",
        bundle_path="unet/config.json",
    )
    values = {"placement": placement, "size_bytes": 2, "sha256": "ab" * 32, "bundle_key": "k"}
    register_companion(**values)
    register_companion(**values)
    asset = register()
    assert attach_companions("k", asset) == 1
    assert attach_companions("k", asset) == 0
    companion = Companion.objects.get()
    assert companion.asset == asset
    assert companion.virtual_path == "/models/checkpoints/a--b/unet/config.json"


def test_a_companion_does_not_take_the_place_of_an_asset(register: Register) -> None:
    asset = register()
    with pytest.raises(PathTaken):
        register_companion(placement=_place(asset), size_bytes=1, sha256="ab" * 32)


def test_duplicates_by_hash_whatever_its_case(register: Register) -> None:
    asset = register(resolution=RESOLUTION)
    for text in (asset.checksum_sha256, f" {asset.checksum_sha256.upper()} "):
        report = find_duplicate(sha256=text)
        assert report.is_duplicate
        assert report.existing_asset == asset
        assert report.reason == "same_hash"
        assert asset.name in report.message


def test_duplicates_by_source(register: Register) -> None:
    asset = register(resolution=RESOLUTION, source_file=RESOLUTION["files"][0])
    same = {"source_type": "civitai", "source_version_id": "7", "source_file_id": "42"}
    assert find_duplicate(**same).existing_asset == asset
    assert find_duplicate(sha256="00" * 32, **same).reason == "same_source"
    for name in same:
        assert not find_duplicate(**{**same, name: "other"}).is_duplicate


def test_nothing_known_is_no_duplicate(register: Register) -> None:
    register()
    assert not find_duplicate().is_duplicate
    assert not find_duplicate(sha256="").is_duplicate
    assert not find_duplicate(sha256="00" * 32).is_duplicate
    assert find_duplicate().message == ""


@pytest.mark.parametrize("status", [s for s in AssetStatus if s != AssetStatus.ACTIVE])
def test_what_is_not_usable_is_no_duplicate(register: Register, status: str) -> None:
    asset = register()
    Asset.objects.filter(pk=asset.pk).update(status=status)
    assert not find_duplicate(sha256=asset.checksum_sha256).is_duplicate


def test_a_placement_never_names_the_machine(register: Register, tmp_path: Path) -> None:
    asset = register()
    with pytest.raises(PathTaken) as caught:
        register(b"two", placement=_place(asset))
    assert str(tmp_path) not in repr(caught.value.as_dict())
