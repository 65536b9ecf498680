"""Typed readers of settings: environment and `.env`, and a TOML file that overrides both.

`Settings(environ, toml)` answers by name: `MAX_CONCURRENT_DOWNLOADS` in the environment is
`max_concurrent_downloads` in the TOML file, at the top level or in any section.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})
KEY_BYTES = 32
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class Settings:
    """Values by upper-case name. Readers raise ImproperlyConfigured that names the setting.

    `asked` holds every name that was read, with its default: what there is to set.
    """

    def __init__(self, environ: Mapping[str, str], toml: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = {key: value for key, value in environ.items() if value != ""}
        self._from_toml = {name.upper(): value for name, value in flatten(toml or {})}
        self._values.update(self._from_toml)
        self.asked: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        self.asked.setdefault(name, None)
        return name in self._values

    def not_understood(self) -> tuple[str, ...]:
        """Names of the TOML file that nobody asked for: misspelled, or of another version."""
        return tuple(sorted(name.lower() for name in set(self._from_toml) - set(self.asked)))

    def _value(self, name: str, default: Any) -> Any:
        self.asked[name] = default
        return self._values.get(name, default)

    def text(self, name: str, default: str) -> str:
        value = self._value(name, default)
        if isinstance(value, list | bool):
            raise ImproperlyConfigured(f"{name} must be a text, not {value!r}.")
        return str(value)

    def path(self, name: str, default: Path) -> Path:
        return Path(self.text(name, str(default))).expanduser().absolute()

    def integer(self, name: str, default: int, *, minimum: int = 0, maximum: int = 2**53) -> int:
        value = self._value(name, default)
        if isinstance(value, bool | float) or not WHOLE_NUMBER.fullmatch(str(value).strip()):
            raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.")
        number = int(value)
        if not minimum <= number <= maximum:
            raise ImproperlyConfigured(f"{name} must lie between {minimum} and {maximum}.")
        return number

    def number(self, name: str, default: float, *, minimum: float = 0.0) -> float:
        value = self._value(name, default)
        try:
            number = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError) as exc:
            raise ImproperlyConfigured(f"{name} must be a number, not {value!r}.") from exc
        # NaN compares false with everything.
        if not minimum <= number < float("inf"):
            raise ImproperlyConfigured(f"{name} must be at least {minimum}.")
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        value = str(self._value(name, default)).strip().lower()
        if value in TRUE_WORDS:
            return True
        if value in FALSE_WORDS:
            return False
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")

    def items(self, name: str) -> tuple[str, ...]:
        """A comma-separated text, or a list in TOML."""
        value = self._value(name, "")
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
        if self.has(name) and not keys:
            raise ImproperlyConfigured(f"{name} holds no key.")
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
