from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import PlacementNotPossible
from registry.models import PlacementRule
from registry.placement import Match, Rule, choose, clean_directory, clean_target, virtual_path
from registry.services import preview_placement, resolve_placement
from sources.resolution import ModelType
from transfer.errors import UnsafePath

ANY = Rule(rule_id=1, model_type="lora", base_model="", target_directory="/models/loras/")
FAMILY = Rule(
    rule_id=2, model_type="lora", base_model="SDXL", target_directory="/models/loras/sdxl/"
)
EXACT = Rule(
    rule_id=3, model_type="lora", base_model="Pony", target_directory="/models/loras/pony/"
)


def replaced(rule: Rule, **values: Any) -> Rule:
    plain = {name: getattr(rule, name) for name in Rule.__slots__}
    return Rule(**{**plain, **values})


@pytest.mark.parametrize(
    ("base_model", "family", "directory"),
    [
        ("Pony", "SDXL", "loras/pony"),
        ("  pony ", "SDXL", "loras/pony"),
        ("SDXL 1.0", "SDXL", "loras/sdxl"),
        ("SDXL", "SDXL", "loras/sdxl"),
        ("Flux.1 D", "Flux", "loras"),
        ("", "", "loras"),
    ],
)
def test_exact_base_model_beats_family_beats_any(
    base_model: str, family: str, directory: str
) -> None:
    choice = choose([ANY, FAMILY, EXACT], model_type="lora", base_model=base_model, family=family)
    assert choice.directory == directory


def test_priority_comes_before_how_specific_a_rule_is() -> None:
    strong = replaced(ANY, rule_id=9, priority=100, target_directory="/models/all/")
    choice = choose([strong, FAMILY, EXACT], model_type="lora", base_model="Pony", family="SDXL")
    assert choice.directory == "all"


def test_a_rule_that_is_switched_off_never_wins() -> None:
    rules = [ANY, replaced(EXACT, is_active=False, priority=50)]
    choice = choose(rules, model_type="lora", base_model="Pony", family="SDXL")
    assert choice.rule == ANY
    assert [c.reason for c in choice.candidates if not c.won] == ["Switched off."]


def test_of_two_equal_rules_the_older_one_wins() -> None:
    twin = replaced(EXACT, rule_id=8, target_directory="/models/other/")
    for rules in ([EXACT, twin], [twin, EXACT]):
        choice = choose(rules, model_type="lora", base_model="Pony", family="SDXL")
        assert choice.rule == EXACT


def test_without_a_rule_the_folder_is_named_like_the_type() -> None:
    assert choose([ANY], model_type="vae").directory == "vae"


def test_every_candidate_says_what_became_of_it() -> None:
    rules = [ANY, FAMILY, EXACT, replaced(FAMILY, rule_id=5, priority=-1)]
    choice = choose(rules, model_type="lora", base_model="Pony", family="SDXL")
    by_rule = {c.rule.rule_id: c for c in choice.candidates}
    assert by_rule[3].won
    assert by_rule[3].match is Match.EXACT
    assert by_rule[2].reason == "Less specific at the same priority."
    assert by_rule[5].reason == "Priority -1 is lower than 0."
    assert "Pony" in choice.reason


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("/models/loras/sdxl/", "loras/sdxl"),
        ("/models//loras///sdxl", "loras/sdxl"),
        ("loras/sdxl", "loras/sdxl"),
        (" /models/SD 1.5/ ", "SD 1.5"),
        ("/models/", ""),
        ("/models", ""),
        ("/models/modèles/", "modèles"),
    ],
)
def test_directories_are_kept_relative_to_the_models_directory(text: str, directory: str) -> None:
    assert clean_directory(text) == directory
    assert clean_directory(clean_target(text)) == directory
    assert "//" not in clean_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "..",
        "/models/../etc",
        "/models/loras/../../etc",
        "/etc/cron.d",
        "/modelsx/loras",
        "//models/loras",
        "~/models",
        "/models/~root",
        "C:\\models",
        "C:/models",
        "/models/lo\\ras",
        "/models/lo\x00ras",
        "/models/lo\nras",
        "/models/lo\u202eras",
        "/models/.modelyard/partials",
        "/models/.hidden",
        "/models/{base_model}",
        "/models/{0.__class__}",
        "/models/CON/",
        "/models/trailing. /x",
        "/models/" + "x" * 500,
        "/models/" + "é" * 150,
        "${HOME}/{}",
    ],
)
def test_directories_that_lead_elsewhere_are_refused_with_the_bad_part(text: str) -> None:
    with pytest.raises(PlacementNotPossible) as caught:
        clean_directory(text)
    assert caught.value.details["reason"]
    assert caught.value.details["field"] == "target_directory"


names = st.text(max_size=80) | st.sampled_from(["..", "a/../../b", "/etc/passwd", "C:\\x", ".x"])


@given(directory=names, file_name=names, bundle=names)
def test_a_path_is_refused_or_lies_in_the_models_directory(
    directory: str, file_name: str, bundle: str
) -> None:
    from registry.services.placing import _join

    try:
        path = _join(clean_directory(directory), file_name, bundle, "")
    except (PlacementNotPossible, UnsafePath):
        return
    parts = PurePosixPath(path).parts
    assert parts
    assert not path.startswith("/")
    assert "\\" not in path
    assert "\x00" not in path
    assert not any(part in {"", ".", ".."} or part.startswith(".") for part in parts)
    assert virtual_path(path).startswith("/models/")


rules = st.builds(
    Rule,
    rule_id=st.integers(1, 1000),
    model_type=st.sampled_from(["lora", "vae"]),
    base_model=st.sampled_from(["", "SDXL", "Pony", "Flux"]),
    target_directory=st.sampled_from(["/models/a/", "/models/b/", "/models/c/d/"]),
    priority=st.integers(-5, 5),
    is_active=st.booleans(),
)


@given(
    known=st.lists(rules, max_size=8, unique_by=lambda rule: rule.rule_id),
    base_model=st.sampled_from(["", "SDXL 1.0", "Pony", "Flux"]),
)
def test_the_rule_that_wins_is_active_fits_and_nothing_better_does(
    known: list[Rule], base_model: str
) -> None:
    family = {"SDXL 1.0": "SDXL", "Pony": "SDXL", "Flux": "Flux"}.get(base_model, "")
    choice = choose(known, model_type="lora", base_model=base_model, family=family)

    def rank(rule: Rule) -> tuple[int, int, int]:
        fit = 3 if rule.base_model == base_model else 2 if rule.base_model == family else 0
        return (rule.priority, 1 if not rule.base_model else fit, -rule.rule_id)

    fitting = [
        rule
        for rule in known
        if rule.is_active
        and rule.model_type == "lora"
        and (not rule.base_model or rule.base_model in {base_model, family})
    ]
    assert choice.rule == max(fitting, key=rank, default=None)
    assert sum(candidate.won for candidate in choice.candidates) == (1 if fitting else 0)


DEFAULTS = [
    ("checkpoint", "SDXL 1.0", "checkpoints/sdxl"),
    ("checkpoint", "Pony", "checkpoints/sdxl"),
    ("checkpoint", "Illustrious", "checkpoints/sdxl"),
    ("checkpoint", "NoobAI", "checkpoints/sdxl"),
    ("checkpoint", "SD 1.5", "checkpoints/sd15"),
    ("checkpoint", "SD 1.5 LCM", "checkpoints/sd15"),
    ("checkpoint", "Flux.1 D", "checkpoints/flux"),
    ("checkpoint", "SD 3.5", "checkpoints"),
    ("checkpoint", "", "checkpoints"),
    ("lora", "SDXL 1.0", "loras/sdxl"),
    ("lora", "Pony", "loras/sdxl"),
    ("lora", "SD 1.5", "loras/sd15"),
    ("lora", "Flux.1 S", "loras/flux"),
    ("lora", "Wan Video", "loras"),
    ("embedding", "SD 1.5", "embeddings"),
    ("vae", "SDXL 1.0", "vae"),
    ("controlnet", "", "controlnet"),
    ("diffusion_model", "Flux.1 D", "diffusion_models"),
    ("upscaler", "", "upscale_models"),
    ("text_encoder", "", "text_encoders"),
    ("clip_vision", "", "clip_vision"),
    ("hypernetwork", "", "hypernetworks"),
    ("motion_module", "SD 1.5", "animatediff_models"),
    ("poses", "", "poses"),
    ("wildcards", "", "wildcards"),
    ("workflow", "", "workflows"),
    ("detection", "", "ultralytics"),
    ("other", "", "other"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("model_type", "base_model", "directory"), DEFAULTS)
def test_default_rules_route_every_type(model_type: str, base_model: str, directory: str) -> None:
    placement = resolve_placement(
        model_type=model_type, base_model=base_model, file_name="x.safetensors"
    )
    assert placement.relative_path == f"{directory}/x.safetensors"
    assert placement.virtual_path == f"/models/{directory}/x.safetensors"
    assert placement.rule is not None


def test_the_table_of_defaults_knows_every_type() -> None:
    assert {model_type for model_type, _base, _directory in DEFAULTS} == set(ModelType)


@pytest.mark.django_db
def test_a_chosen_folder_and_a_snapshot_go_before_the_rules() -> None:
    chosen = preview_placement(model_type="lora", file_name="x.safetensors", folder="mine/test")
    assert chosen.relative_path == "mine/test/x.safetensors"
    snapshot = preview_placement(
        model_type="checkpoint",
        file_name="ignored",
        bundle_folder="owner--repo",
        bundle_path="unet/model.safetensors",
    )
    assert snapshot.relative_path == "checkpoints/owner--repo/unet/model.safetensors"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\x.ckpt", "/abs.ckpt", "\x00.ckpt"])
def test_file_names_of_strangers_never_leave_their_folder(name: str) -> None:
    preview = preview_placement(model_type="lora", file_name=name)
    assert PurePosixPath(preview.relative_path).parent == PurePosixPath("loras")


@pytest.mark.django_db
def test_a_climbing_path_of_a_snapshot_is_refused() -> None:
    with pytest.raises(UnsafePath):
        preview_placement(
            model_type="lora", file_name="x", bundle_folder="a--b", bundle_path="../../x"
        )


@pytest.mark.django_db
def test_an_unknown_type_and_a_rule_gone_bad_are_refused() -> None:
    with pytest.raises(PlacementNotPossible):
        preview_placement(model_type="song", file_name="x")
    PlacementRule.objects.filter(model_type="vae").update(target_directory="/models/../etc/")
    with pytest.raises(PlacementNotPossible):
        preview_placement(model_type="vae", file_name="x")
