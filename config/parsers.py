"""JSON as the API accepts it. A module of its own: DRF loads parsers while it loads its views."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

MAX_JSON_DEPTH = 20


class BodyTooLarge(APIException):
    status_code = 413
    default_detail = "The body is too large."
    default_code = "body_too_large"


class StrictJSONParser(BaseParser):
    """JSON only: duplicate keys, NaN and infinity, deep nesting and invalid UTF-8 are refused
    with 400, more than `DATA_UPLOAD_MAX_MEMORY_SIZE` bytes with 413."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge(f"The body is larger than {limit} bytes.")
        try:
            value = json.loads(
                body.decode("utf-8"),
                object_pairs_hook=_unique,
                parse_constant=_no_constant,
                parse_float=_finite,
            )
        except (ValueError, RecursionError) as exc:
            raise ParseError(f"The body is not valid JSON: {_short(exc)}") from exc
        _check(value, 0)
        return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _short(exc: Exception) -> str:
    """Why, without a byte of the body: it may hold a secret."""
    if isinstance(exc, RecursionError):
        return "too deeply nested"
    if isinstance(exc, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(exc)[:120]


def _check(value: Any, depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise ParseError("The body is nested too deeply.")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if "\0" in key:
                raise ParseError("A name in the body holds a NUL character.")
            _check(key, depth)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str):
        _check_text(value)


def _check_text(value: str) -> None:
    # A NUL in a value is refused by its field, which can name itself.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ParseError("The body holds half a character (a lone surrogate).") from exc
