from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import Settings, read_toml

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (lambda s: s.integer("X", 1), "5", 5),
        (lambda s: s.integer("X", 1), " 5 ", 5),
        (lambda s: s.number("X", 1), "2.5", 2.5),
        (lambda s: s.number("X", 1), "3", 3.0),
        (lambda s: s.flag("X", default=False), "Yes", True),
        (lambda s: s.flag("X", default=True), "off", False),
        (lambda s: s.text("X", ""), "a b", "a b"),
        (lambda s: s.items("X"), "a, b ,,c", ("a", "b", "c")),
        (lambda s: s.path("X", Path("/x")), "/a/b", Path("/a/b")),
        (lambda s: s.keys("X"), f"{KEY},{KEY}", (b"k" * 32, b"k" * 32)),
    ],
)
def test_texts_of_the_environment_become_values(
    read: Callable[[Settings], Any], text: str, value: Any
) -> None:
    assert read(Settings({"X": text})) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((lambda s: s.integer("X", 1), text) for text in
          ("", "x", "1.5", "0x10", "1e3", "-1", "9" * 30, "٣", "1_000", "true", "NaN") if text),
        *((lambda s: s.number("X", 1), text) for text in ("x", "nan", "inf", "-1", "1,5")),
        *((lambda s: s.flag("X", default=True), text) for text in ("2", "maybe", "truee")),
        *((lambda s: s.keys("X"), text) for text in ("x", KEY[:-4], KEY + "!", ",", "a2s=")),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_read_stops_the_start_and_is_named(
    read: Callable[[Settings], Any], text: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match="X"):
        read(Settings({"X": text}))


def test_a_wrong_key_is_not_shown() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        Settings({"X": f"{KEY},geheim"}).keys("X")
    assert "geheim" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_an_empty_value_is_none() -> None:
    assert Settings({"X": ""}).integer("X", 7) == 7
    assert not Settings({"X": ""}).has("X")


def test_bounds_are_kept() -> None:
    with pytest.raises(ImproperlyConfigured, match="between 1 and 64"):
        Settings({"X": "65"}).integer("X", 3, minimum=1, maximum=64)


def toml(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return read_toml(str(path))


def test_toml_wins_over_the_environment_in_any_section(tmp_path: Path) -> None:
    values = Settings(
        {"MAX_RETRIES": "1", "LEASE_SECONDS": "30", "TIME_ZONE": "UTC"},
        toml(tmp_path, 'time_zone = "Europe/Berlin"\n[download_manager]\nmax_retries = 9\n'),
    )
    assert values.integer("MAX_RETRIES", 5) == 9
    assert values.integer("LEASE_SECONDS", 60) == 30
    assert values.text("TIME_ZONE", "") == "Europe/Berlin"


def test_toml_has_types_of_its_own(tmp_path: Path) -> None:
    values = Settings({}, toml(tmp_path, 'a = true\nb = ["x:1", "y:2"]\nc = 2.5\nd = "4"\n'))
    assert values.flag("A", default=False) is True
    assert values.items("B") == ("x:1", "y:2")
    assert values.number("C", 1) == 2.5
    assert values.integer("D", 1) == 4


@pytest.mark.parametrize("line", ["x = 2.0", "x = true", "x = [1]", "x = 1979-05-27", "x = -1"])
def test_toml_of_another_type_stops_the_start(tmp_path: Path, line: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="X"):
        Settings({}, toml(tmp_path, line)).integer("X", 1)


def test_names_of_the_toml_file_that_nobody_reads_are_known(tmp_path: Path) -> None:
    values = Settings({}, toml(tmp_path, "max_retrys = 1\n[background_jobs]\nlease_seconds = 5\n"))
    values.integer("LEASE_SECONDS", 60)
    assert values.not_understood() == ("max_retrys",)


@pytest.mark.parametrize("text", ["x = ", "[", "\x00", "x = 1\nx = 2"])
def test_a_toml_file_that_is_none_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="MODELYARD_CONFIG"):
        toml(tmp_path, text)


def test_a_toml_file_that_is_away_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="MODELYARD_CONFIG"):
        read_toml(str(tmp_path / "none.toml"))
    assert read_toml("") == {}
