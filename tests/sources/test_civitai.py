"""Every recorded answer of CivitAI, and every surprise that its interface is known for."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from sources.errors import (
    NotDownloadable,
    NotFound,
    SourceFormat,
    SourceUnavailable,
    TokenRequired,
)
from sources.parse import parse_reference
from sources.refs import Endpoints
from sources.resolution import FileRole, ModelType, Resolution
from tests.sources.fakes import (
    CIVITAI,
    FakeClient,
    Reply,
    civitai_routes,
    recorded,
    resolver,
)

PASTEL = "civitai/model_5414_checkpoint_5_versions_vae_2023.json"
TURBO = "civitai/model_215485_lora_3_versions_2023.json"


def resolve(link: str, routes: dict[str, Any], **fields: Any) -> Resolution:
    return resolver(FakeClient(routes), **fields).resolve(parse_reference(link, Endpoints()))


def of_model(recording: str, version: int | None = None, **changes: Any) -> Resolution:
    model = {**recorded(recording), **changes}
    link = f"{model['id']}@{version}" if version else str(model["id"])
    return resolve(link, civitai_routes(model=model))


def of_version(recording: str, **changes: Any) -> Resolution:
    version = {**recorded(recording), **changes}
    return resolve(
        f"https://civitai.com/model-versions/{version['id']}", civitai_routes(version=version)
    )


# recording, version, type, base model, family, (file id, name, bytes, first digits of the SHA-256)
RECORDED = [
    (
        "model_1231067_lora_2025",
        1387174,
        "lora",
        "Flux.1 D",
        "Flux",
        ("1289799", "pp-storybook_rank2_bf16.safetensors", 19281048, "9753338a"),
    ),
    (
        "model_12671_lora_taken_down_2023",
        14937,
        "lora",
        "SD 1.5",
        "SD 1.5",
        ("12833", "aerith_v2.safetensors", 151116621, "647c1b51"),
    ),
    (
        "model_215485_lora_3_versions_2023",
        242807,
        "lora",
        "SDXL Turbo",
        "SDXL",
        ("187907", "sd_xl_turbo_lora_v1.safetensors", 787342192, "a599c42a"),
    ),
    (
        "model_215485_lora_3_versions_2023",
        243508,
        "lora",
        "SDXL 1.0",
        "SDXL",
        ("188487", "sd_xl_turbo_lora_v1-64dim.safetensors", 393837232, "fe223afc"),
    ),
    (
        "model_215485_lora_3_versions_2023",
        245733,
        "lora",
        "SD 1.5",
        "SD 1.5",
        ("190274", "sd_xl_turbo_lora_v1-16dim.safetensors", 98706288, "65605fc5"),
    ),
    (
        "model_22487_checkpoint_config_training_data_2023",
        26849,
        "checkpoint",
        "SD 1.5",
        "SD 1.5",
        ("22237", "thisTF2MapDoesNot_v1.safetensors", 7703264752, "e6eb46ce"),
    ),
    (
        "model_27857_controlnet_2023",
        33375,
        "controlnet",
        "SD 2.1",
        "SD 2",
        ("27476", "crucibleaiControlnet_v10.safetensors", 1456951266, "53633d3a"),
    ),
    (
        "model_5414_checkpoint_5_versions_vae_2023",
        6297,
        "checkpoint",
        "Other",
        "",
        ("6547", "pastelMixStylizedAnime_pastelMixPrunedFP16.safetensors", 2132626102, "d01a68ae"),
    ),
    (
        "model_5414_checkpoint_5_versions_vae_2023",
        7397,
        "checkpoint",
        "Other",
        "",
        ("7473", "pastelMixStylizedAnime_pastelMixLoraVersion.safetensors", 151073137, "59a342f4"),
    ),
    (
        "model_5414_checkpoint_5_versions_vae_2023",
        6223,
        "checkpoint",
        "SD 1.5",
        "SD 1.5",
        ("6475", "pastelMixStylizedAnime_pastelMixFull.safetensors", 5984232961, "fa818fcf"),
    ),
    (
        "model_5414_checkpoint_5_versions_vae_2023",
        6245,
        "checkpoint",
        "SD 1.5",
        "SD 1.5",
        ("6495", "pastelMixStylizedAnime_pastelMixPrunedFP16.ckpt", 2132866293, "84637d49"),
    ),
    (
        "model_5414_checkpoint_5_versions_vae_2023",
        6235,
        "checkpoint",
        "SD 1.5",
        "SD 1.5",
        ("6481", "pastelMixStylizedAnime_pastelMixPrunedFP32.safetensors", 4265097210, "694fde43"),
    ),
    (
        "model_62741_checkpoint_only_vae_file_2023",
        67304,
        "vae",
        "SD 1.5",
        "SD 1.5",
        ("47094", "rmada-cold-vae.ckpt", 334692607, "ac047f52"),
    ),
    (
        "model_66093_textual_inversion_only_negative_2023",
        70741,
        "embedding",
        "SD 1.5",
        "SD 1.5",
        ("49295", "yam-negative-10000-neg.pt", 31674, "9481bd8b"),
    ),
    (
        "model_6939_textual_inversion_negative_2023",
        8153,
        "embedding",
        "SD 2.1 768",
        "SD 2",
        ("8085", "paintstyle6.pt", 50091, "761cb3a0"),
    ),
    (
        "model_86303_checkpoint_early_access_2023",
        91766,
        "checkpoint",
        "SD 1.5",
        "SD 1.5",
        ("63240", "realism_v10.safetensors", 2400041866, "21d30978"),
    ),
    (
        "model_88018_poses_archive_2023",
        99856,
        "poses",
        "SD 1.5",
        "SD 1.5",
        ("69665", "extremesportPose_divingPose.zip", 811644, "491739bf"),
    ),
    (
        "model_88018_poses_archive_2023",
        93677,
        "poses",
        "SD 1.5",
        "SD 1.5",
        ("64747", "extremesportPose_v10.zip", 1087093, "dfc81cac"),
    ),
]


@pytest.mark.parametrize("row", RECORDED, ids=[f"{row[0]}-{row[1]}" for row in RECORDED])
def test_a_recorded_model_resolves(row: tuple[Any, ...]) -> None:
    name, version, kind, base, family, chosen = row
    model = recorded(f"civitai/{name}.json")

    found = resolve(f"{model['id']}@{version}", civitai_routes(model=model))

    main = found.file(found.chosen[0])
    assert found.name == model["name"]
    assert (found.model_type, found.base_model, found.base_model_family) == (kind, base, family)
    assert (main.file_id, main.name, main.size_bytes, main.hashes.sha256[:8]) == chosen
    assert len(found.chosen) == 1
    assert found.version_id == str(version)
    assert found.reference == f"https://civitai.com/models/{model['id']}?modelVersionId={version}"
    assert not found.early_access
    assert f"fileId={chosen[0]}" in main.url
    assert all(file.kind != "Training Data" for file in found.files)
    assert Resolution.from_dict(found.as_dict()) == found


def test_a_version_gets_what_only_its_model_says() -> None:
    version = recorded("civitai/version_1387174_lora_2025.json")
    model = recorded("civitai/model_1231067_lora_2025.json")

    found = resolve(
        "https://civitai.com/api/download/models/1387174",
        civitai_routes(model=model, version=version),
    )

    assert found.name == "Vivid Impressions Storybook Style"
    assert found.creator == "PixelPawsAI"
    assert found.tags == ("style", "illustration", "storybook")
    assert found.trigger_words == ("ppstorybook",)
    assert found.licence.commercial_use == ("Image", "RentCivit", "Rent", "Sell")
    assert found.licence.credit_required is False
    assert found.base_model_type == "Standard"
    assert found.extra["air"] == "urn:air:flux1:lora:civitai:1231067@1387174"
    assert found.extra["usageControl"] == "Download"
    assert found.published_at == "2025-02-08T11:29:04.487000Z"
    assert found.updated_at == "2025-02-08T11:29:04.526000Z"
    assert found.stats["downloadCount"] == 2183
    assert [version.version_id for version in found.versions] == ["1387174"]
    assert found.previews[0].blurhash == "U5IiO6s-4Vn+0~EO^5xa00VsL#IU_O?E7yWC"
    assert found.file("1289799").hashes.autov3 == "34a22376739d"


def test_a_version_whose_model_is_gone_resolves_by_itself() -> None:
    found = of_version("civitai/version_242807_lora_2023.json")

    assert found.name == "SDXL Turbo-LoRA-Stable Diffusion XL faster than light"
    assert found.model_type is ModelType.LORA
    assert found.creator == ""
    assert found.file("187907").hashes.autov3.startswith("813ea5fb1c67f3cb")


def test_a_version_in_no_list_comes_from_its_own_answer() -> None:
    version = recorded("civitai/version_1387174_lora_2025.json")
    model = {**recorded("civitai/model_1231067_lora_2025.json"), "modelVersions": []}

    found = resolve("1231067@1387174", civitai_routes(model=model, version=version))

    assert found.chosen == ("1289799",)
    assert found.creator == "PixelPawsAI"


def test_two_files_of_one_name_are_told_apart() -> None:
    found = of_version("civitai/version_501240_two_files_same_name_2026_trimmed.json")

    assert [file.name for file in found.files] == [
        "realisticVisionV60B1_v51HyperVAE.safetensors",
        "realisticVisionV60B1_v51HyperVAE-418904.safetensors",
    ]
    assert [file.size_bytes for file in found.files] == [2132625894, 4265097012]
    assert found.chosen == ("418901",)
    assert found.file("418904").url.count("fileId=") == 1


def test_a_file_named_by_its_id_is_chosen_and_kept_in_the_reference() -> None:
    version = recorded("civitai/version_501240_two_files_same_name_2026_trimmed.json")

    found = resolve(
        "https://civitai.com/api/download/models/501240?fileId=418904",
        civitai_routes(version=version),
    )

    assert found.chosen == ("418904",)
    assert found.reference == "https://civitai.com/models/4201?modelVersionId=501240&fileId=418904"


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("type=Model&format=PickleTensor&size=full&fp=fp16", "6474"),
        ("format=SafeTensor", "6475"),
        ("type=Model", "6475"),
        ("size=full&fp=FP16&format=pickletensor", "6474"),
    ],
)
def test_the_parameters_of_a_download_link_choose_the_file(query: str, chosen: str) -> None:
    version = next(v for v in recorded(PASTEL)["modelVersions"] if v["id"] == 6223)

    found = resolve(
        f"https://civitai.com/api/download/models/6223?{query}",
        civitai_routes(model=recorded(PASTEL), version={**version, "modelId": 5414}),
    )

    assert found.chosen == (chosen,)
    assert f"fileId={chosen}" in found.reference


def test_a_vae_can_be_named_and_then_is_the_type() -> None:
    model = recorded(PASTEL)

    found = resolve(
        "https://civitai.com/models/5414?modelVersionId=6297&type=VAE", civitai_routes(model=model)
    )

    assert found.chosen == ("6555",)
    assert found.model_type is ModelType.VAE
    assert (
        found.file("6555").url
        == f"{CIVITAI}/api/download/models/6297?type=VAE&format=Other&fileId=6555"
    )


@pytest.mark.parametrize("query", ["type=Config", "fileId=999"])
def test_a_file_that_is_not_there_names_those_that_are(query: str) -> None:
    link = f"https://civitai.com/models/5414?modelVersionId=6297&{query}"

    with pytest.raises(NotFound, match="6547") as caught:
        resolve(link, civitai_routes(model=recorded(PASTEL)))

    assert caught.value.details["offered"] == ["6547", "6555"]


@pytest.mark.parametrize("query", ["type=Training%20Data", "fileId=189448"])
def test_training_data_is_refused_by_name(query: str) -> None:
    with pytest.raises(NotDownloadable, match="training data"):
        resolve(
            f"https://civitai.com/models/215485?modelVersionId=243508&{query}",
            civitai_routes(model=recorded(TURBO)),
        )


def test_a_version_with_nothing_but_training_data_cannot_be_downloaded() -> None:
    model = recorded(TURBO)
    model["modelVersions"][1]["files"] = model["modelVersions"][1]["files"][:1]

    with pytest.raises(NotDownloadable):
        resolve("215485@243508", civitai_routes(model=model))


def test_required_extras_come_along_and_configs_are_companions() -> None:
    model = recorded("civitai/model_22487_checkpoint_config_training_data_2023.json")
    model["modelVersions"][0]["files"][1]["metadata"]["isRequired"] = True

    found = resolve("22487", civitai_routes(model=model))

    assert found.chosen == ("22237", "22238")
    assert found.file("22238").role is FileRole.COMPANION
    assert found.file("22237").role is FileRole.WEIGHTS


def test_the_order_of_files_means_nothing() -> None:
    model = recorded(PASTEL)
    for version in model["modelVersions"]:
        version["files"].reverse()
        for file in version["files"]:
            file.pop("primary", None)

    found = resolve("5414@6235", civitai_routes(model=model))

    assert found.chosen == ("6481",)  # the safetensors, not the .ckpt and not the VAE


def test_of_several_primaries_the_safer_format_is_chosen() -> None:
    model = recorded(PASTEL)
    for version in model["modelVersions"]:
        for file in version["files"]:
            file["primary"] = True

    assert resolve("5414@6235", civitai_routes(model=model)).chosen == ("6481",)


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("Detailer v1.5", "Detailer v1.5.safetensors"),
        ("x" * 400 + ".safetensors", "x" * 188 + ".safetensors"),
        ("\u202egpj.Ünï/🔥 name.safetensors", "🔥 name.safetensors"),
        ("plain.ckpt", "plain.ckpt"),
        ("x.safetensors.html", "x.safetensors.html"),
    ],
)
def test_a_name_keeps_its_extension_and_gets_one_where_it_has_none(called: str, name: str) -> None:
    version = recorded("civitai/version_1387174_lora_2025.json")
    version["files"][0]["name"] = called

    found = resolve("1231067@1387174", civitai_routes(version=version))

    assert found.file(found.chosen[0]).name == name


def test_an_unknown_version_names_the_versions_that_exist() -> None:
    with pytest.raises(NotFound, match="Pastel-Mix") as caught:
        resolve("5414@77", civitai_routes(model=recorded(PASTEL)))

    assert caught.value.details["versions"] == [6297, 7397, 6223, 6245, 6235]


def test_a_version_of_another_model_is_not_taken() -> None:
    routes = civitai_routes(
        model=recorded(PASTEL), version=recorded("civitai/version_1387174_lora_2025.json")
    )
    with pytest.raises(NotFound, match="no version 1387174"):
        resolve("5414@1387174", routes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model_61016_no_versions_2023", "no published version"),
        ("model_99832_archived_no_files_2023", "archived"),
    ],
)
def test_what_cannot_be_downloaded_says_why(name: str, words: str) -> None:
    with pytest.raises(NotDownloadable, match=words):
        of_model(f"civitai/{name}.json")


def test_a_taken_down_model_warns() -> None:
    assert (
        "taken this model down"
        in of_model("civitai/model_12671_lora_taken_down_2023.json").warnings[0]
    )


@pytest.mark.parametrize(
    "usage", ["Generation", "InternalGeneration", "ExternalGeneration", "Later"]
)
def test_a_version_for_use_on_the_site_only_is_refused(usage: str) -> None:
    with pytest.raises(NotDownloadable, match="on CivitAI only"):
        of_version("civitai/version_1387174_lora_2025.json", usageControl=usage)


@pytest.mark.parametrize(
    ("changes", "is_early", "until"),
    [
        ({}, False, None),
        ({"paidAccess": None}, False, None),
        ({"paidAccess": {"permanent": True, "endsAt": None}}, True, None),
        (
            {"paidAccess": {"permanent": False, "endsAt": "2026-12-01T00:00:00.000Z"}},
            True,
            datetime(2026, 12, 1, tzinfo=UTC),
        ),
        ({"paidAccess": {"permanent": False, "endsAt": "2026-11-01T00:00:00.000Z"}}, False, None),
        ({"earlyAccessDeadline": "2026-12-01T00:00:00Z"}, True, datetime(2026, 12, 1, tzinfo=UTC)),
        ({"earlyAccessEndsAt": "2026-12-01T00:00:00"}, True, datetime(2026, 12, 1, tzinfo=UTC)),
        (
            {"earlyAccessTimeFrame": 5, "publishedAt": "2026-11-18T00:00:00.5Z"},
            True,
            datetime(2026, 11, 23, microsecond=500000, tzinfo=UTC),
        ),
        ({"earlyAccessTimeFrame": 5}, False, None),
        ({"earlyAccessTimeFrame": 10**12}, False, None),
        ({"availability": "EarlyAccess"}, True, None),
        (
            {"availability": "EarlyAccess", "earlyAccessDeadline": "2020-01-01T00:00:00Z"},
            False,
            None,
        ),
    ],
)
def test_early_access_of_every_schema(
    changes: dict[str, Any], is_early: bool, until: datetime | None
) -> None:
    found = of_version("civitai/version_1387174_lora_2025.json", **changes)

    assert (found.early_access, found.early_access_until) == (is_early, until)
    assert bool(found.needs_token) is is_early


def test_a_private_model_needs_a_token() -> None:
    found = of_model("civitai/model_1231067_lora_2025.json", availability="Private")
    assert "private" in found.needs_token


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Rent", ("Rent",)),
        ("None", ("None",)),
        (["Image", "Rent"], ("Image", "Rent")),
        ("{Image,RentCivit}", ("Image", "RentCivit")),
        ("{}", ()),
        (["Later"], ("Later",)),
        (None, ()),
        (7, ()),
    ],
)
def test_commercial_use_has_three_shapes(value: Any, words: tuple[str, ...]) -> None:
    found = of_model("civitai/model_1231067_lora_2025.json", allowCommercialUse=value)
    assert found.licence.commercial_use == words


@pytest.mark.parametrize(
    ("changes", "nsfw"),
    [
        ({"nsfw": True}, True),
        ({"nsfw": False, "nsfwLevel": 31}, False),
        ({"nsfw": None, "nsfwLevel": 31}, True),
        ({"nsfw": None, "nsfwLevel": 3}, False),
        ({"nsfw": "None"}, False),
        ({"nsfw": "X"}, True),
        ({"nsfw": "Soft"}, False),
    ],
)
def test_ratings_of_every_schema(changes: dict[str, Any], nsfw: bool) -> None:
    assert of_model("civitai/model_1231067_lora_2025.json", **changes).nsfw is nsfw


def test_tags_may_be_objects_and_stats_null() -> None:
    found = of_model(
        "civitai/model_1231067_lora_2025.json",
        tags=[{"name": "style"}, "style", {"id": 3}, None],
        stats={"downloadCount": None, "rating": 4.5},
    )
    assert found.tags == ("style",)
    assert found.stats["rating"] == 4.5
    assert found.stats["downloadCount"] == 2183  # the version's


def test_a_model_without_a_creator_has_none() -> None:
    model = recorded("civitai/model_1231067_lora_2025.json")
    del model["creator"]
    assert resolve("1231067", civitai_routes(model=model)).creator == ""


def test_descriptions_are_made_harmless() -> None:
    hostile = (
        '<p onclick="x()">Hi <script>alert(1)</script><img src=x onerror=alert(1)>'
        '<a href="javascript:alert(1)">a</a> <a href="https://e.example">b</a></p>\x00\ud800'
    )
    found = of_model(
        "civitai/model_1231067_lora_2025.json",
        description=hostile,
        name="A\u202eB\x00\ud800C\u200b" + "x" * 1000,
        tags=["a\nb", "<b>"],
    )

    assert "script" not in found.description
    assert "onclick" not in found.description
    assert "<img" not in found.description
    assert "javascript" not in found.description
    assert 'rel="noopener noreferrer nofollow"' in found.description
    assert found.name.startswith("ABCx")
    assert len(found.name) == 300
    assert found.tags == ("a b", "<b>")


def test_file_names_are_single_harmless_components() -> None:
    version = recorded("civitai/version_501240_two_files_same_name_2026_trimmed.json")
    version["files"][0]["name"] = "../../etc/\u202epasswd\x00.safetensors"
    version["files"][1]["name"] = "C:\\x\\NUL"

    found = resolve("https://civitai.com/model-versions/501240", civitai_routes(version=version))

    assert [file.name for file in found.files] == ["passwd.safetensors", "_NUL.safetensors"]


@pytest.mark.parametrize(
    "link",
    [
        "https://undefined/api/download/models/1?fileId=2",
        None,
        7,
        "",
        "javascript:x",
        "https://evil.example/x?token=canary",
    ],
)
def test_a_download_link_that_is_not_the_services_own_is_built_anew(link: Any) -> None:
    version = recorded("civitai/version_501240_two_files_same_name_2026_trimmed.json")
    version["files"][0]["downloadUrl"] = link

    found = resolve("https://civitai.com/model-versions/501240", civitai_routes(version=version))

    assert found.file("418901").url == f"{CIVITAI}/api/download/models/501240?fileId=418901"


def test_links_of_the_public_host_are_moved_to_the_endpoint() -> None:
    version = recorded("civitai/version_501240_two_files_same_name_2026_trimmed.json")
    version["files"][0]["downloadUrl"] += "&token=canary"
    here = "http://127.0.0.1:8101"
    routes = {f"{here}/api/v1/model-versions/501240": version}

    endpoints = Endpoints(civitai=here)
    reference = parse_reference(f"{here}/model-versions/501240", endpoints)
    found = resolver(FakeClient(routes), endpoints=endpoints).resolve(reference)

    assert all(
        file.url.startswith(f"{here}/api/download/models/501240?fileId=") for file in found.files
    )
    assert found.source_url.startswith("https://civitai.com/")
    assert "canary" not in str(found.as_dict())


def test_the_download_route_tells_that_a_login_is_needed() -> None:
    model = recorded("civitai/model_1231067_lora_2025.json")
    refusal = recorded("civitai/error_401_download_login_required.json")
    routes = civitai_routes(model=model) | {
        f"{CIVITAI}/api/download/models/1387174": Reply(refusal, 401)
    }

    found = resolve("1231067", routes)

    assert "login" in found.needs_token


def test_downloads_that_are_switched_off_are_refused_at_once() -> None:
    model = recorded("civitai/model_1231067_lora_2025.json")
    refusal = {
        "error": "Unauthorized",
        "message": "The creator has disabled downloads on this file",
    }
    routes = civitai_routes(model=model) | {
        f"{CIVITAI}/api/download/models/1387174": Reply(refusal, 401)
    }

    with pytest.raises(NotDownloadable, match="switched downloads"):
        resolve("1231067", routes)


def test_the_download_route_knows_of_early_access() -> None:
    model = recorded("civitai/model_1231067_lora_2025.json")
    refusal = {"error": "Early Access", "deadline": "2026-12-24T00:00:00.000Z", "message": "x"}
    routes = civitai_routes(model=model) | {
        f"{CIVITAI}/api/download/models/1387174": Reply(refusal, 403)
    }

    found = resolve("1231067", routes)

    assert found.early_access
    assert found.early_access_until == datetime(2026, 12, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    "trouble", [Reply({"error": "File not found"}, 404), Reply(b"<html>", 503), Reply(b"", 500)]
)
def test_a_passing_fault_of_the_download_route_does_not_spoil_the_resolution(
    trouble: Reply,
) -> None:
    model = recorded("civitai/model_1231067_lora_2025.json")
    routes = civitai_routes(model=model) | {f"{CIVITAI}/api/download/models/1387174": trouble}

    assert resolve("1231067", routes).needs_token == ""


def test_whoever_bought_early_access_is_not_held_back() -> None:
    model = recorded("civitai/model_1231067_lora_2025.json")
    model["modelVersions"][0]["earlyAccessDeadline"] = "2026-12-01T00:00:00Z"
    token = Endpoints().credential("civitai", "canary")
    reference = parse_reference("1231067", Endpoints())
    route = f"{CIVITAI}/api/download/models/1387174"
    no_grant = Reply({"error": "You do not have access to download this file"}, 403)

    bought = resolver(FakeClient(civitai_routes(model=model))).resolve(reference, credential=token)
    client = FakeClient(civitai_routes(model=model) | {route: no_grant})
    other = resolver(client).resolve(reference, credential=token)

    assert not bought.early_access
    assert other.early_access
    assert other.early_access_until == datetime(2026, 12, 1, tzinfo=UTC)


def test_an_answer_without_the_page_of_the_model_says_so_and_is_not_cached() -> None:
    version = recorded("civitai/version_1387174_lora_2025.json")
    routes = civitai_routes(version=version) | {f"{CIVITAI}/api/v1/models/1231067": Reply({}, 503)}

    found = resolve("https://civitai.com/model-versions/1387174", routes)

    assert "the page of the model" in found.warnings[0]
    assert found.extra["is_incomplete"] is True


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(recorded("civitai/error_404_model_not_found.json"), 404), NotFound),
        (Reply({"error": {"issues": []}}, 400), NotFound),
        (Reply({"message": "no"}, 404), NotFound),
        (Reply(recorded("civitai/error_401_unauthorized.json"), 401), TokenRequired),
        (Reply({"error": "x", "code": "REGION_BLOCKED"}, 451), NotDownloadable),
        (Reply({"error": "busy"}, 503, {"Retry-After": "2"}), SourceUnavailable),
        (Reply({"error": "busy"}, 429), SourceUnavailable),
        (Reply(b"<!DOCTYPE html><title>Just a moment...</title>", 403), SourceUnavailable),
        (Reply(b"<html>", 524), SourceUnavailable),
        (Reply([1, 2]), SourceFormat),
        (Reply(None), SourceFormat),
        (Reply({}), NotDownloadable),
        (Reply({"modelVersions": [{"id": "x", "files": [{"id": 1}]}]}), SourceFormat),
    ],
)
def test_error_bodies_of_every_shape_become_clear_errors(
    reply: Reply, error: type[Exception]
) -> None:
    with pytest.raises(error):
        resolve("1231067", {f"{CIVITAI}/api/v1/models/1231067": reply})


def test_a_file_is_found_by_its_hash() -> None:
    model = recorded(PASTEL)
    version = {**model["modelVersions"][2], "modelId": 5414}
    sha = version["files"][0]["hashes"]["SHA256"]
    routes = civitai_routes(model=model) | {
        f"{CIVITAI}/api/v1/model-versions/by-hash/{sha.lower()}": version
    }

    found = resolve(f"https://civarchive.com/sha256/{sha}", routes)

    assert found.chosen == ("6474",)


def test_an_archive_link_is_asked_for_at_civitai() -> None:
    archive = recorded("civitai/civarchive_model_1746460_2025.json")["version"]

    reference = parse_reference(f"https://civarchive.com{archive['href']}", Endpoints())

    assert str(reference) == "https://civitai.com/models/1746460?modelVersionId=1976567"
    assert str(reference) == archive["platform_url"]


def test_a_name_that_says_lora_makes_the_type_doubtful() -> None:
    found = of_model(PASTEL, 7397)
    assert "check the type" in found.warnings[0]


def test_the_linked_vae_is_located_by_its_parameters() -> None:
    model = recorded(PASTEL)
    by_id = f"{CIVITAI}/api/download/models/6297?type=VAE&format=Other&fileId=6555"
    routes = civitai_routes(model=model) | {by_id: Reply({"error": "File not found"}, 404)}
    client = FakeClient(routes)

    file = resolver(client).locate(parse_reference("5414@6297", Endpoints()), file_id="6555")

    assert file.url == f"{CIVITAI}/api/download/models/6297?type=VAE&format=Other"


def test_a_located_file_keeps_its_id_when_that_works() -> None:
    model = recorded(PASTEL)

    file = resolver(FakeClient(civitai_routes(model=model))).locate(
        parse_reference(
            "https://civitai.com/models/5414?modelVersionId=6297&fileId=6547", Endpoints()
        ),
        file_id="6547",
    )

    assert file.url.endswith("?fileId=6547")


def test_a_file_that_is_no_longer_listed_is_not_located() -> None:
    model = copy.deepcopy(recorded(PASTEL))
    with pytest.raises(NotFound):
        resolver(FakeClient(civitai_routes(model=model))).locate(
            parse_reference("5414@6297", Endpoints()), file_id="1"
        )
