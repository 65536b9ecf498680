"""The recorded answers below tests/data, read once."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data"


@cache
def _read(service: str, name: str) -> Any:
    return json.loads((DATA / service / f"{name}.json").read_bytes())


def load(service: str, name: str) -> Any:
    """The recording of that name (without `.json`); a copy that may be changed."""
    return copy.deepcopy(_read(service, name))


def names(service: str, prefix: str = "") -> list[str]:
    return sorted(path.stem for path in (DATA / service).glob(f"{prefix}*.json"))


def headers(name: str, *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """The response headers of a recorded exchange with the Hub, but for those named in lower case."""
    exchange = _read("huggingface", name)
    return [
        (header, value)
        for header, values in exchange["response_headers"].items()
        for value in values
        if header.lower() not in without
    ]
