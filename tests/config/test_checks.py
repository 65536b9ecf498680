from __future__ import annotations

from typing import Any

import pytest

from config.checks import check_toml_names
from tokens.checks import check_outbound


def test_settings_that_can_be_used_pass() -> None:
    assert check_toml_names() == []
    assert check_outbound() == []


def test_a_misspelled_toml_name_is_a_warning(settings: Any) -> None:
    settings.UNKNOWN_TOML_NAMES = ("max_retrys",)
    (message,) = check_toml_names()
    assert message.id == "config.W001"
    assert "max_retrys" in message.msg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OUTBOUND_ALLOW", ("nonsense",)),
        ("OUTBOUND_ALLOW", ("10.0.0.5",)),
        ("OUTBOUND_ALLOW", ("10.0.0.5:http",)),
        ("OUTBOUND_ALLOW", ("10.0.0.0/8:80",)),
        ("CIVITAI_ENDPOINT", "civitai.com"),
        ("HF_ENDPOINT", "ftp://mirror.example.org"),
        ("HF_ENDPOINT", "https://user:pass@mirror.example.org"),
    ],
)
def test_an_address_that_cannot_be_used_is_an_error_at_start(
    settings: Any, name: str, value: Any
) -> None:
    setattr(settings, name, value)
    (message,) = check_outbound()
    assert message.id == "tokens.E002"
    assert "pass" not in message.msg
