"""Typed readers of settings: environment and `.env`, and a TOML file that overrides both.

`Settings(environ, toml)` answers by name: `MAX_CONCURRENT_DOWNLOADS` in the environment is
`max_concurrent_downloads` in the TOML file, at the top level or in any section.
"""

from __future__ import annotations

import base64
import binascii
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})
KEY_BYTES = 32


class Settings:
    """Values by upper-case name. Readers raise ImproperlyConfigured that names the setting."""

    def __init__(self, environ: Mapping[str, str], toml: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = {key: value for key, value in environ.items() if value != ""}
        for name, value in flatten(toml or {}):
            self._values[name.upper()] = value

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str) -> str:
        return str(self._values.get(name, default))

    def path(self, name: str, default: Path) -> Path:
        return Path(self.text(name, str(default))).expanduser().absolute()

    def integer(self, name: str, default: int, *, minimum: int = 0, maximum: int = 2**53) -> int:
        value = self._values.get(name, default)
        try:
            if isinstance(value, bool | float):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError) as exc:
            raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from exc
        if not minimum <= number <= maximum:
            raise ImproperlyConfigured(f"{name} must lie between {minimum} and {maximum}.")
        return number

    def number(self, name: str, default: float, *, minimum: float = 0.0) -> float:
        value = self._values.get(name, default)
        try:
            number = float(value)
        except (TypeError, ValueError) as exc:
            raise ImproperlyConfigured(f"{name} must be a number, not {value!r}.") from exc
        # NaN compares false with everything.
        if not minimum <= number < float("inf"):
            raise ImproperlyConfigured(f"{name} must be at least {minimum}.")
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        value = str(self._values.get(name, default)).lower()
        if value in TRUE_WORDS:
            return True
        if value in FALSE_WORDS:
            return False
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")

    def items(self, name: str) -> tuple[str, ...]:
        """A comma-separated text, or a list in TOML."""
        value = self._values.get(name, "")
        parts: Iterable[Any] = value if isinstance(value, list) else str(value).split(",")
        return tuple(text for part in parts if (text := str(part).strip()))

    def keys(self, name: str) -> tuple[bytes, ...]:
        """32-byte keys in base64, newest first."""
        keys = []
        for number, text in enumerate(self.items(name), 1):
            try:
                key = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError) as exc:
                raise ImproperlyConfigured(f"Key {number} of {name} is not base64.") from exc
            if len(key) != KEY_BYTES:
                raise ImproperlyConfigured(f"Key {number} of {name} must have {KEY_BYTES} bytes.")
            keys.append(key)
        return tuple(keys)


def flatten(toml: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Name and value of every leaf; a section's name is not part of the setting's."""
    for name, value in toml.items():
        if isinstance(value, Mapping):
            yield from flatten(value)
        else:
            yield name, value


def read_toml(path: str) -> dict[str, Any]:
    """The file that `MODELYARD_CONFIG` names, {} without one. Raises ImproperlyConfigured."""
    if not path:
        return {}
    try:
        with Path(path).expanduser().open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as exc:
        raise ImproperlyConfigured(f"MODELYARD_CONFIG: {path} cannot be read: {exc}.") from exc
